# SPDX-License-Identifier: Apache-2.0
# `make bench-infer`: the inference engines against OpenBLAS and oneDNN in one process, on one core. The peers are
# packages of the group "peers" in agent/install/deps.list; nothing else links with them.

BENCH_INFER := $(B)/tests/bench/infer/bench_infer
BENCH_INFER_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/infer/*.c agent/infer/*.c agent/util/*.c kmod/infer/*.c))

$(BENCH_INFER): $(BENCH_INFER_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lopenblas -ldnnl -ljansson -lz -lm

-include $(BENCH_INFER_OBJ:%.o=%.d)

.PHONY: bench-infer bench-infer-run
# Two of OpenBLAS's variables make it slower than it is; both are cleared. The last CPU is the least interrupted one.
bench-infer-run: $(BENCH_INFER)
	@mkdir -p $(B)/bench
	@env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE -u SEMANTOS_INFER OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
		taskset -c $$(($$(nproc) - 1)) $(BENCH_INFER) >$(B)/bench/infer.txt; code=$$?; cat $(B)/bench/infer.txt; exit $$code
	@tail -n 1 $(B)/bench/infer.txt >$(B)/bench/infer.json

bench-infer: ## with sudo (DEPS=no: without): the inference engines against OpenBLAS and oneDNN, 1 minute; writes build/bench/infer.json
	$(call deps,build peers)
	$(hand_back)
	@$(AS_USER) $(submake) bench-infer-run
