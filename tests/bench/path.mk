# SPDX-License-Identifier: Apache-2.0
# `make bench-path`: the agent's data path on one CPU, records made on another; its stages; the integer net of bpf/lib.
# No test depends on a figure of it.

BENCH_PATH := $(call prog,tests/bench/path/bench_*.c)

$(BENCH_PATH): $(B)/%: $(B)/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

-include $(BENCH_PATH:%=%.d)

.PHONY: bench-path bench-path-build
bench-path-build: all $(BENCH_PATH) $(B)/tests/bpf/block_wrap.bpf.o $(B)/tests/bpf/mlp_wrap.bpf.o

bench-path: ## with sudo: record to verdict, asleep and spinning, and records a second (1 minute); writes build/bench/path.json
	$(call deps,build run test)
	$(hand_back)
	@$(AS_USER) $(submake) bench-path-build
	@BENCH_JSON=path.json tests/bench/run.sh $(BENCH_PATH); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code
