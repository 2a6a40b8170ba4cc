# SPDX-License-Identifier: Apache-2.0
# The lab: stock kernels in QEMU. Programs for the guest are tests/vm/*.c. The loads are static and know nothing of the
# product, so that they need no library there; the others run parts of the product.

VM_STATIC := $(addprefix $(B)/tests/vm/,loadgen loopload nowaitread replaylog schedload uringread verifyio)
VM_PROGS := $(patsubst %.c,$(B)/%,$(filter-out %.bpf.c,$(wildcard tests/vm/*.c)))
VM_BPF_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/vm/*.bpf.c))
KERNELS ?= 6.1 6.12 6.18 7

$(VM_STATIC): $(B)/%: $(B)/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -static -o $@ $^ -lpthread

$(filter-out $(VM_STATIC),$(VM_PROGS)): $(B)/%: $(B)/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Like the keeper, it needs no more than libc and zlib.
$(B)/tests/vm/knobwrite: LIBS := -lz

# The tests of the kernel modules: none may be missing, and none skipped on 6.12.
VMTEST := 70-kmod 71-kmod-policy 75-replica 76-replica-nowait 77-replica-crash 78-volume 79-replica-chaos 80-replica-hedge \
	81-replica-discard 82-replica-nomem 83-replica-uring 84-replica-replay 85-replica-policy 88-replica-edges 89-replica-polled 89-replica-stuck
# And those of linnos deciding, which the debug kernel is too slow for.
VMTEST_LINNOS := 80-linnos-decides 85-agent-killed 86-linnos-verdicts 87-model-instructions 87-module-comes-and-goes 87-readme-volume \
	88-linnos-replaced 99-signature

.PHONY: vm vmtest vmtest-debug vmtest-sched test-loop
tests: $(VM_PROGS) $(VM_BPF_OBJ)
vm: all $(VM_PROGS) $(VM_BPF_OBJ) ## run the tests that need a kernel of their own, in QEMU; KERNELS=6.12 picks one
	@tests/vm/run.sh $(KERNELS)

vmtest: all $(VM_PROGS) $(VM_BPF_OBJ) ## the tests of the kernel modules on 6.12 and 7: fails where one of them did not run on 6.12
	@VM_TOOLCHAIN=1 tests/vm/run.sh --named "20-testdev 21-testdev-faults $(VMTEST) $(VMTEST_LINNOS)" 6.12 7

# no5lvl: with five levels of page tables, emulated, it finds false accesses while it boots, and takes longer to.
vmtest-debug: all $(VM_PROGS) $(VM_BPF_OBJ) ## the same on a 6.12 with KASAN, lockdep and kmemleak, built once (an hour or more)
	@kernel=$$(tests/vm/debug_kernel.sh) && VM_FACTOR=8 VM_MEMORY=3072 tests/vm/run.sh --plain --append no5lvl --named "$(VMTEST)" --kernel "$$kernel"

# In `make soak` (tests/e2e/sched.sh), not in `make test`: docs/verification-sched.md says why.
vmtest-sched: all $(VM_PROGS) $(VM_BPF_OBJ) ## the policies mllb and knn where they act, on 6.12, 6.18 and 7
	@VM_TESTS=tests/vm/sched tests/vm/run.sh --plain 6.12 6.18 7

# Words for the guest: make test-loop LOOP_SEEDS=3 LOOP_AA=50 LOOP_STAGES=ramp,full LOOP_FAULTS=agent-killed; LOOP='50-*' picks tests.
LOOP ?= *
LOOP_WORDS := $(foreach word,LOOP_SEEDS LOOP_AA LOOP_STAGES LOOP_FAULTS,$(if $($(word)),$(word)=$($(word))))
LOOP_REPORT := $(B)/vm/6.12-icount.report

test-loop: all $(VM_PROGS) $(VM_BPF_OBJ) ## the tuning loop on a kernel's own knobs, in virtual time; build/vm/loop.csv has what came of it
	@VM_TESTS=tests/vm/loop VM_MEMORY=512 tests/vm/run.sh --icount --append "$(LOOP_WORDS)" --only '$(LOOP)' 6.12; code=$$?; \
		sed -n 's/^OUT [^ ]*: csv //p' $(LOOP_REPORT) >$(B)/vm/loop.csv; exit $$code
