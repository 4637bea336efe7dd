// SPDX-License-Identifier: Apache-2.0
// metadata.managedFields: who set which fields.
#ifndef BH_K8S_MANAGED_FIELDS_H
#define BH_K8S_MANAGED_FIELDS_H

#include <jansson.h>

#include "base/err.h"

struct k8s_kind;

/* Record that manager changed obj from old (NULL: created it) by an ordinary write: fields that it added or changed become
 * its own and are taken from others; fields that are gone are dropped everywhere. Changes obj's metadata.managedFields.
 * subresource: "status", or NULL. manager: from ?fieldManager=, else the client's program name; NULL or "" records nobody
 * new. Nothing happens when nothing changed.
 * A server that wants cheap writes calls this only when ?fieldManager= is given or old has managedFields: server-side apply
 * treats objects without as owned by "before-first-apply". 0, -EINVAL, -ENOMEM. */
int k8s_managed_fields_update(const struct k8s_kind *k, const json_t *old, json_t *obj, const char *manager,
			      const char *subresource, struct err *e);

/* ---- shared with patch_apply.c ---- */

/* The set of an entry; borrowed. */
json_t *k8s_managed_entry_set(const json_t *entry);
/* The entry of this manager, or NULL; borrowed. */
json_t *k8s_managed_entry(const json_t *entries, const char *manager, const char *operation, const char *api_version,
			  const char *subresource);
/* Set the fields of a manager (makes, replaces or, when set is empty, removes its entry); time becomes now. 0 or -ENOMEM. */
int k8s_managed_entry_put(json_t *entries, const char *manager, const char *operation, const char *api_version,
			  const char *subresource, const json_t *set);
void k8s_managed_drop_empty(json_t *entries);
/* What nobody owns: apiVersion, kind, name and other identity in metadata. */
void k8s_managed_strip(json_t *set);

#endif
