// SPDX-License-Identifier: Apache-2.0
// The pod that this VM is for: names, network, clock, entropy, scratch disk, and the files that every container sees.
#ifndef BH_AGENT_POD_H
#define BH_AGENT_POD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "control.h"

struct pod;

struct pod *pod_new(void);                       // not configured; NULL: no memory
void pod_free(struct pod *p);                    // NULL allowed

struct agent;
int pod_mount_scratch(struct agent *a, const char *serial, struct err *e);   // "": memory. Once: then it is there

control_fn pod_configure;                        // ConfigurePod

const char *pod_uid(const struct pod *p);        // NULL: not configured
bool pod_shares_processes(const struct pod *p);
pid_t pod_pause_pid(const struct pod *p);        // init of the shared process namespace; 0: none
size_t pod_addresses(const struct pod *p, const char *const **addresses);   // text, borrowed

/* Folder RUN/pod/ holds these, bind-mounted into containers. */
#define POD_FILE_RESOLV_CONF "resolv.conf"
#define POD_FILE_HOSTS "hosts"
#define POD_FILE_HOSTNAME "hostname"

#endif
