# `make` alone prints what there is.
.DEFAULT_GOAL := help
SEED ?= 1
# Random checkpoints of each family that `make interop` compares besides the fixed ones, from seed SEED on.
SWEEP ?= 0
ATTUNE := .build/release/attune
TEST_BUILD := --scratch-path .build/tests
# What also runs on the instruction set of any processor; what tensors hold is the same on all, and bf16 products are slow there.
PORTABLE_TESTS := 'TensorTests|RolloutTests|ModelsTests|LabTests'
# Every tensor is an allocation of its own, so that its borders are seen. Leaks are not looked for: Swift keeps bits in its
# pointers, and every global counts as one; what grows is the soak's to find.
ADDRESS := --scratch-path .build/address --sanitize=address -Xcc -fsanitize=undefined -Xcc -fno-sanitize-recover=undefined
THREAD := --scratch-path .build/thread --sanitize=thread

.PHONY: help setup build quickstart test test-long sanitize lint format bench interop clean

help:
	@echo "make quickstart [SEED=1]  install what is missing, build, and teach a small model to read digits"
	@echo "make test                 install what is missing, build, run every test"
	@echo "make build                .build/release/attune, and the rewards written in Swift beside it"
	@echo "make lint                 formatting and style, warnings are errors"
	@echo "make format               formats the sources in place"
	@echo "make bench                kernels, rollouts and steps beside the machine's limits, and beside the peers if installed"
	@echo "make interop [SWEEP=N]    attune and the libraries whose files it shares compute the same (makes a Python environment)"
	@echo "make test-long            tests that take longer than a coffee"
	@echo "make sanitize             kernels, engine and picture readers under the address, undefined-behaviour and thread sanitizers"
	@echo "make clean                removes builds"

# Quick when nothing is missing.
setup:
	@Scripts/setup.sh

# The program, and beside it the libraries of the rewards that are written in Swift, which no compiler is needed for later.
build: setup
	swift build -c release

quickstart: build
	$(ATTUNE) run recipes/quickstart.yaml --set seed=$(SEED)

test: build
	swift build $(TEST_BUILD) --build-tests
	ATTUNE_BINARY="$(CURDIR)/$(ATTUNE)" swift test $(TEST_BUILD) --skip-build
	ATTUNE_ISA=portable swift test $(TEST_BUILD) --skip-build --filter $(PORTABLE_TESTS) --skip MemoryEstimateTests

test-long: build
	ATTUNE_LONG_TESTS=1 ATTUNE_BINARY="$(CURDIR)/$(ATTUNE)" swift test $(TEST_BUILD)

sanitize: setup
	swift build $(ADDRESS) --build-tests
	ATTUNE_MEMORY=separate ASAN_OPTIONS=detect_leaks=0 swift test $(ADDRESS) --skip-build --filter 'TensorTests|RolloutTests|ModelsTests|VisionTests'
	swift build $(THREAD) --build-tests
	ATTUNE_MEMORY=separate TSAN_OPTIONS=suppressions="$(CURDIR)/Tests/Sanitizers/races.txt" swift test $(THREAD) --skip-build --filter 'TensorTests|RolloutTests'

lint:
	swift format lint --strict -r -p Package.swift Sources Tests rewards

format:
	swift format -i -r -p Package.swift Sources Tests rewards

bench: build
	Scripts/bench.sh

interop: build
	@Scripts/setup.sh interop
	Tests/Interop/run.sh --sweep $(SWEEP) --seed $(SEED)

clean:
	rm -rf .build
