// SPDX-License-Identifier: Apache-2.0
// metadata as the server keeps it: what it sets itself and what a client cannot change.
#ifndef BH_SERVER_META_H
#define BH_SERVER_META_H

#include <jansson.h>
#include <stdbool.h>

#include "k8s/kind.h"

/* All return NULL or a Status. The first two set what the object leaves out. */
json_t *meta_check_type(const struct k8s_kind *k, json_t *obj);                          // kind, apiVersion
json_t *meta_check_namespace(const struct k8s_kind *k, json_t *obj, const char *ns);
json_t *meta_prepare_create(const struct k8s_kind *k, json_t *obj, const char *ns, const char *name);
json_t *meta_prepare_update(const struct k8s_kind *k, json_t *obj, const json_t *cur, const char *ns, const char *name);

void meta_touch_generation(const struct k8s_kind *k, json_t *obj, const json_t *cur);   // + 1 if the spec changed
char *meta_uid(char out[37]);                 // a random UUID
char *meta_now(char out[40]);                 // RFC 3339, seconds
bool meta_is_deleting(const json_t *obj);     // deletionTimestamp is set
bool meta_has_finalizers(const json_t *obj);  // metadata.finalizers, or spec.finalizers of a namespace

#endif
