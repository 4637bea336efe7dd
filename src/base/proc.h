// SPDX-License-Identifier: Apache-2.0
// Run a helper program (skopeo, a CNI plug-in, mkfs) to its end. Blocking; safe from any thread.
#ifndef BH_PROC_H
#define BH_PROC_H

#include <stddef.h>

#include "buf.h"
#include "err.h"

struct proc_opts {
	const char *const *env;   // NULL-terminated "K=V", added to ours; NULL: ours unchanged
	const void *input;        // given on stdin; NULL: /dev/null
	size_t input_len;
	int timeout_ms;           // 0: none; at the limit the process group is killed, -ETIMEDOUT
	int netns_fd;             // > 0: enter this network namespace first (setns)
	void (*on_line)(void *user, const char *line);   // called for each line of stderr as it comes; may be NULL
	void *user;
	const volatile int *cancel;   // may be NULL; when *cancel becomes nonzero the process group is killed, -ECANCELED
};

/* Run argv (argv[0] looked up in PATH, NULL-terminated) and wait. out: stdout appended (NULL: discarded); errout:
 * stderr appended (NULL: the last part of it goes into e on failure). o may be NULL. Each of out and errout is limited to 64 MiB.
 * Descriptors above 2 are not inherited. The child dies with its parent.
 * Returns the exit code 0-255; 128 + N when killed by signal N; -errno, text in e, if it could not be run. */
int proc_run(const char *const argv[], const struct proc_opts *o, struct buf *out, struct buf *errout, struct err *e);

/* The same, but anything other than exit code 0 is an error: -EIO, e = "skopeo: exit code 1: <last line of stderr>". */
int proc_check(const char *const argv[], const struct proc_opts *o, struct buf *out, struct err *e);

#endif
