// SPDX-License-Identifier: Apache-2.0
// Starting a process without waiting for it.
#ifndef BH_AGENT_CHILD_H
#define BH_AGENT_CHILD_H

#include <sys/types.h>

#include "base/err.h"

/* stdio: descriptors that become 0, 1 and 2 (-1: /dev/null), borrowed. Everything else must be close-on-exec. Signals
 * are back to their defaults in the child. Returns the pid or -errno. */
pid_t child_spawn(const char *program, const char *const argv[], const int stdio[3], struct err *e);

#endif
