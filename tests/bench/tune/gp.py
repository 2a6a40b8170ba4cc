#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# gp.py - a Gaussian-process Bayesian optimiser over the configurations of a grid: what replay.c compares the advisor with.
#
# scikit-learn's regressor, Matern 5/2 with a length of each dimension fitted anew at each step, the known error of each
# measurement on its diagonal; expected improvement over the best mean; FIRST random configurations before it is asked.
# Lines on standard input: "begin SEED CONFIGS DIMENSIONS" and a line of coordinates for each configuration; "tell CONFIG
# GAIN ERROR"; "ask", which is answered with a configuration that was not told of yet, or -1 when there is none.

import random
import sys
import warnings

import numpy
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

FIRST = 3
warnings.filterwarnings("ignore")  # of bounds that a length reached


def choose(points, told, rest):
    y = numpy.array([gain for _, gain, _ in told])
    spread = max(numpy.std(y), 1e-3)
    kernel = ConstantKernel(1.0, (0.05, 20)) * Matern([1.0] * points.shape[1], (0.1, 10), nu=2.5)
    model = GaussianProcessRegressor(
        kernel, alpha=numpy.array([(error / spread) ** 2 + 1e-6 for _, _, error in told]))
    model.fit(points[[config for config, _, _ in told]], (y - y.mean()) / spread)
    mean, deviation = model.predict(points, return_std=True)
    best = max(mean[config] for config, _, _ in told)
    deviation = numpy.maximum(deviation, 1e-9)
    z = (mean - best) / deviation
    improvement = deviation * (z * norm.cdf(z) + norm.pdf(z))
    return max(rest, key=lambda config: improvement[config])


def main():
    points, told, dice = None, [], random.Random(0)
    print("ready", flush=True)
    while line := sys.stdin.readline():
        words = line.split()
        if words[0] == "begin":
            dice, told = random.Random(int(words[1])), []
            points = numpy.array([[float(word) for word in sys.stdin.readline().split()]
                                  for _ in range(int(words[2]))])
        elif words[0] == "tell":
            told.append((int(words[1]), float(words[2]), float(words[3])))
        elif words[0] == "ask":
            seen = {config for config, _, _ in told}
            rest = [config for config in range(len(points)) if config not in seen]
            if not rest:
                print(-1, flush=True)
            elif len(told) <= FIRST:  # the first that is told is where it stands
                print(dice.choice(rest), flush=True)
            else:
                print(choose(points, told, rest), flush=True)


main()
