// SPDX-License-Identifier: Apache-2.0
// Collects the output of all containers of this host: for each it opens the agent's log stream (from the last record
// that is on disk), writes CRI log files and acknowledges. A few threads for all. Called by the pod workers
// (pod_containers.c, pod_vm.c): this header is the contract with them. Every call is safe from any thread and for names
// it does not know.
#ifndef BH_HOSTD_LOG_COLLECTOR_H
#define BH_HOSTD_LOG_COLLECTOR_H

#include "base/err.h"

struct log_collector;

int log_collector_start(struct log_collector **lc, struct err *e);
void log_collector_close(struct log_collector *lc);   // writes what has arrived; NULL allowed

/* Follow one instance of a container. Files: POD_DIR/logs/CONTAINER/<restart_count>.log. vsock_path: VMDIR/vsock.sock;
 * container_id: in the agent. Reconnects by itself until the record with `end` has been written, or log_collector_stop.
 * Replaces an earlier instance of the same container (whose remaining records are still written as far as they come).
 * Calling it again for the same instance (after a hostd restart) goes on where the files end. Copies its strings. */
int log_collector_add(struct log_collector *lc, const char *pod_uid, const char *container, const char *vsock_path,
		      const char *container_id, const char *pod_dir, unsigned restart_count);

/* Wait until the current instance's output is complete on disk, at most timeout_ms. Returns 0 or -ETIMEDOUT. */
int log_collector_drain(struct log_collector *lc, const char *pod_uid, const char *container, unsigned timeout_ms);

/* The VM is gone: end the current instance's log here, write what has arrived, do not reconnect. */
void log_collector_stop(struct log_collector *lc, const char *pod_uid, const char *container);

/* Stop, and forget all about it; returns when no file of it is open any more (the folder is removed next). */
void log_collector_forget(struct log_collector *lc, const char *pod_uid, const char *container);

#endif
