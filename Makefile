# What a developer or a curious admin types. Everything lands in .venv and var; nothing outside but the system packages.
#
#   make run     try it: libvirt's test hypervisor, at http://127.0.0.1:8086
#   make test    everything that must hold: lint, format, types, tests
#   make install     the agent as a service of this host; make uninstall takes it away (docs/install.md)
#   make deb     a Debian package, in build/; make test-deb tries it in a folder with a Debian in it
#   make fuzz    SECONDS=60 of making inputs up that might break the front door; those that do are kept in var/fuzz
#   make bench   the measurements
#   make man     manual pages and shell completions, below build/share
#   make test-clients  the clients that people have, each doing its main job (docs/clients)
#   make test-xen    the tests on a real Xen in an emulator; make lab boots it alone (docs/xen.md)
#   make venv    what the others do first
#   make clean   remove .venv and caches; var, with its state, stays

PYTHON ?= python3
PORT ?= 8086
SECONDS ?= 60
# System packages: libvirt to build against and to run, disk images, and what Debian splits off its Python.
# Elsewhere than on Debian, or with these from another source: make PACKAGES= ...
PACKAGES ?= libvirt-dev pkg-config gcc python3-dev python3-venv libvirt-daemon libvirt-clients qemu-utils

BIN := .venv/bin
INSTALLED := .venv/.installed
AGENT := $(BIN)/xen-host-agent
# How many labs the tests on a real Xen are shared out among; with 0 they run in the one that is up, or is booted for them.
# A lab needs two processors for itself: two labs on two take four times as long as one, and miss their guests' ends.
LABS ?= $(shell labs=$$(($$(nproc) / 2)); [ $$labs -gt 1 ] && echo $$labs || echo 0)
XEN_TESTS ?= tests/xen
# For how long cases are begun there, those first that say most; empty for as long as there are any.
MINUTES ?=
URL := http://127.0.0.1:$(PORT)

.PHONY: venv run test test-xen fuzz bench man clean

venv: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@missing=; \
	for package in $(PACKAGES); do \
		command -v dpkg-query >/dev/null || break; \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ]; then \
		echo "installing:$$missing"; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; \
	elif [ -n "$$missing" ]; then \
		echo "These packages are missing; install them as root, then run make again:"; \
		echo "    apt-get install$$missing"; \
		exit 1; \
	fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is not Python 3.11 or later; name one that is: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: venv
	@umask 077; mkdir -p var; \
	if [ -z "$$($(AGENT) user list --config /dev/null --state var)" ]; then \
		$(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(12))' >var/first-password; \
		$(AGENT) user add root --config /dev/null --state var <var/first-password || exit 1; \
	fi; \
	password=$$(cat var/first-password 2>/dev/null || echo 'the one you chose'); \
	echo; \
	echo "  URL       $(URL)"; \
	echo "  user      root"; \
	echo "  password  $$password"; \
	echo; \
	echo "  Try it in another terminal, in $(BIN)/python:"; \
	echo; \
	echo "  import XenAPI; session = XenAPI.Session('$(URL)')"; \
	echo "  session.xenapi.login_with_password('root', '$$password')"; \
	echo "  print([vm['name_label'] for vm in session.xenapi.VM.get_all_records().values()])"; \
	echo
	@exec $(AGENT) serve --config /dev/null --connect test:///default --listen $(URL) --state var

test: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -ra

# The tests on a real Xen, in the lab, which is made and booted where it is not up. They take long where processors are slow.
test-xen: venv
	XEN_HOST_AGENT_LAB_MINUTES=$(MINUTES) $(BIN)/pytest -ra -n $(LABS) $(XEN_TESTS)

# At the places that they have below /usr/share.
man: venv
	$(BIN)/python -m agent.manual docs/config.toml build/share

# What was found to reach new code is kept too, so that the next run, be it of hours, goes on from there.
fuzz: venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@mkdir -p var/fuzz/corpus
	$(BIN)/python -m tests.fuzz -max_total_time=$(SECONDS) -artifact_prefix=var/fuzz/ var/fuzz/corpus

bench: venv
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

include packaging/packaging.mk
include lab/lab.mk
include tests/clients/clients.mk
