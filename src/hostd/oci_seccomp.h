// SPDX-License-Identifier: Apache-2.0
// Which system calls a container may make.
#ifndef BH_HOSTD_OCI_SECCOMP_H
#define BH_HOSTD_OCI_SECCOMP_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/* profile: securityContext.seccompProfile, or NULL (Unconfined). root: profiles of type Localhost are files under
 * ROOT/seccomp. caps: the container's capabilities (["CAP_..."]), which open calls that the default profile closes.
 * *out: linux.seccomp of the OCI configuration, a new reference, or NULL: none. -EINVAL, -ENOENT. */
int oci_seccomp(const json_t *profile, const char *root, const json_t *caps, json_t **out, struct err *e);

#endif
