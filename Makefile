# Makefile -- egress builds with PGXS: make, make install, make installcheck, make clean.
#
#   make demo         install what is missing, build, and walk through the job in a throwaway cluster
#   make demo-psql    open psql on the cluster that the demo left; stopped again when psql is left
#   make demo-drop    drop that cluster
#   make test         install what is missing, build, and run the tests in a throwaway cluster, in minutes;
#                     TESTS="regress isolation" runs only these stages, which test/run lists
#   make test-all     the same with everything that takes longer: more rounds, and the stages after those of make test
#   make bench        measure egress beside its peers, and write doc/bench.md; ROUNDS=1 for a short look
#   make reference    write doc/reference.md, from the comments in egress--1.0.sql and src/errors.h
#   make deb          install what is missing, and build Debian packages, in the folder dist
#   make dist         make the zip for PGXN, of what is committed, in the folder dist
#
# All but the last two take PG_CONFIG=/path/to/pg_config. All need nothing but make beforehand; make dist needs git, too.
# make, make install and make installcheck also run in another folder: make -f /path/to/egress/Makefile.

.DEFAULT_GOAL := all

# where this file is
here := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))

MODULE_big = egress
OBJS = $(patsubst $(here)/%.c,%.o,$(sort $(wildcard $(here)/src/*.c)))
PGFILEDESC = "egress - VPN egress gateways and credential leases"

EXTENSION = egress
DATA = $(notdir $(sort $(wildcard $(here)/egress--*.sql)))

REGRESS = $(notdir $(basename $(sort $(wildcard $(here)/sql/*.sql))))
# the expected files have characters of UTF-8
REGRESS_OPTS = --encoding=UTF8
ISOLATION = $(filter-out $(unprepared),$(notdir $(basename $(sort $(wildcard $(here)/test/isolation/specs/*.spec)))))
ISOLATION_OPTS = --inputdir=$(here)/test/isolation

# the warning of -Wextra that functions called through the manager, and PostgreSQL's own headers, raise
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter

# PostgreSQL may load libraries so that a symbol of one takes the place of another's: nothing is exported but what SQL names
PG_CFLAGS += -fvisibility=hidden

# the library serves installations of this version, and tells others to be updated: src/catalog.c
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(here)/egress.control)
PG_CPPFLAGS = -DEGRESS_VERSION='"$(EXTVERSION)"'

# libsodium seals secrets and makes WireGuard keys; OpenSSL's libcrypto reads certificates and keys as openvpn does
SHLIB_LINK += -lsodium -lcrypto

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# not every PostgreSQL is built with dependency tracking: a changed header, or version, rebuilds everything
$(OBJS) $(OBJS:.o=.bc): $(wildcard $(here)/src/*.h) $(here)/egress.control | requirements $(CURDIR)/src

# another folder does not have it
$(CURDIR)/src:
	@mkdir -p $@

# pgxs.mk is there without what it takes to compile: Debian has it in a package for clients
.PHONY: requirements
requirements:
	@missing() { echo "egress: $$1 is missing: install $$2" >&2; status=1; }; \
	has() { echo "$$1" | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1; }; \
	status=0; \
	if ! has ''; then missing 'the C compiler $(CC)' gcc; \
	elif ! has '#include <stdio.h>'; then missing 'stdio.h of the C library' libc6-dev; \
	elif ! has '#include <sodium.h>'; then missing 'sodium.h of libsodium' libsodium-dev; \
	elif ! has '#include <openssl/evp.h>'; then missing 'openssl/evp.h of OpenSSL' libssl-dev; \
	fi; \
	if [ ! -f '$(includedir_server)/postgres.h' ]; then \
		missing 'postgres.h of the server' 'postgresql-server-dev-$(MAJORVERSION)'; \
	elif [ '$(with_llvm)' = yes ] && ! command -v '$(CLANG)' >/dev/null; then \
		missing '$(CLANG), which makes code for JIT,' '$(notdir $(CLANG)), or say make with_llvm=no'; \
	fi; \
	exit $$status

# make installcheck runs on servers with settings of all kinds. pg_regress sets some of them for its databases;
# these are the others that the expected files depend on.
installcheck: export PGOPTIONS := $(PGOPTIONS) -c client_min_messages=notice -c default_transaction_isolation=read\ committed \
	-c bytea_output=hex -c lc_messages=C

# the specs that need prepared transactions, when the server has none
unprepared = $(if $(filter 0,$(shell $(bindir)/psql -XAtc 'SHOW max_prepared_transactions' template1 2>/dev/null)),$(call leave_out,\
	$(basename $(notdir $(shell grep -l 'PREPARE TRANSACTION' $(here)/test/isolation/specs/*.spec)))))
leave_out = $(1)$(info egress: the server has max_prepared_transactions = 0, so these are left out:$(1))
else
.PHONY: all install uninstall installcheck clean
all install uninstall installcheck clean:
	@echo "egress: $(PG_CONFIG) with PGXS is missing: install postgresql-server-dev-N (N: 15 to 19), or set PG_CONFIG" >&2; exit 1
endif

# PG_CONFIG, TESTS and ROUNDS reach the scripts through the environment, and only when they were given
.PHONY: demo demo-psql demo-drop test test-all bench reference deb dist
demo:
	@demo/run
demo-psql:
	@demo/psql
demo-drop:
	@demo/drop
test:
	@test/run
test-all:
	@EGRESS_TEST_ALL=1 test/run
bench:
	@test/bench/run
reference:
	@scripts/reference
deb:
	@scripts/deb
dist:
	@scripts/dist
