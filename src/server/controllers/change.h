// SPDX-License-Identifier: Apache-2.0
// Changes that controllers make, in one call each.
#ifndef BH_SERVER_CONTROLLERS_CHANGE_H
#define BH_SERVER_CONTROLLERS_CHANGE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "server/server.h"

struct k8s_kind;
struct obj;

/* Change a private copy of the object; false: nothing to do. May be called again on a conflict. */
typedef bool change_fn(json_t *obj, void *user);

/* subresource: "" (all but status), "status", or any other word (everything). 0 or -errno; -ENOENT when it is gone. */
int change_object(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name, const char *subresource,
		  change_fn *fn, void *user, struct err *e);
int create_object(struct server *srv, const struct k8s_kind *k, const char *ns, json_t *obj, struct err *e);   // obj is borrowed
/* The same; *made: the object as it is stored, a reference. */
int create_object_out(struct server *srv, const struct k8s_kind *k, const char *ns, json_t *obj, struct obj **made, struct err *e);
/* grace: seconds; -1: the object's own. uid: NULL or a precondition. */
int delete_object(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name, const char *uid, long grace,
		  struct err *e);
/* policy: "Background", "Foreground" or "Orphan": what becomes of its dependents. */
int delete_object_and(struct server *srv, const struct k8s_kind *k, const char *ns, const char *name, const char *uid,
		      const char *policy, struct err *e);

#endif
