# `make` alone prints what there is.
.DEFAULT_GOAL := help
SEED ?= 1
ATTUNE := .build/release/attune
TEST_BUILD := --scratch-path .build/tests

.PHONY: help setup build quickstart test test-long lint format bench interop clean

help:
	@echo "make quickstart [SEED=1]  install what is missing, build, and teach a small model to read digits"
	@echo "make test                 install what is missing, build, run every test"
	@echo "make build                .build/release/attune"
	@echo "make lint                 formatting and style, warnings are errors"
	@echo "make format               formats the sources in place"
	@echo "make bench                kernels, rollouts and steps beside the machine's limits, and beside the peers if installed"
	@echo "make interop              other programs read what attune writes (makes a Python environment)"
	@echo "make test-long            tests that take longer than a coffee"
	@echo "make clean                removes builds"

# Quick when nothing is missing.
setup:
	@Scripts/setup.sh

build: setup
	swift build -c release --product attune

quickstart: build
	$(ATTUNE) run recipes/quickstart.yaml --set seed=$(SEED)

test: build
	swift build $(TEST_BUILD) --build-tests
	ATTUNE_BINARY="$(CURDIR)/$(ATTUNE)" swift test $(TEST_BUILD) --skip-build

test-long: build
	ATTUNE_LONG_TESTS=1 ATTUNE_BINARY="$(CURDIR)/$(ATTUNE)" swift test $(TEST_BUILD)

lint:
	swift format lint --strict -r -p Package.swift Sources Tests rewards

format:
	swift format -i -r -p Package.swift Sources Tests rewards

bench: build
	Scripts/bench.sh

interop: build
	Tests/Interop/run.sh

clean:
	rm -rf .build
