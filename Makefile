# OaaS: build, bring up, test. `make help` lists the targets.
#
# Caches (cargo's target directory, tools, packages, images) live outside the checkout, so that a fresh clone is warm.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:

OAAS_CACHE_DIR ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/oaas
CARGO_TARGET_DIR ?= $(OAAS_CACHE_DIR)/cargo
export OAAS_CACHE_DIR CARGO_TARGET_DIR

# What building OaaS needs, what `oaas up` needs on the machine, and what only tests need.
BUILD_PACKAGES := gcc libc6-dev make
UP_PACKAGES := apt ca-certificates coreutils dpkg ethtool gcc git iproute2 kmod libseccomp-dev mmdebstrap nftables pkg-config procps util-linux
TEST_PACKAGES := chromium chromium-driver curl dnsmasq-base iputils-ping jq openssh-client qemu-system-x86 qemu-utils zstd

# Tiers of `make test`, in order, each an executable in tests/tiers/ (see tests/run).
TIERS := format lint deny unit node apiserver cloud
# Tiers that take long, each a part of `make test-full` with a log of its own (see tests/full).
PARTS := daemons release declared scale loss credentials

.PHONY: help build up down test test-full bench bench-cold lint deny packages-build packages-up packages-test

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

build: packages-build ## Build the release binary to bin/oaas
	cargo build --release --locked --package oaas
	install -D -m 0755 "$(CARGO_TARGET_DIR)/release/oaas" bin/oaas

up: build packages-up ## Bring up a cloud on this machine
	bin/oaas up

down: build ## Take the cloud down and restore the machine
	bin/oaas down

test: build packages-test ## Everything that a change must pass
	tests/run $(TIERS)

test-full: build packages-test ## Also what takes long; `make test-full-daemons` is one part of it
	failed=0; tests/run $(TIERS) || failed=1; tests/full $(PARTS) || failed=1; exit $$failed

test-full-%: build packages-test
	tests/full $*

test-%: build packages-test
	tests/run $*

bench: build packages-test ## Measure, and print a table
	tests/bench

bench-cold: build packages-test ## Measure `make up` from a fresh clone with empty caches
	tests/bench --cold

lint: ## Formatting, lints, dependencies
	tests/run format lint deny

deny: ## Bans, licenses and sources of dependencies
	tests/run deny

packages-build:
	@scripts/debian-packages "to build OaaS" $(BUILD_PACKAGES)

packages-up:
	@scripts/debian-packages "to bring up a cloud" $(UP_PACKAGES)

packages-test: packages-up
	@scripts/debian-packages "for tests" $(TEST_PACKAGES)
