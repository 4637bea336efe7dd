// SPDX-License-Identifier: Apache-2.0
// Running crun. It ends when its work is done (run --detach, exec --detach), and leaves the container's process to us.
#ifndef BH_AGENT_RUNTIME_H
#define BH_AGENT_RUNTIME_H

#include <sys/types.h>

#include "base/err.h"

struct agent;

/* rc: 0 or -errno: ENOENT the command does not exist, EACCES it may not be run, EIO other; e: crun's own words.
 * pid: of the process started, 0 when not asked for. */
typedef void runtime_done_fn(void *user, int rc, pid_t pid, const struct err *e);

struct runtime_call {
	const char *args[12];        // subcommand and what follows, NULL-terminated; {run|exec} get --pid-file in between
	int stdio[3];                // -1: /dev/null
	runtime_done_fn *done;       // exactly once if runtime_run returned 0, never before it returns
	void *user;
};

/* Readies the program once: 0 or -errno. See runtime.c for what it gains. */
int runtime_prepare(struct agent *a, struct err *e);

int runtime_run(struct agent *a, const struct runtime_call *call, struct err *e);

/* "exec: "foo": executable file not found in $PATH" and the like, from crun's error about argv0. */
void runtime_explain(struct err *e, const char *argv0, const char *context);

#endif
