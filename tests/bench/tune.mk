# SPDX-License-Identifier: Apache-2.0
# `make bench-tune`: what tuning brings to real programs on this machine; writes named settings of the host, through the
# journal with the keeper running, and fails unless all read as before.

.PHONY: bench-tune
bench-tune: ## with sudo: real programs before and after tuning (1 hour); changes settings of this machine and restores them; writes build/bench/tune*
	$(call deps,build run tune)
	$(hand_back)
	@$(AS_USER) $(submake) all
	@tests/bench/tune/run.sh $(PROGRAMS); code=$$?; \
		$(if $(AS_USER),chown -R --from=root $(SUDO_UID):$(SUDO_GID) $(B);) exit $$code
