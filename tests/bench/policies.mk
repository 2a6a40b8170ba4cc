# SPDX-License-Identifier: Apache-2.0
# `make bench-policies`: what a policy gains, beside its controls. One part a policy; no test depends on a figure of it.

BENCH_SCHED := $(B)/tests/bench/sched

$(BENCH_SCHED)/idlewatch: $(B)/%: $(B)/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lbpf

.PHONY: bench-policies bench-policies-mllb
bench-policies: bench-policies-mllb ## with sudo: what policies gain beside their controls, in QEMU (mllb: 25 minutes); writes build/bench/

bench-policies-mllb:
	$(call deps,build run test)
	$(hand_back)
	@$(AS_USER) $(submake) all $(BENCH_SCHED)/idlewatch $(BENCH_SCHED)/idle.bpf.o $(B)/tests/vm/schedload $(B)/tests/vm/mllbnet
	@tests/bench/sched/run.sh $(ARGS); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code
