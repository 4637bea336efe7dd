// SPDX-License-Identifier: Apache-2.0
// What the server checks and fills in when objects are created or changed, beyond the rules of the kind itself: the
// namespace must exist and not be ending; pods get their service account, tolerations and priority.
#ifndef BH_SERVER_ADMISSION_H
#define BH_SERVER_ADMISSION_H

#include <jansson.h>

#include "k8s/kind.h"
#include "server/server.h"

/* obj: complete with defaults and namespace; changed in place. Returns NULL or a Status. */
json_t *admit_create(struct server *srv, const struct k8s_kind *k, json_t *obj);
/* cur: as it is now. */
json_t *admit_update(struct server *srv, const struct k8s_kind *k, const json_t *obj, const json_t *cur);
json_t *admit_delete(const struct k8s_kind *k, const char *name);

#endif
