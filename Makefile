# SPDX-License-Identifier: Apache-2.0
# Builds semantos: `make help` lists the targets. Sources are found by folder, so a new file or policy is never
# added here by hand. Tests are in tests/tests.mk, installation in agent/install/install.mk.

B := build
CC := gcc
CLANG := clang-19
LLVM_STRIP := llvm-strip-19
VERSION := 0.1.0
PREFIX ?= /usr
ARGS ?=
DEPS ?= yes
V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' $(1) $(2)
endif

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -fno-strict-aliasing $(WARN) -D_GNU_SOURCE -DSEMANTOS_VERSION='"$(VERSION)"' -I. -I$(B)/gen $(CFLAGS) -MMD -MP
LIBS := -lbpf -lelf -lz -lgrpc -lgpr -lprotobuf-c -ljansson -linih -lcap-ng -lsystemd -lblkid -lpthread -lm -Wl,--as-needed -lmicrohttpd -lcurl -lsqlite3 -Wl,--no-as-needed
BPF_CFLAGS := -std=gnu11 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Wno-missing-declarations -I. -idirafter /usr/include/x86_64-linux-gnu

MAINS := agent/cli/semantos-agent.c agent/cli/semantosctl.c agent/cli/semantos-keeper.c agent/advisor/semantos-advisor.c
LIB_SRC := $(filter-out $(MAINS),$(wildcard agent/util/*.c agent/infer/*.c agent/core/*.c agent/safety/*.c \
	agent/telemetry/*.c agent/api/*.c agent/cli/*.c agent/advisor/*.c agent/advisor/*/*.c kmod/infer/*.c))
KNOB_TABLES := $(wildcard agent/util/knobs/*.conf) $(shell ls -v agent/util/knobs/seen-*.tsv 2>/dev/null)
GEN_C := $(B)/gen/agent/proto/semantos.pb-c.c $(B)/gen/agent/util/knob_rows.c
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o) $(GEN_C:%.c=%.o)
BINS := $(B)/semantos-agent $(B)/semantosctl
KEEPER := $(B)/semantos-keeper
ADVISOR := $(B)/semantos-advisor
BPF_SRC := $(wildcard bpf/*/*.bpf.c policies/*/*.bpf.c)
BPF_OBJ := $(BPF_SRC:%.c=$(B)/%.o)
POLICY_FILES := $(patsubst %,$(B)/%,$(wildcard policies/*/policy.conf policies/*/*.safetensors))
EXAMPLES := $(patsubst %.c,$(B)/%,$(wildcard policies/*/examples/*.c))

# Under sudo, compile as the user who typed it, when that user can write here; hand back what root left in build/.
ifneq ($(filter-out root,$(SUDO_USER)),)
AS_USER := $(shell runuser -u $(SUDO_USER) -- test -w . 2>/dev/null && echo runuser -u $(SUDO_USER) --)
endif
hand_back = $(if $(AS_USER),@mkdir -p $(B) && chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B))
# make again, on all CPUs unless -j was given.
submake = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
# Install the packages of these groups (agent/install/deps.list), unless DEPS=no.
deps = $(if $(filter no,$(DEPS)),,@agent/install/deps.sh $(1))

.DELETE_ON_ERROR:
.SECONDARY: $(GEN_C)
.SUFFIXES:
.PHONY: all help run clean
all: $(BINS) $(KEEPER) $(ADVISOR) $(BPF_OBJ) $(POLICY_FILES) $(EXAMPLES) ## build everything into build/, as an ordinary user

run: ## with sudo: install what is missing (DEPS=no: nothing), build, run the linnos policy; ARGS= passes arguments
	@[ "$$(id -u)" -eq 0 ] || { echo "Loading BPF programs needs root: use sudo make run."; exit 4; }
	$(call deps,build run)
	$(hand_back)
	@$(AS_USER) $(submake) all
	@$(B)/semantos-agent --policy linnos $(ARGS)

$(B)/libsemantos.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BINS): $(B)/%: $(B)/agent/cli/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# The keeper depends on libc and zlib alone, so that little can go wrong with it.
$(KEEPER): $(B)/%: $(B)/agent/cli/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lz

# The advisor has no part of the agent's: it reads what the agent tells it, and writes its own database.
$(ADVISOR): $(B)/%: $(B)/agent/advisor/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lgrpc -lgpr -lprotobuf-c -lsqlite3 -lcap-ng -lpthread -lm

$(B)/%.o: %.c | $(GEN_C)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/gen/agent/proto/%.pb-c.c: agent/proto/%.proto
	$(call say,PROTO,$<)
	$(Q)mkdir -p $(@D) && protoc-c --c_out=$(B)/gen $<

# The tables of knobs become C, so that no program reads one when it runs.
$(B)/mkknobs: agent/util/knobs/mkknobs.c agent/util/knob_read.c agent/util/knob_words.c agent/util/knob_read.h agent/util/knob_desc.h
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) -o $@ $(filter %.c,$^) -linih

$(B)/gen/agent/util/knob_rows.c: $(B)/mkknobs $(KNOB_TABLES)
	$(call say,KNOBS,$@)
	$(Q)mkdir -p $(@D) && $< $(KNOB_TABLES) >$@

$(B)/gen/%.o: $(B)/gen/%.c
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu11 -O2 -g -w -I. -I$(B)/gen -c -o $@ $<

# BTF stays, DWARF goes: an object is a few KiB.
$(B)/%.bpf.o: %.bpf.c vmlinux.h $(wildcard bpf/*.h bpf/*/*.h policies/*/*.h)
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -c -o $@ $< && $(LLVM_STRIP) -g $@

$(POLICY_FILES): $(B)/%: %
	$(Q)mkdir -p $(@D) && cp $< $@

$(EXAMPLES): $(B)/%: %.c bpf/wire.h $(wildcard policies/*/examples/*.h)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 $(WARN) -D_GNU_SOURCE -I. $(CFLAGS) $(LDFLAGS) -o $@ $< -lbpf

clean: ## remove build/
	rm -rf $(B)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

-include $(wildcard $(B)/agent/*/*.d $(B)/agent/advisor/*/*.d $(B)/kmod/*/*.d $(B)/san/*/*/*.d $(B)/tests/*/*.d $(B)/policies/*/tests/*.d)
include tests/tests.mk
include agent/install/install.mk
