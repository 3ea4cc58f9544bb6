/*
 * report.h -- what sessions say of their connections
 */
#ifndef EGRESS_REPORT_H
#define EGRESS_REPORT_H

#include "bench.h"

extern void report_delete_of(EgressBenchKind kind, int64 id);

#endif							/* EGRESS_REPORT_H */
