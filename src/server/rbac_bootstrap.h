// SPDX-License-Identifier: Apache-2.0
// The roles that every cluster has, and who has them from the start.
#ifndef BH_SERVER_RBAC_BOOTSTRAP_H
#define BH_SERVER_RBAC_BOOTSTRAP_H

#include <jansson.h>
#include <stddef.h>

/* The i-th object with its kind's plural; new reference. NULL past the end. */
json_t *rbac_bootstrap(size_t i, const char **plural);

#endif
