// SPDX-License-Identifier: Apache-2.0
// What workload controllers have in common: follow the objects of one kind (owners) and the objects that they control
// (children), adopt children that match their selector and let go of those that no longer do, and call sync for an owner
// whenever it or a child of it has changed or its time has come.
//
// All that sync is given is up to date with every write that was made before, its own included: no expectations are kept.
#ifndef BH_SERVER_CONTROLLERS_SYNCER_H
#define BH_SERVER_CONTROLLERS_SYNCER_H

#include <jansson.h>

#include "server/controllers/pod_info.h"
#include "server/loop.h"
#include "server/map.h"

struct child {
	struct child *next, *prev;     // of the same owner
	struct obj *obj;
	struct pod_info pod;           // when children are pods
	bool fresh;                    // has changed since it was last compared with the selector
};

struct syncer;

struct sync_ops {
	const char *component;         // source of events
	const char *group, *version, *plural, *kind;
	const char *child_group, *child_version, *child_plural;   // child_plural NULL: none
	bool takes_orphans;            // adopt and release by spec.selector
	/* owner: borrowed. Returns the real time at which to be called again, LOOP_NEVER, or SYNC_RETRY. */
	uint64_t (*sync)(struct syncer *s, json_t *owner, struct child *children, uint64_t now);
};
#define SYNC_RETRY 0                   // soon, with a back-off

struct syncer {
	struct server *srv;
	const struct sync_ops *ops;
	const struct k8s_kind *kind, *child_kind;
	struct map families;           // owner's uid -> struct family
	struct map children;           // child's key -> struct member
	struct map orphans;            // key -> obj: children without a controller
	struct map due;                // owner's key "ns/name" -> struct due
};

void syncer_init(struct syncer *s, struct server *srv, const struct sync_ops *ops);   // for units that begin with one
int syncer_new(struct server *srv, const struct sync_ops *ops, void **unit, struct err *e);
void syncer_close(void *unit);
uint64_t syncer_work(void *unit, uint64_t now);

/* For sources. */
void syncer_owner_changed(void *unit, int type, struct obj *o);
void syncer_child_changed(void *unit, int type, struct obj *o);
void syncer_children_reset(void *unit);

void syncer_look(struct syncer *s, const char *ns, const char *name);   // sync it
void syncer_look_in(struct syncer *s, const char *ns);                   // sync all of a namespace
void syncer_look_all(struct syncer *s);                                  // sync every owner
void syncer_event(struct syncer *s, const json_t *about, const char *type, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Pods of an owner with their events (SuccessfulCreate, FailedCreate, SuccessfulDelete). pod: borrowed. */
int syncer_create_pod(struct syncer *s, json_t *owner, json_t *pod, struct err *e);
int syncer_delete_pod(struct syncer *s, json_t *owner, const struct pod_info *p, struct err *e);

/* Put status in place of the owner's if it differs; owner then has it, too. status: borrowed. -ESTALE: others have changed the
 * status since owner was read; it is to be looked at anew. */
int syncer_set_status(struct syncer *s, json_t *owner, json_t *status);

/* conditions: an array that is changed; as condition_set, but without lastProbeTime, and with lastUpdateTime if asked for. */
bool status_condition(json_t *status, const char *type, const char *value, const char *reason, const char *message, bool update_time);
bool status_condition_drop(json_t *status, const char *type);
json_t *status_condition_find(const json_t *status, const char *type);

#endif
