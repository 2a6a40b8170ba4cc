# SPDX-License-Identifier: Apache-2.0
# `make bench-policies`: what a policy costs and gains, beside its controls. One part a policy; no test depends on a figure
# of it. Every tests/bench/policies/*.sh is rows of one that this machine itself can show.

BENCH_SCHED := $(B)/tests/bench/sched
BENCH_POLICY := $(call prog,tests/bench/policies/bench_*.c)
BENCH_POLICY_BPF := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/policies/*.bpf.c))

$(BENCH_SCHED)/idlewatch: $(B)/%: $(B)/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lbpf

$(BENCH_POLICY): $(B)/%: $(B)/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

.PHONY: bench-policies bench-policies-here bench-policies-mllb
bench-policies: bench-policies-here bench-policies-mllb ## with sudo: what policies cost and gain beside their controls, here and in QEMU (mllb: 25 minutes); writes build/bench/

bench-policies-here:
	$(call deps,build run test bench)
	$(hand_back)
	@$(AS_USER) $(submake) all $(BENCH_POLICY) $(BENCH_POLICY_BPF)
	@BENCH_JSON=policies.json tests/bench/run.sh $(sort $(wildcard tests/bench/policies/*.sh)); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code

bench-policies-mllb:
	$(call deps,build run test)
	$(hand_back)
	@$(AS_USER) $(submake) all $(BENCH_SCHED)/idlewatch $(BENCH_SCHED)/idle.bpf.o $(B)/tests/vm/schedload $(B)/tests/vm/mllbnet
	@tests/bench/sched/run.sh $(ARGS); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code
