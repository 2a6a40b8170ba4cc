# SPDX-License-Identifier: Apache-2.0
# The lab: stock kernels in QEMU. Programs for the guest are tests/vm/*.c. The loads are static and know nothing of the
# product, so that they need no library there; the others run parts of the product.

VM_STATIC := $(addprefix $(B)/tests/vm/,loadgen nowaitread verifyio)
VM_PROGS := $(patsubst %.c,$(B)/%,$(filter-out %.bpf.c,$(wildcard tests/vm/*.c)))
VM_BPF_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/vm/*.bpf.c))
KERNELS ?= 6.1 6.12 6.18 7

$(VM_STATIC): $(B)/%: $(B)/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -static -o $@ $^ -lpthread

$(filter-out $(VM_STATIC),$(VM_PROGS)): $(B)/%: $(B)/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: vm
tests: $(VM_PROGS) $(VM_BPF_OBJ)
vm: all $(VM_PROGS) $(VM_BPF_OBJ) ## run the tests that need a kernel of their own, in QEMU; KERNELS=6.12 picks one
	@tests/vm/run.sh $(KERNELS)
