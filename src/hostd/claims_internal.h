// SPDX-License-Identifier: Apache-2.0
// What the files of claims.h share: the copies of the API's objects, and small calls on them.
#ifndef BH_HOSTD_CLAIMS_INTERNAL_H
#define BH_HOSTD_CLAIMS_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "claims.h"

#define CLAIMS_NODE_KEY "disk.bulkhead.dev/node"
#define CLAIMS_VOLUME_FINALIZER "external-provisioner.volume.kubernetes.io/finalizer"
#define CLAIMS_SNAPSHOT_FINALIZER "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
#define CLAIMS_CONTENT_FINALIZER "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"

enum claims_kind { CLAIM, VOLUME, SNAPSHOT, CONTENT, CLAIMS_KINDS };

struct mirror { struct claims *claims; enum claims_kind kind; json_t *items; };   // items: "ns/name" -> object

struct claims {
	const struct host *host;
	pthread_t thread;
	pthread_mutex_t lock;         // what follows
	pthread_cond_t wake;
	bool dirty, stop;
	struct mirror mirrors[CLAIMS_KINDS];
	struct k8s_informer *informers[CLAIMS_KINDS];
	json_t *waits;                // the worker's: uid -> {until, tries}: what failed is tried again later
};

/* The worker's view of one round: new references to the objects of a kind. */
json_t *claims_items(struct claims *c, enum claims_kind k);
const char *claims_annotation(const json_t *obj, const char *key);   // "" when absent
const char *claims_volume_node(const json_t *pv);                    // of its node affinity; ""
bool claims_volume_is_ours(const struct claims *c, const json_t *pv);
bool claims_has_finalizer(const json_t *obj, const char *name);

/* path: without the name of a subresource. */
char *claims_path(enum claims_kind k, const json_t *obj, const char *subresource, char out[700]);
int claims_patch(struct claims *c, enum claims_kind k, const json_t *obj, const char *subresource, json_t *patch, struct err *e);   // takes patch
int claims_drop_finalizer(struct claims *c, enum claims_kind k, const json_t *obj, const char *name, struct err *e);

/* claims_snapshot.c */
int claims_snapshot(struct claims *c, const json_t *snapshot, struct err *e);      // take it, or let it go
int claims_content(struct claims *c, const json_t *content, struct err *e);        // remove it when it is being deleted
/* A snapshot of a volume, whether a VM has it open or not. */
int claims_take(struct claims *c, const char *snapshot_id, const char *volume_id, struct err *e);
void claims_snapshot_id(const json_t *obj, char out[64]);                          // "snap-<uid>"

/* claims_grow.c */
int claims_grow(struct claims *c, const json_t *claim, const json_t *pv, struct err *e);

#endif
