// SPDX-License-Identifier: Apache-2.0
// Who a container's process is: "name", "uid", "name:group" and so on, looked up in the image's own /etc/passwd and
// /etc/group. The image is not trusted: its files are opened beneath its root, whatever its links say.
#ifndef BH_AGENT_USER_H
#define BH_AGENT_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define USER_GROUPS_MAX 256

struct user {
	uint32_t uid, gid;
	uint32_t groups[USER_GROUPS_MAX];   // supplementary, gid among them, each once
	size_t groups_count;
};

/* rootfs: folder of the image's root. spec: not empty. memberships: the user's in /etc/group count. 0; -EINVAL not a user specification; -ENOENT no such user or
 * group, sentence as container runtimes say it. */
int user_find(const char *rootfs, const char *spec, bool memberships, struct user *out, struct err *e);

void user_add_group(struct user *u, uint32_t gid);    // ignored when present or full

/* The same on the files' text, for tests and fuzzing. NULL: no such file. */
int user_find_in(const char *passwd, const char *group, const char *spec, bool memberships, struct user *out, struct err *e);

#endif
