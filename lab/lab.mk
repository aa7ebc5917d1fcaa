# The lab, a real Xen in an emulator; docs/xen.md tells what it is. For the Makefile to include.
#
#   make lab         boot it, made first where it is not made yet
#   make lab-shell   a shell in its dom0
#   make lab-stop    end it; what was written in it is gone

PYTHON ?= python3

.PHONY: lab lab-shell lab-stop

lab:
	@$(PYTHON) lab/lab up

lab-shell: lab
	@$(PYTHON) lab/lab shell

lab-stop:
	@$(PYTHON) lab/lab stop
