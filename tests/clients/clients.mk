# The clients that people have, fetched once into var/clients. For the Makefile to include.
#
#   make test-clients   each doing its main job on libvirt's test hypervisor; what cannot be had here is skipped, in words

CLIENTS := var/clients
NPM_CLIENTS := $(CLIENTS)/npm/.installed
ANSIBLE := $(CLIENTS)/ansible/.installed

.PHONY: test-clients

test-clients: venv $(NPM_CLIENTS) $(ANSIBLE)
	$(BIN)/pytest -ra tests/clients

# No lock file: it would name a registry. The client itself is pinned.
$(NPM_CLIENTS): tests/clients/package.json
	@mkdir -p $(@D)
	@command -v npm >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || \
		{ apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm; } || true
	@if ! command -v npm >/dev/null; then \
		echo "There is no npm here (apt-get install nodejs npm): the clients on npm are not tried."; \
	elif cp tests/clients/package.json $(@D) && cd $(@D) && npm install --no-package-lock --no-audit --no-fund --silent; then \
		touch .installed; \
	else \
		echo "npm cannot fetch its clients now: they are not tried."; \
	fi

$(ANSIBLE): tests/clients/requirements.txt
	@rm -rf $(@D); mkdir -p $(@D)
	@if $(PYTHON) -m venv $(@D) && \
		$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt; then \
		touch $@; \
	else \
		echo "pip cannot fetch Ansible now: it is not tried."; \
	fi
