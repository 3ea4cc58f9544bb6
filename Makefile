# Makefile -- egress builds with PGXS: make, make install, make installcheck, make clean.
#
#   make demo         install what is missing, build, and walk through the job in a throwaway cluster
#   make demo-psql    open psql on the cluster that the demo left; stopped again when psql is left
#   make demo-drop    drop that cluster
#   make test         install what is missing, build, and run the tests in a throwaway cluster, in minutes;
#                     TESTS="regress isolation" runs only these stages, which test/run lists
#   make test-all     the same with everything that takes longer: more rounds, and the stages after those of make test
#   make bench        measure egress beside its peers, and write doc/bench.md; ROUNDS=1 for a short look
#
# All of them take PG_CONFIG=/path/to/pg_config. demo, test, test-all and bench need nothing but make beforehand.

.DEFAULT_GOAL := all

MODULE_big = egress
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
PGFILEDESC = "egress - VPN egress gateways and credential leases"

EXTENSION = egress
DATA = $(sort $(wildcard egress--*.sql))

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation

# the warning of -Wextra that functions called through the manager, and PostgreSQL's own headers, raise
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter

# the library serves installations of this version, and tells others to be updated: src/catalog.c
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" egress.control)
PG_CPPFLAGS = -DEGRESS_VERSION='"$(EXTVERSION)"'

# libsodium seals secrets and makes WireGuard keys
SHLIB_LINK += -lsodium

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# not every PostgreSQL is built with dependency tracking: a changed header, or version, rebuilds everything
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h) egress.control
else
.PHONY: all install uninstall installcheck clean
all install uninstall installcheck clean:
	@echo "egress: $(PG_CONFIG) with PGXS is missing: install postgresql-server-dev-N (N: 15 to 18), or set PG_CONFIG" >&2; exit 1
endif

# PG_CONFIG, TESTS and ROUNDS reach the scripts through the environment, and only when they were given
.PHONY: demo demo-psql demo-drop test test-all bench
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
