# SPDX-License-Identifier: Apache-2.0
# `make bench-replica`: which leg of a replica volume serves a read, under every policy, on emulated disks in the lab.
# No test depends on a figure of it.

REPLAY := $(B)/tests/bench/replica
REPLAY_TRACE := $(REPLAY)/trace.o

$(REPLAY)/replay: $(REPLAY)/replay.o $(REPLAY_TRACE)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lbpf -lelf -lz -lm

$(REPLAY)/report: $(REPLAY)/report.o $(REPLAY)/runs.o $(REPLAY_TRACE)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm

-include $(wildcard $(REPLAY)/*.d)

.PHONY: bench-replica bench-replica-build
bench-replica-build: $(REPLAY)/replay $(REPLAY)/report $(REPLAY)/policies.bpf.o

bench-replica: ## which replica serves a read: all policies on emulated disks, in QEMU (1 hour); writes build/bench/replica*
	$(call deps,build run test)
	$(hand_back)
	@$(AS_USER) $(submake) bench-replica-build
	@tests/bench/replica/run.sh; code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code
