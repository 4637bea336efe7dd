// SPDX-License-Identifier: Apache-2.0
// Reading and killing cgroups (version 2). dir: the cgroup's folder.
#ifndef BH_AGENT_CGROUP_H
#define BH_AGENT_CGROUP_H

#include <stdint.h>

/* A value of a file of "key value" lines, or, with key NULL, of a file that holds one number. Absent: 0. */
uint64_t cgroup_value(const char *dir, const char *file, const char *key);

void cgroup_kill(const char *dir);                   // SIGKILL to every process in it and below
void cgroup_signal(const char *dir, int signal);     // any signal to every process in it

#endif
