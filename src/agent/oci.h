// SPDX-License-Identifier: Apache-2.0
// Completing the OCI runtime configuration that hostd sends: root, user, mounts, namespaces, cgroup. Pure: JSON in,
// JSON changed.
#ifndef BH_AGENT_OCI_H
#define BH_AGENT_OCI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct user;

struct oci_mount {
	const char *source, *destination;
	const char *propagation;         // "", "rslave", "rshared"
	bool read_only;
};

struct oci_device { const char *path; unsigned major, minor; bool read_only; };

struct oci_plan {
	const char *rootfs;              // absolute
	const char *cgroup;              // cgroupsPath
	const struct user *user;         // NULL: as configured
	bool terminal;
	bool shared_pids;                // join the process namespace at pid_namespace
	const char *pid_namespace;       // NULL with shared_pids false: a new one
	const struct oci_mount *mounts;
	size_t mounts_count;
	const struct oci_device *devices;
	size_t devices_count;
};

/* Check what hostd sent: an object with process.args (not empty), process.cwd (absolute), process.env (array of
 * NAME=VALUE). Returns a new reference, or NULL with the sentence in e. */
json_t *oci_parse(const char *text, struct err *e);

/* 0, -EINVAL, -ENOMEM. On failure config is in an undefined, but valid, state. */
int oci_complete(json_t *config, const struct oci_plan *plan, struct err *e);

/* The process section for an exec: config's own with other arguments, more environment and another terminal. New
 * reference; NULL: -EINVAL (text that is not UTF-8) or no memory. */
json_t *oci_exec_process(const json_t *config, char *const *argv, size_t argc, char *const *env, size_t envc,
			 bool terminal, struct err *e);

#endif
