// SPDX-License-Identifier: Apache-2.0
// The Kubernetes API: from a parsed request to its reply. api.c decides who does it; api_*.c do it.
#ifndef BH_SERVER_API_H
#define BH_SERVER_API_H

#include "k8s/kind.h"
#include "server/negotiate.h"
#include "server/request.h"

/* When the headers are there: why r->who may not (403), or nobody now (503). NULL: they may. */
json_t *api_refusal(struct request *r);
/* When the body is there. */
void api_serve(struct request *r);

/* Each: false: not one of its paths. */
/* api_discovery.c: /api, /apis, /version. */
bool api_discovery(struct request *r);
/* api_openapi.c: /openapi/v2, /openapi/v3. */
bool api_openapi(struct request *r);
/* api_health.c: /healthz, /livez, /readyz, /metrics. */
bool api_health(struct request *r);

/* api_read.c */
void api_get(struct request *r, const struct k8s_kind *k);
void api_list(struct request *r, const struct k8s_kind *k);
/* api_watch.c */
void api_watch(struct request *r, const struct k8s_kind *k);
/* api_write.c */
void api_create(struct request *r, const struct k8s_kind *k);
void api_update(struct request *r, const struct k8s_kind *k);
void api_patch(struct request *r, const struct k8s_kind *k);
void api_delete(struct request *r, const struct k8s_kind *k);
void api_delete_collection(struct request *r, const struct k8s_kind *k);

/* What a collection request selects: from labelSelector, fieldSelector. Returns NULL or a Status. On success the caller
 * owns both selectors (NULL: none). *name: set when the fields ask for exactly one name (borrowed from *fields). */
struct k8s_selector;
/* ?limit=: 0 when there is none, or a negative one. NULL or a Status. */
json_t *api_limit(const struct request *r, uint64_t *limit);
json_t *api_selectors(const struct request *r, const struct k8s_kind *k, struct k8s_selector **labels,
		      struct k8s_selector **fields, const char **name);
/* The form the client accepts. False: a 406 reply is set. */
bool api_accept(struct request *r, struct accept *a);

/* The text of a stored object as request kind k has it; new reference. */
json_t *api_object(const struct k8s_kind *k, struct obj *o);
/* Reply with an object in the form asked for. Steals o. */
void api_reply_object(struct request *r, const struct k8s_kind *k, unsigned code, struct obj *o);
/* metadata only, as PartialObjectMetadata. New reference. */
json_t *api_partial(const json_t *obj, const char *version);
/* Items as a Table of a's version. */
json_t *api_table(const struct request *r, const struct k8s_kind *k, const json_t *items, uint64_t rv, const char *continue_token,
		  const struct accept *a);

#endif
