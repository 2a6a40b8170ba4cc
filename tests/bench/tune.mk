# SPDX-License-Identifier: Apache-2.0
# `make bench-tune`: what tuning brings to real programs on this machine; writes named settings of the host, through the
# journal with a keeper running, and fails unless all read as before.

BENCH_TUNE := $(B)/tests/bench/tune/record $(B)/tests/bench/tune/replay

$(BENCH_TUNE): $(B)/%: $(B)/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(BENCH_TUNE:%=%.d)

.PHONY: bench-tune bench-tune-build
bench-tune-build: all $(BENCH_TUNE)

bench-tune: ## with sudo: real programs tuned, advisor against rivals (1 hour); changes settings of this machine, restores them; PROGRAMS=, STEPS=; writes build/bench/tune/
	$(call deps,build run tune)
	$(hand_back)
	@$(AS_USER) $(submake) bench-tune-build
	@tests/bench/tune/run.sh $(PROGRAMS); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code
