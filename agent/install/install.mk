# SPDX-License-Identifier: Apache-2.0
# `make install DESTDIR= PREFIX=` and its exact reverse. One list, mode:source:destination, serves both.
# State in /var/lib/semantos is never touched; groups are made by systemd-sysusers from the file installed here.

LIBDIR := $(PREFIX)/lib/semantos
UNITDIR := $(PREFIX)/lib/systemd/system
MAN := $(patsubst agent/install/man/%.scd,$(B)/man/%,$(wildcard agent/install/man/*.scd))
HAVE_SCDOC := $(shell command -v scdoc)

$(B)/man/%: agent/install/man/%.scd
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D) && scdoc <$< >$@

# every time, because PREFIX may be another one than the last time
UNITS := $(B)/semantos-agent.service $(B)/semantos-advisor.service
.PHONY: $(UNITS)
$(UNITS): $(B)/%: agent/install/%.in
	$(Q)mkdir -p $(@D) && sed 's|@PREFIX@|$(PREFIX)|g' $< >$@

into = $(foreach f,$(2),$(1):$(f):$(3)/$(notdir $(f)))
INSTALLED = \
	$(call into,755,$(B)/semantos-agent,$(PREFIX)/sbin) \
	$(call into,755,$(KEEPER) $(ADVISOR),$(PREFIX)/sbin) \
	$(call into,755,$(B)/semantosctl,$(PREFIX)/bin) \
	$(call into,644,bpf/wire.h,$(PREFIX)/include/semantos) \
	$(call into,644,$(UNITS),$(UNITDIR)) \
	644:agent/install/sysusers.conf:$(PREFIX)/lib/sysusers.d/semantos.conf \
	644:agent/install/tmpfiles.conf:$(PREFIX)/lib/tmpfiles.d/semantos.conf \
	$(foreach f,$(filter-out $(B)/policies/template/%,$(filter $(B)/bpf/%,$(BPF_OBJ)) \
		$(filter $(B)/policies/%,$(BPF_OBJ)) $(POLICY_FILES)),644:$(f):$(f:$(B)/%=$(LIBDIR)/%)) \
	$(if $(HAVE_SCDOC),$(foreach f,$(MAN),644:$(f):$(PREFIX)/share/man/man$(subst .,,$(suffix $(f)))/$(notdir $(f)))) \
	$(foreach f,$(wildcard agent/install/completion/*.bash), \
		644:$(f):$(PREFIX)/share/bash-completion/completions/$(basename $(notdir $(f)))) \
	$(call into,644,$(wildcard agent/install/completion/_*),$(PREFIX)/share/zsh/vendor-completions)

.PHONY: man install uninstall dkms
man: $(MAN)

install: all $(UNITS) $(if $(HAVE_SCDOC),man) ## install under DESTDIR and PREFIX (/usr)
	$(if $(HAVE_SCDOC),,@echo "scdoc is not installed: the man pages are left out.")
	@set -e; for entry in $(INSTALLED); do IFS=:; set -- $$entry; \
		install -D -m "$$1" "$$2" "$(DESTDIR)$$3"; done

uninstall: ## remove what install put there; state in /var/lib/semantos stays
	@for entry in $(INSTALLED); do rm -f "$(DESTDIR)$${entry##*:}"; done
	@rm -f $(MAN:$(B)/man/%="$(DESTDIR)$(PREFIX)"/share/man/man*/%)
	@[ ! -d "$(DESTDIR)$(LIBDIR)" ] || find "$(DESTDIR)$(LIBDIR)" -type d -empty -delete
	@rmdir "$(DESTDIR)$(PREFIX)/include/semantos" 2>/dev/null || true

# What the modules are built from, and nothing of the tests. docs/kmod.md says what comes next.
DKMS_SRC := $(filter-out kmod/test/%,$(wildcard bpf/*.h bpf/*/*.h kmod/*.[ch] kmod/*/*.[ch] kmod/Kbuild kmod/*/Kbuild))
DKMS_DIR = $(DESTDIR)/usr/src/semantos-$(VERSION)

dkms: ## put the kernel modules' sources where DKMS looks for them: DESTDIR/usr/src/semantos-VERSION
	@set -e; for file in $(DKMS_SRC); do install -D -m 644 $$file $(DKMS_DIR)/$$file; done
	@sed 's/@VERSION@/$(VERSION)/' kmod/dkms.conf >$(DKMS_DIR)/dkms.conf
	@echo "The sources are in $(DKMS_DIR); next: dkms install semantos/$(VERSION)"
