# SPDX-License-Identifier: Apache-2.0
# `make bench-replica`: which leg of a replica volume serves a read, under every policy, on emulated disks in the lab.
# No test depends on a figure of it. `make bench-replica-sim` is the same without a machine: simulated, and said so.

REPLAY := $(B)/tests/bench/replica
REPLAY_TRACE := $(REPLAY)/trace.o

$(REPLAY)/replay: $(REPLAY)/replay.o $(REPLAY_TRACE)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lbpf -lelf -lz -lm

$(REPLAY)/report: $(REPLAY)/report.o $(REPLAY)/runs.o $(REPLAY_TRACE)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm

# Sources of the kernel's side, compiled for user space by the headers of sim/stand_in.
SIM_KERNEL_OBJ := $(REPLAY)/sim/disk.o $(REPLAY)/sim/policy.o
$(SIM_KERNEL_OBJ): $(B)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) -Itests/bench/replica/sim/stand_in $(ALL_CFLAGS) -c -o $@ $<

# A unit test of the rule asks the same object.
$(B)/tests/unit/test_volume_choice $(B)/san/tests/unit/test_volume_choice: $(REPLAY)/sim/policy.o
$(B)/tests/unit/test_volume_choice: LIBS := $(B)/libsemantos.a $(LIBS)
$(B)/san/tests/unit/test_volume_choice: LIBS := $(B)/san/libsemantos.a $(LIBS)

$(REPLAY)/sim/sim: $(REPLAY)/sim/sim.o $(REPLAY)/sim/volume.o $(SIM_KERNEL_OBJ) $(REPLAY_TRACE) $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(wildcard $(REPLAY)/*.d $(REPLAY)/sim/*.d)

.PHONY: bench-replica bench-replica-build
bench-replica-build: $(REPLAY)/replay $(REPLAY)/report $(REPLAY)/policies.bpf.o

bench-replica: ## which replica serves a read: all policies on emulated disks, in QEMU (1 hour); writes build/bench/replica*
	$(call deps,build run test)
	$(hand_back)
	@$(AS_USER) $(submake) bench-replica-build
	@tests/bench/replica/run.sh; code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code

.PHONY: bench-replica-sim
bench-replica-sim: $(REPLAY)/sim/sim $(REPLAY)/report ## the same simulated, without QEMU (1 minute): figures to find out with, no measurements; writes build/bench/replica-sim*
	@tests/bench/replica/sim/run.sh
