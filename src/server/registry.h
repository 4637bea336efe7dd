// SPDX-License-Identifier: Apache-2.0
// Every change of an object, whoever makes it: read the current state, make the next one from it, check what its kind
// demands, and commit if nobody was faster; if somebody was and the caller did not ask for a certain version, again.
#ifndef BH_SERVER_REGISTRY_H
#define BH_SERVER_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "k8s/kind.h"
#include "server/identity.h"
#include "server/server.h"
#include "server/store.h"

struct reg_write;

/* Make the next state. cur: the object now, in the version of w->kind (borrowed); NULL when it does not exist.
 * Returns NULL and *next (new reference; may be cur itself: nothing to change), or a Status. May be called several times.
 * No part of *next is changed by its maker afterwards: it may be shared (view.h). */
typedef json_t *reg_make(struct reg_write *w, const json_t *cur, json_t **next);

enum reg_action { REG_CREATE, REG_UPDATE, REG_DELETE };
enum reg_fields { REG_FIELDS_IGNORE, REG_FIELDS_WARN, REG_FIELDS_STRICT };   // what unknown and duplicate fields are
enum reg_step { REG_DONE, REG_SUBMIT };

struct reg_write {
	// What to do; set before the first step.
	struct server *srv;
	const struct identity *who;
	const struct k8s_kind *kind;      // version that make works in
	enum reg_action action;
	const char *ns, *name;            // name "": taken from the object (create)
	const char *subresource;          // "" or "status": which part of the object may change; others: all of it
	reg_make *make;                   // CREATE, UPDATE
	void *user;
	bool create_if_missing;           // UPDATE of an absent object calls make with NULL and creates
	const char *manager;              // who is recorded as owner of changed fields; NULL: agent, where others are recorded
	const char *agent;
	bool records_owners;              // make has recorded them itself (server-side apply)
	bool dry_run;
	enum reg_fields fields;
	json_t *unknown;                  // array of sentences on such fields (owned); NULL: not collected
	const json_t *delete_options;     // DELETE: DeleteOptions or NULL

	// The outcome.
	json_t *status;                   // failure: owned; NULL on success
	struct obj *out;                  // the object as it is now; for a completed deletion its last state
	bool created, deleted;

	// Between steps.
	struct store_write sw;
	struct obj *cur;
	size_t unknown_given;             // how many sentences the caller put into unknown, and one
	json_t *noted;                    // keys of quotas and budgets in which this change has been put down (quota.h)
	char *key;
	bool noting;                      // sw is such a note
	bool submitted;
	int tries;
};

/* Do what can be done without waiting. REG_SUBMIT: hand w->sw to the store and call again when it is done. */
enum reg_step reg_step(struct reg_write *w);
void reg_fini(struct reg_write *w);          // frees everything w owns

/* For threads that may wait (controllers): all steps. Returns 0, or -errno: -ENOENT, -EEXIST, -ESTALE, -EACCES,
 * -EINVAL, -EIO by the Status, text in e. *out (may be NULL): reference. */
int reg_run(struct reg_write *w, struct obj **out, struct err *e);

/* The same for several at once, whose commits go together; n at most REG_MANY. Outcomes in each w; reg_fini each. */
#define REG_MANY 64
void reg_run_many(struct reg_write *w, size_t n);
/* The outcome of one: 0 or -errno as from reg_run. */
int reg_outcome(const struct reg_write *w, struct err *e);

/* Key prefix of a kind: "pods/" or "deployments.apps/"; with ns "pods/ns/". Returns out. Kinds that share storage
 * with another group give the same key. */
#define REG_KEY_MAX 768
const char *reg_prefix(const struct k8s_kind *k, const char *ns, char out[REG_KEY_MAX]);
const char *reg_key(const struct k8s_kind *k, const char *ns, const char *name, char out[REG_KEY_MAX]);

#endif
