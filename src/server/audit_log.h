// SPDX-License-Identifier: Apache-2.0
// A file of lines, written by a thread of its own: who adds a line never waits for a disk. It is turned over at a size. While
// the disk refuses, lines wait in memory up to a bound; what is beyond it is lost, counted, and said in the log.
#ifndef BH_SERVER_AUDIT_LOG_H
#define BH_SERVER_AUDIT_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct audit_log;

/* max_bytes: FILE becomes FILE.1 (and that FILE.2 ... up to keep of them) before it grows beyond; at least one line each. */
int audit_log_open(const char *path, uint64_t max_bytes, unsigned keep, struct audit_log **l, struct err *e);
void audit_log_close(struct audit_log *l);     // what can be written is written; NULL is fine

void audit_log_line(struct audit_log *l, const char *line, size_t len);   // len bytes, the last is '\n'. Any thread

struct audit_counts { uint64_t lines, lost, waiting_bytes; };
void audit_log_counts(struct audit_log *l, struct audit_counts *c);

#endif
