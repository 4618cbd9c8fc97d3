# `make help` lists the targets. Everything is set up below .venv and build/, nothing outside of this folder.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell command -v python$(v))) $(shell command -v python3))
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.set-up
TFLITE := build/venv-tflite

.DEFAULT_GOAL := help
.PHONY: help setup demo screenshots runtimes test lint bench torture soak docs lock image image-test manifest clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## install what the project needs into .venv

$(STAMP): requirements/dev.txt
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14))' \
	  || { echo "Python 3.11 to 3.13 is needed; '$(PYTHON)' is not. Try: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

demo: $(STAMP)  ## show the whole system; CARD=DIR: your own pictures, ONCE=1: end when all is recorded, WEB_PORT=N
	@$(RUN) -m deployment.demo $${CARD:+--card "$$CARD"} $${ONCE:+--once} $${WEB_PORT:+--port "$$WEB_PORT"}

screenshots: $(STAMP)  ## take README's pictures of the running demo anew (needs Chromium)
	$(RUN) -m deployment.demo.screenshots

# The gateway's other runtime has wheels for Python 3.11 at most; elsewhere its test is skipped, aloud.
runtimes: $(STAMP)  ## install tflite-runtime 2.14 beside, to compare verdicts with
	@if [ -e $(TFLITE)/.set-up ] || ! $(RUN) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then exit 0; fi; \
	$(RUN) -m venv $(TFLITE) \
	&& $(TFLITE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/tflite.txt \
	&& touch $(TFLITE)/.set-up

test: $(STAMP) runtimes lint  ## check style and types, run every test
	$(RUN) -m pytest

lint: $(STAMP)  ## check style and types only
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/hadolint Dockerfile.arm32v7
	$(VENV)/bin/shellcheck .ci/run $(wildcard deployment/*/*.sh) deployment/host/files/card-added deployment/host/files/ponya-read-cards

bench: $(STAMP)  ## measure speed and memory, as ratios: table and build/bench.json
	$(RUN) -m tests.bench

ROUNDS ?= 20
SEED ?= 1
torture: $(STAMP)  ## the whole system while everything fails, in rounds: make torture ROUNDS=20 SEED=1
	$(RUN) -m tests.torture --rounds $(ROUNDS) --seed $(SEED)

DAYS ?= 30
DAY_S ?= 105
soak: $(STAMP)  ## one month in an hour: a gateway through cards, outages and restarts; build/soak.json and .png: DAYS=30
	$(RUN) -m tests.soak --days $(DAYS) --day-s $(DAY_S)

docs: $(STAMP)  ## write docs/settings.md and docs/settings.dtdl.json from the schema
	$(RUN) -m edge_module.settings_doc > docs/settings.md
	$(RUN) -m edge_module.dtdl > docs/settings.dtdl.json

# What the image has from Debian 12 instead (docs/decisions/0045).
OF_DEBIAN := cffi cryptography numpy paho-mqtt pycparser setuptools
lock: $(STAMP)  ## renew the lock files from pyproject.toml (slow)
	cd requirements && for extra in dev edge cloud; do \
	  ../$(RUN) -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	    --no-annotate --extra $$extra --output-file $$extra.txt ../pyproject.toml; \
	  sed -i -e '/^# WARNING: pip install/d' -e '/^# Consider using a hashable/d' -e '/^ponya @/d' $$extra.txt; done
	cd requirements && for target in arm32v7 64bit; do \
	  ../$(RUN) -m piptools compile --quiet --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links \
	    --no-annotate $(addprefix --unsafe-package ,$(OF_DEBIAN)) --output-file $$target.txt $$target.in; \
	  sed -i '/^# WARNING: The following/,$$d' $$target.txt; done

ARCH ?= arm32v7
LIMIT_MIN ?= 120
image: $(STAMP)  ## build the gateway's image without a container engine into build/image: make image ARCH=arm64v8
	$(RUN) -m deployment.image $(ARCH) --limit-min $(LIMIT_MIN)

image-test: image  ## build the image and test it as IoT Edge would run it; test the set-up of its host
	PONYA_IMAGE=build/image/$(ARCH) $(RUN) -m pytest tests/image tests/host

manifest: $(STAMP)  ## write build/deployment.ARCH.json: make manifest REPOSITORY=... VERSION=... REGISTRY_ADDRESS= ...
	@$(RUN) -m deployment.manifest $(ARCH) $(addprefix --layer ,$(wildcard deployment/layers/*.json))

clean:  ## remove what was set up and built
	rm -rf $(VENV) build
