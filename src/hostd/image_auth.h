// SPDX-License-Identifier: Apache-2.0
// Credentials for a pull: the pod's imagePullSecrets as one docker configuration.
#ifndef BH_HOSTD_IMAGE_AUTH_H
#define BH_HOSTD_IMAGE_AUTH_H

#include "base/err.h"

struct pod;

/* *auth: heap text of {"auths": {...}}, or NULL when the pod names no usable secret (a missing one is skipped, as a
 * kubelet does). Returns 0 or -ENOMEM. */
int image_auth(struct pod *p, const char *ref, char **auth, struct err *e);

#endif
