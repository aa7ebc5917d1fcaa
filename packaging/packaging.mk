# Installing and packaging, for the Makefile to include. DESTDIR, PREFIX, PYTHON, LIBVIRT and INIT: packaging/install.sh.

DESTDIR ?=
PREFIX ?= /usr/local
LIBVIRT ?=
INIT ?=

.PHONY: install uninstall deb test-deb

install:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' PYTHON='$(PYTHON)' LIBVIRT='$(LIBVIRT)' INIT='$(INIT)' \
		packaging/install.sh install

uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' PYTHON='$(PYTHON)' INIT='$(INIT)' packaging/install.sh uninstall

deb:
	@packaging/deb.sh

# Installs, upgrades and purges the package in a folder with a Debian 12 in it. Skips, saying why, where that cannot be made.
test-deb: venv
	$(BIN)/pytest -ra tests/packaging
