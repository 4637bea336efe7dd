// SPDX-License-Identifier: Apache-2.0
// Brings container output from the agents to the log files. One thread for all containers of the host. The agent keeps
// a record until it is acknowledged, and it is acknowledged when it is in the file and the file's state is written: a
// hostd that is killed takes up where it was.
#ifndef BH_HOSTD_LOG_COLLECTOR_H
#define BH_HOSTD_LOG_COLLECTOR_H

#include "base/err.h"

struct log_collector;
struct log_source;      // one instance of one container

struct log_source_spec {
	const char *vsock_path;      // VMDIR/vsock.sock
	const char *container_id;    // in the agent
	const char *log_dir;         // cri_log.h
	unsigned instance;           // restart count
	/* Called once when the last line is in the file, on the collector's thread; must be quick and must not call the
	 * collector. May be NULL. */
	void (*ended)(void *user);
	void *user;
};

int log_collector_start(struct log_collector **c, struct err *e);
void log_collector_stop(struct log_collector *c);   // NULL allowed; sources still there are removed

/* Collect until removed. Connections that break are made again for ever. spec: copied. Opens the log file (may block). */
int log_collector_add(struct log_collector *c, const struct log_source_spec *spec, struct log_source **s, struct err *e);

/* What has arrived is in the file when this returns, and `ended` is not called any more. NULL allowed. */
void log_collector_remove(struct log_collector *c, struct log_source *s);

#endif
