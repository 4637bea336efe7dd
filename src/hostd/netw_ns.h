// SPDX-License-Identifier: Apache-2.0
// Named network namespaces, as `ip netns` makes and shows them.
#ifndef BH_HOSTD_NETW_NS_H
#define BH_HOSTD_NETW_NS_H

#include "base/err.h"

#define NETNS_DIR "/run/netns"

int netw_ns_make(const char *name, struct err *e);        // -EEXIST when there is one of that name
int netw_ns_open(const char *name, struct err *e);        // descriptor; -ENOENT also for a name left from before a reboot
int netw_ns_remove(const char *name, struct err *e);      // absent is fine

/* Run fn inside the namespace, on a thread of its own. Returns what fn returns, or -errno. */
int netw_ns_run(int ns_fd, int (*fn)(void *ctx, struct err *e), void *ctx, struct err *e);

/* Call fn for each name that begins with prefix. */
void netw_ns_each(const char *prefix, void (*fn)(void *ctx, const char *name), void *ctx);

/* After the last namespace: undo the mount on NETNS_DIR, if nobody else uses it. */
void netw_ns_finish(void);

#endif
