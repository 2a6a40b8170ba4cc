# SPDX-License-Identifier: Apache-2.0
# Tests are found by name: tests/unit/test_X.c is a program, and so are tests/bpf/test_X.c (which also gets
# tests/bpf/*.bpf.c built), tests/fault/test_X.c and policies/*/tests/test_X.c; tests/fuzz/fuzz_X.c is a libFuzzer
# target; tests/e2e/*.sh runs as it is. tests/run.sh says what an exit code means.

prog = $(patsubst %.c,$(B)/%,$(wildcard $(1)))
TEST_UNIT := $(call prog,tests/unit/test_*.c policies/*/tests/test_*.c)
TEST_BPF := $(call prog,tests/bpf/test_*.c)
TEST_FAULT := $(call prog,tests/fault/test_*.c)
TEST_PROGS := $(TEST_UNIT) $(TEST_BPF) $(TEST_FAULT)
TEST_BPF_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bpf/*.bpf.c))
# Those that take more than a minute, or a network, and are part of `make soak` only.
SOAK_ONLY := $(addprefix tests/e2e/,coverage.sh systemd.sh bookworm.sh dkms.sh mok.sh sched.sh vm_kills.sh)
SOAK_VM := $(addprefix tests/e2e/,mok.sh sched.sh vm_kills.sh)
TEST_E2E := $(filter-out $(SOAK_ONLY),$(wildcard tests/e2e/*.sh))
# The lab prints one line a test; see tests/vm.
TEST_VM := $(wildcard tests/vm/run.sh)

$(TEST_PROGS): $(B)/%: $(B)/%.o $(B)/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

# Fuzz targets and a second copy of the unit tests link everything again, built with sanitizers. The runtime is a
# package of its own.
SAN := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
HAVE_FUZZER := $(wildcard /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-x86_64.a)
FUZZ := $(call prog,tests/fuzz/fuzz_*.c)
FUZZ_SECONDS ?= 10
fuzz_tests = $(FUZZ:%="+tests/fuzz/run.sh %")
# Not those that are minutes of one computation, whose parts have tests of their own.
TEST_SAN := $(patsubst $(B)/%,$(B)/san/%,$(filter-out $(B)/tests/unit/test_knn_goal,$(TEST_UNIT)))

$(B)/san/%.o: %.c | $(GEN_C)
	$(call say,SAN,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(filter-out -Werror,$(ALL_CFLAGS)) $(SAN) -c -o $@ $<

$(B)/san/libsemantos.a: $(LIB_SRC:%.c=$(B)/san/%.o) $(GEN_C:%.c=%.o)
	$(Q)rm -f $@ && ar rcs $@ $^

$(FUZZ): $(B)/%: %.c $(B)/san/libsemantos.a
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(filter-out -Werror,$(ALL_CFLAGS)) -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -o $@ $(filter %.c %.a,$^) $(LIBS)

$(TEST_SAN): $(B)/san/%: $(B)/san/%.o $(B)/san/libsemantos.a
	$(call say,LD,$@)
	$(Q)$(CLANG) $(SAN) -o $@ $^ -lcmocka $(LIBS)

# One stamp a source, so that only what changed is looked at again. The analyzer's shallow mode takes a third of the
# time of its deep one and stays inside a function or nearly so.
TIDY_FLAGS = $(filter-out -MMD -MP,$(ALL_CFLAGS)) -Xclang -analyzer-config -Xclang mode=shallow
TIDY := $(patsubst %.c,$(B)/tidy/%.ok,$(LIB_SRC) $(MAINS))
HAVE_TIDY := $(shell command -v clang-tidy-19)
$(B)/tidy/%.ok: %.c .clang-tidy | $(GEN_C)
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D) && clang-tidy-19 --quiet $< -- $(TIDY_FLAGS) 2>$@.err \
		|| { cat $@.err; exit 1; }
	$(Q)touch $@

.PHONY: tests check test soak fuzz lint tidy format budgets coverage coverage-lines
tests: all $(TEST_PROGS) $(TEST_BPF_OBJ) $(if $(HAVE_FUZZER),$(FUZZ) $(TEST_SAN)) ## build the tests, run none

# Whole tuning loops in real time, a quarter of a minute each or more, and what computes as long are left to `make test`.
TEST_LOOPS := $(call prog,tests/unit/test_tune_*.c tests/unit/test_advisor_*.c tests/unit/test_knn_goal.c)
CHECKED := $(filter-out $(TEST_LOOPS),$(TEST_UNIT))

check: ## unit tests, BPF tests and lint, in under a minute
	@$(submake) all $(CHECKED) $(TEST_BPF) $(TEST_BPF_OBJ)
	@tests/run.sh tests/lint.sh tests/tidy.sh $(CHECKED:%=+%) $(TEST_BPF)

# The machines of the lab need a CPU, the host's tests mostly wait: beside each other they take two thirds of the time.
test: ## with sudo: install what tests lack, build, run everything (about three quarters of an hour on two cores)
	$(call deps,build run test)
	$(hand_back)
	@$(AS_USER) $(submake) tests
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run.sh tests/lint.sh tests/tidy.sh $(TEST_UNIT:%=+%) $(TEST_SAN:%=+%) \
		$(TEST_BPF) $(TEST_FAULT) \
		$(fuzz_tests) $(TEST_E2E) $(TEST_VM:%=@%) $(TEST_SOAK); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code

soak: ## with sudo: the same with full counts, and on a fresh Debian 12; writes build/soak-DATE.txt
	@mkdir -p $(B)
	@set -o pipefail; report=$(B)/soak-$$(date +%F).txt; \
		{ git log -1 --format='semantos %H' 2>/dev/null; uname -a; date; \
		SEMANTOS_SOAK=1 VM_TOOLCHAIN=1 $(MAKE) --no-print-directory test FUZZ_SECONDS=60 \
			TEST_SOAK="$(filter-out $(SOAK_VM),$(SOAK_ONLY)) $(SOAK_VM:%=@%)" 2>&1; } \
		| tee $$report; code=$$?; echo "the report is in $$report"; exit $$code
soak: SHELL := /bin/bash

fuzz: ## every fuzz target for 60 s
	@$(submake) $(FUZZ)
	@FUZZ_SECONDS=60 tests/run.sh $(fuzz_tests)

tidy: $(if $(HAVE_TIDY),$(TIDY))
lint: ## format, licence lines, file length, shell scripts, clang-tidy
	@$(submake) -k tidy
	@tests/lint.sh || [ $$? -eq 77 ]

budgets: ## as root: write anew what the verifier may count for each BPF program (tests/bpf/budgets.txt)
	@$(submake) all $(B)/tests/bpf/test_budgets
	@SEMANTOS_REWRITE_BUDGETS=1 $(B)/tests/bpf/test_budgets

format: ## lay out every C file with clang-format
	@tests/lint.sh --fix || [ $$? -eq 77 ]

# Branches of agent/safety, taken by its unit tests and by the sweep in which every call fails; the rest of the tree is built
# as ever. A child that was killed leaves no counts; what it ran is run by others that end.
COVER_TESTS := $(call prog,tests/unit/test_journal.c tests/unit/test_canary.c tests/unit/test_knob*.c tests/unit/test_rollback.c \
	tests/unit/test_breaker.c tests/unit/test_audit.c tests/unit/test_gain.c tests/unit/test_threshold.c tests/unit/test_drift.c \
	tests/unit/test_rollout.c tests/unit/test_slo.c tests/unit/test_swap.c tests/unit/test_safety*.c tests/unit/test_guard.c \
	tests/unit/test_trial.c tests/fault/test_safety_calls.c tests/fault/test_safety_stop.c tests/fault/test_safety_coupled.c tests/fault/test_safety_kernel.c)
ifdef COVER
$(B)/agent/safety/%.o: ALL_CFLAGS += -O0 --coverage -fprofile-update=atomic -Wno-error
# a weak reference, as in tests/fault/steps.h, takes nothing out of an archive
LDFLAGS += --coverage -Wl,-u,__gcov_dump
endif

coverage: ## every branch of agent/safety must be taken by its tests: fails below 100 %, and lists those that were not
	@$(submake) B=$(B)/coverage COVER=1 $(COVER_TESTS:$(B)/%=$(B)/coverage/%)
	@find $(B)/coverage -name '*.gcda' -delete
	@TEST_LOGS=$(B)/coverage/test-logs tests/run.sh $(COVER_TESTS:$(B)/%=+$(B)/coverage/%)
	@tests/coverage.sh $(B)/coverage agent/safety

coverage-lines: ## how many lines of each file the unit tests run
	@$(submake) B=$(B)/coverage-lines CFLAGS="-O1 -g --coverage -w" $(TEST_UNIT:$(B)/%=$(B)/coverage-lines/%)
	@find $(B)/coverage-lines -name '*.gcda' -delete
	@tests/run.sh $(TEST_UNIT:$(B)/%=+$(B)/coverage-lines/%)
	@find $(B)/coverage-lines/agent -name '*.gcda' | sort | xargs gcov -n | awk -F "[':%]" '/^File .agent/ { file = $$2 } \
		/^Lines/ && file { sub(/.* /, "", $$3); printf "%5.1f %% of %4d lines  %s\n", $$2, $$3, file; \
		hit += $$2 * $$3; all += $$3; file = "" } END { printf "%5.1f %% of %4d lines  in all\n", hit / all, all }'

-include tests/vm/vm.mk tests/bench/bench.mk tests/bench/infer.mk tests/bench/path.mk tests/bench/replica.mk tests/bench/tune.mk tests/bench/policies.mk
