# SPDX-License-Identifier: Apache-2.0
# `make bench`: every tests/bench/bench_X.c is a program and every tests/bench/bench_X.sh a script; run.sh runs them in
# turn and gathers their rows. No test depends on a figure of theirs.

BENCH := $(call prog,tests/bench/bench_*.c)
BENCH_BPF_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/*.bpf.c))

$(BENCH): $(B)/%: $(B)/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

$(B)/tests/bench/loadgen: tests/vm/loadgen.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -O2 -D_GNU_SOURCE -o $@ $< -lpthread

.PHONY: bench bench-build
bench-build: all $(BENCH) $(BENCH_BPF_OBJ) $(B)/tests/bpf/block_wrap.bpf.o $(B)/tests/bench/loadgen

bench: ## with sudo: what it costs, beside its targets (5 minutes); writes build/bench/bench.json
	$(call deps,build run test bench)
	$(hand_back)
	@$(AS_USER) $(submake) bench-build
	@tests/bench/run.sh $(BENCH) $(sort $(wildcard tests/bench/bench_*.sh)); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code
