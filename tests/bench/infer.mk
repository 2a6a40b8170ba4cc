# SPDX-License-Identifier: Apache-2.0
# `make bench-infer`: the inference engines against OpenBLAS, oneDNN, onnxruntime, torch and FAISS in one process, on one
# core. The peers are packages of the group "peers" in agent/install/deps.list, and one of npm; nothing else links with them.

BENCH_INFER := $(B)/tests/bench/infer/bench_infer
BENCH_INFER_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/infer/*.c)) \
	$(patsubst %.cc,$(B)/%.o,$(wildcard tests/bench/infer/*.cc))

$(B)/tests/bench/infer/%.o: tests/bench/infer/%.cc
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && g++ -std=c++17 -O2 -g -fopenmp -I. -MMD -MP -c -o $@ $<

$(BENCH_INFER): $(BENCH_INFER_OBJ) $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)g++ $(CFLAGS) $(LDFLAGS) -o $@ $^ -lfaiss -lgomp -ltorch_cpu -lc10 -lopenblas -ldnnl -ljansson -lz -ldl -lm

-include $(BENCH_INFER_OBJ:%.o=%.d)

# Two of OpenBLAS's variables make it slower than it is; both are cleared. The last CPU is the least interrupted one.
BENCH_INFER_RUN = env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE -u SEMANTOS_INFER OPENBLAS_NUM_THREADS=1 \
	OMP_NUM_THREADS=1 SEMANTOS_ONNXRUNTIME=$$(tests/bench/infer/onnxruntime.sh --find) \
	taskset -c $$(($$(nproc) - 1)) $(BENCH_INFER)

.PHONY: bench-infer bench-infer-run
bench-infer-run: $(BENCH_INFER)
	@mkdir -p $(B)/bench
	@tests/bench/infer/onnxruntime.sh
	@$(BENCH_INFER_RUN) >$(B)/bench/infer.txt; code=$$?; cat $(B)/bench/infer.txt; exit $$code
	@tail -n 1 $(B)/bench/infer.txt >$(B)/bench/infer.json
	@$(BENCH_INFER_RUN) --engines >$(B)/bench/infer-engines.txt; code=$$?; grep -v '^{' $(B)/bench/infer-engines.txt; exit $$code
	@$(BENCH_INFER_RUN) --curve >$(B)/bench/infer-curve.txt
	@if command -v gnuplot >/dev/null; then \
		tests/bench/infer/plot.sh $(B)/bench/infer-curve.txt $(B)/bench/infer-batch.svg; fi

bench-infer: ## with sudo (DEPS=no: without): the inference engines against five libraries, 2 minutes; writes build/bench/infer*
	$(call deps,build peers $(if $(shell command -v npm),,peers-npm))
	$(hand_back)
	@$(AS_USER) $(submake) bench-infer-run
