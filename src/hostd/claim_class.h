// SPDX-License-Identifier: Apache-2.0
// What the parameters of a StorageClass say about the disks of its claims.
#ifndef BH_HOSTD_CLAIM_CLASS_H
#define BH_HOSTD_CLAIM_CLASS_H

#include <jansson.h>

#include "base/err.h"

/* parameters: of the class, or NULL. *filters: JSON list as bulkhead/disk.h has it, heap; NULL: none. -EINVAL: a parameter
 * that is unknown or wrong, in one sentence. */
int claim_class_parse(const json_t *parameters, char **filters, struct err *e);

#endif
