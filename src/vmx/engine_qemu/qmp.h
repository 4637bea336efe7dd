// SPDX-License-Identifier: Apache-2.0
// QEMU's monitor protocol, as much as the engine needs: commands out, replies and events in. QEMU is not trusted: a line
// has a limit, what is not understood is ignored.
#ifndef BULKHEAD_VMX_QMP_H
#define BULKHEAD_VMX_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct evloop;
struct qmp;

struct qmp_attr {
	struct evloop *loop;
	int fd;                                                     // connected, non-blocking; owned by qmp once made
	void (*ready)(void *user);                                  // QEMU takes commands
	void (*event)(void *user, const char *name, const json_t *data);   // data: may be NULL
	void *user;
};

struct qmp *qmp_new(const struct qmp_attr *a);   // NULL: no memory (a->fd is then still the caller's)
void qmp_free(struct qmp *q);
void qmp_drain(struct qmp *q);                   // handle what QEMU has said up to now

/* QEMU's answer: what it returns, or NULL and a sentence why not. Not called when QEMU ends before it answers. */
typedef void qmp_done_fn(void *user, const json_t *value, const char *why);

/* Send a command. args: stolen; NULL: none. fd: goes with it, borrowed; -1: none. done: NULL: a refusal is logged. Answers
 * come in the order of the commands. Returns 0 or -errno. */
int qmp_send(struct qmp *q, const char *name, json_t *args, int fd, qmp_done_fn *done, void *user, struct err *e);
int qmp_command(struct qmp *q, const char *name, struct err *e);   // without arguments, done NULL
int qmp_command_number(struct qmp *q, const char *name, const char *argument, uint64_t value, struct err *e);

/* Handle what QEMU says, and nothing else, until *flag. 0, -ETIMEDOUT, -EPIPE: QEMU has ended. */
int qmp_wait(struct qmp *q, const bool *flag, int timeout_ms);

#endif
