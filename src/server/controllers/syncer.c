// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/syncer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/controllers/change.h"
#include "server/controllers/owner.h"
#include "server/meta.h"
#include "server/recorder.h"
#include "server/registry.h"
#include "server/view.h"

#define RETRY_MIN_NS (50 * NS_PER_MS)
#define RETRY_MAX_NS (30 * NS_PER_S)

struct family {
	char *ns, *name;               // of the owner
	struct child *children;
	size_t count;
};

struct member {
	char uid[64];                  // of its owner
	struct child *child;
};

struct due {
	uint64_t at;                   // monotonic; 0: at once
	unsigned failures;             // in a row
	struct obj *obj;               // the owner; NULL: look it up
};

/* --- who is to be synced --- */

static void due_free(void *value)
{
	free(value);
}

static struct due *due_get(struct syncer *s, const char *key)
{
	struct due *d = map_get(&s->due, key);

	if (d)
		return d;
	d = calloc(1, sizeof *d);
	if (!d || map_put(&s->due, key, d)) {
		free(d);
		return NULL;
	}
	return d;
}

void syncer_look(struct syncer *s, const char *ns, const char *name)
{
	char key[REG_KEY_MAX];
	struct due *d;

	snprintf(key, sizeof key, "%s/%s", ns, name);
	d = due_get(s, key);
	if (d && !d->failures)
		d->at = 0;
}

void syncer_look_in(struct syncer *s, const char *ns)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (store_list(s->srv->store, reg_prefix(s->kind, ns, prefix), NULL, 0, 0, &l))
		return;
	for (size_t i = 0; i < l.count; i++) {
		struct due *d = due_get(s, strchr(obj_key(l.objs[i]), '/') + 1);
		if (d && !d->failures)
			d->at = 0;
	}
	store_list_fini(&l);
}

void syncer_look_all(struct syncer *s)
{
	syncer_look_in(s, NULL);
}

void syncer_owner_changed(void *unit, int type, struct obj *o)
{
	struct syncer *s = unit;
	const char *key = strchr(obj_key(o), '/') + 1;
	struct due *d;

	if (type == EVENT_DELETED) {
		free(map_remove(&s->due, key));
		return;
	}
	d = due_get(s, key);
	if (d) {
		d->at = 0;
		d->failures = 0;
	}
}

/* --- children --- */

static void child_free(struct child *c)
{
	obj_unref(c->obj);
	pod_info_fini(&c->pod);
	free(c);
}

static void family_free(void *value)
{
	struct family *f = value;
	struct child *c;

	while ((c = f->children)) {
		f->children = c->next;
		child_free(c);
	}
	free(f->ns);
	free(f->name);
	free(f);
}

static struct family *family_get(struct syncer *s, const char *uid, const char *ns, const char *name)
{
	struct family *f = map_get(&s->families, uid);

	if (f)
		return f;
	f = calloc(1, sizeof *f);
	if (!f || !(f->ns = strdup(ns)) || !(f->name = strdup(name)) || map_put(&s->families, uid, f)) {
		if (f)
			family_free(f);
		return NULL;
	}
	return f;
}

static void child_leave(struct syncer *s, const char *key)
{
	struct member *m = map_remove(&s->children, key);
	struct family *f = m ? map_get(&s->families, m->uid) : NULL;

	if (f) {
		*(m->child->prev ? &m->child->prev->next : &f->children) = m->child->next;
		if (m->child->next)
			m->child->next->prev = m->child->prev;
		f->count--;
		child_free(m->child);
		syncer_look(s, f->ns, f->name);
		if (!f->count)
			family_free(map_remove(&s->families, m->uid));
	}
	free(m);
}

static bool is_pods(const struct syncer *s)
{
	return !strcmp(s->ops->child_plural, "pods");
}

static int child_join(struct syncer *s, struct obj *o, const json_t *j, const json_t *ref)
{
	struct family *f = family_get(s, jpath_str(ref, "uid", ""), jpath_str(j, "metadata.namespace", ""), jpath_str(ref, "name", ""));
	struct member *m = calloc(1, sizeof *m);
	struct child *c = calloc(1, sizeof *c);

	if (!f || !m || !c || (is_pods(s) && pod_info_init(&c->pod, j)) || map_put(&s->children, obj_key(o), m)) {
		free(m);
		if (c)
			child_free(c);
		return -ENOMEM;
	}
	snprintf(m->uid, sizeof m->uid, "%s", jpath_str(ref, "uid", ""));
	m->child = c;
	c->obj = obj_ref(o);
	c->fresh = true;
	c->next = f->children;
	if (c->next)
		c->next->prev = c;
	f->children = c;
	f->count++;
	syncer_look(s, f->ns, f->name);
	return 0;
}

static void orphan_free(void *value)
{
	obj_unref(value);
}

/* Not parsed before there is an owner who could take it. */
static void orphan_seen(struct syncer *s, struct obj *o)
{
	struct obj_name n = obj_name(o);
	char ns[256];

	if (!s->ops->takes_orphans)
		return;
	if (map_put(&s->orphans, obj_key(o), obj_ref(o)))
		obj_unref(o);
	snprintf(ns, sizeof ns, "%.*s", (int)n.ns_len, n.ns);
	syncer_look_in(s, ns);
}

void syncer_child_changed(void *unit, int type, struct obj *o)
{
	struct syncer *s = unit;
	const char *key = obj_key(o);
	own_json json_t *j = NULL;
	json_t *ref;

	obj_unref(map_remove(&s->orphans, key));
	child_leave(s, key);
	if (type == EVENT_DELETED)
		return;
	// Most are of other owners, or of none: do not parse them.
	if (!strstr(obj_text(o), "\"controller\":true")) {
		orphan_seen(s, o);
		return;
	}
	if (!strstr(obj_text(o), s->ops->kind))
		return;
	j = obj_view(o);
	ref = owner_controller(j);
	if (!ref)
		orphan_seen(s, o);
	else if (!strcmp(jpath_str(ref, "kind", ""), s->ops->kind) && child_join(s, o, j, ref))
		log_error("controllers", "out of memory: %s is not counted", key);
}

static void member_free(void *value)
{
	free(value);
}

void syncer_children_reset(void *unit)
{
	struct syncer *s = unit;

	map_fini(&s->families, family_free);
	map_fini(&s->children, member_free);
	map_fini(&s->orphans, orphan_free);
	syncer_look_all(s);
}

/* --- adopting and letting go --- */

static bool adopt(json_t *obj, void *user)
{
	if (owner_controller(obj) || meta_is_deleting(obj))
		return false;
	owner_add(obj, user);
	return true;
}

static bool let_go(json_t *obj, void *user)
{
	return owner_remove(obj, user);
}

static struct k8s_selector *owner_selector(const json_t *owner)
{
	const json_t *given = jpath_get(owner, "spec.selector");
	own_json json_t *whole = NULL;
	struct k8s_selector *sel = NULL;

	if (!json_object_size(given))
		return NULL;
	if (!json_object_get(given, "matchLabels") && !json_object_get(given, "matchExpressions"))
		whole = json_pack("{s:O}", "matchLabels", given);    // ReplicationController: a plain map
	if (k8s_label_selector_from_json(whole ? whole : given, &sel, NULL))
		return NULL;
	return sel;
}

static bool labels_match(const struct k8s_selector *sel, struct obj *o)
{
	own_json json_t *j = obj_view(o);

	return !meta_is_deleting(j) && k8s_label_selector_match(sel, jpath_get(j, "metadata.labels"));
}

static void adopt_orphans(struct syncer *s, const json_t *owner, const struct k8s_selector *sel)
{
	const char *ns = jpath_str(owner, "metadata.namespace", ""), *key;
	char prefix[REG_KEY_MAX];
	size_t pos = 0, n = strlen(reg_prefix(s->child_kind, ns, prefix));
	struct obj *o;

	while ((o = map_next(&s->orphans, &pos, &key)))
		if (!strncmp(key, prefix, n) && labels_match(sel, o))
			change_object(s->srv, s->child_kind, ns, key + n, "", adopt, (void *)owner, NULL);
}

static void release_others(struct syncer *s, const json_t *owner, struct child *children, const struct k8s_selector *sel)
{
	const char *ns = jpath_str(owner, "metadata.namespace", "");

	for (struct child *c = children; c; c = c->next) {
		if (!c->fresh)
			continue;
		c->fresh = false;
		if (!labels_match(sel, c->obj))
			change_object(s->srv, s->child_kind, ns, obj_name(c->obj).name, "", let_go,
				      (void *)jpath_str(owner, "metadata.uid", ""), NULL);
	}
}

/* True: something was adopted or let go, which will come back as changes. */
static void fit_children(struct syncer *s, const json_t *owner, struct child *children)
{
	struct k8s_selector *sel;

	if (!s->ops->takes_orphans || meta_is_deleting(owner))
		return;
	sel = owner_selector(owner);
	if (!sel)
		return;
	adopt_orphans(s, owner, sel);
	release_others(s, owner, children, sel);
	k8s_selector_free(sel);
}

/* --- work --- */

static uint64_t back_off(struct due *d, uint64_t now)
{
	uint64_t wait = RETRY_MIN_NS << (d->failures < 10 ? d->failures : 10);

	d->failures++;
	return now + (wait > RETRY_MAX_NS ? RETRY_MAX_NS : wait);
}

/* Sync one owner; returns when next (monotonic). */
static uint64_t sync_one(struct syncer *s, const char *key, struct due *d, uint64_t now)
{
	char full[2 * REG_KEY_MAX], prefix[REG_KEY_MAX];
	own_obj struct obj *o = NULL;
	own_json json_t *owner = NULL;
	struct family *f;
	uint64_t at, real = clock_real_ns();

	snprintf(full, sizeof full, "%s%s", reg_prefix(s->kind, NULL, prefix), key);
	o = store_get(s->srv->store, full);
	owner = o ? obj_json(o) : NULL;
	if (!owner)
		return LOOP_NEVER;
	f = map_get(&s->families, jpath_str(owner, "metadata.uid", ""));
	fit_children(s, owner, f ? f->children : NULL);
	at = s->ops->sync(s, owner, f ? f->children : NULL, real);
	if (at == SYNC_RETRY)
		return back_off(d, now);
	d->failures = 0;
	return at == LOOP_NEVER ? at : at <= real ? now : now + (at - real);
}

uint64_t syncer_work(void *unit, uint64_t now)
{
	struct syncer *s = unit;
	struct map over = MAP_INIT;
	uint64_t next = LOOP_NEVER;
	const char *key;
	struct due *d;
	size_t pos = 0;

	while ((d = map_next(&s->due, &pos, &key))) {
		if (d->at <= now)
			d->at = sync_one(s, key, d, now);
		if (d->at == LOOP_NEVER)
			map_put(&over, key, s);
		else if (d->at < next)
			next = d->at;
	}
	pos = 0;
	while (map_next(&over, &pos, &key))
		free(map_remove(&s->due, key));
	map_fini(&over, NULL);
	return next;
}

void syncer_init(struct syncer *s, struct server *srv, const struct sync_ops *ops)
{
	s->srv = srv;
	s->ops = ops;
	s->kind = k8s_kind_find(ops->group, ops->version, ops->plural);
	s->child_kind = ops->child_plural ? k8s_kind_find(ops->child_group, ops->child_version, ops->child_plural) : NULL;
}

int syncer_new(struct server *srv, const struct sync_ops *ops, void **unit, struct err *e)
{
	struct syncer *s = calloc(1, sizeof *s);

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	syncer_init(s, srv, ops);
	*unit = s;
	return 0;
}

void syncer_close(void *unit)
{
	struct syncer *s = unit;

	map_fini(&s->families, family_free);
	map_fini(&s->children, member_free);
	map_fini(&s->orphans, orphan_free);
	map_fini(&s->due, due_free);
	free(s);
}

/* --- what syncs do --- */

void syncer_event(struct syncer *s, const json_t *about, const char *type, const char *reason, const char *fmt, ...)
{
	own_free char *text = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		text = NULL;
	else
		recorder_event(s->srv->recorder, about, s->ops->component, type, reason, "%s", text);
}

int syncer_create_pod(struct syncer *s, json_t *owner, json_t *pod, struct err *e)
{
	const char *ns = jpath_str(owner, "metadata.namespace", "");
	own_obj struct obj *made = NULL;
	struct err why = ERR_INIT;
	int r = create_object_out(s->srv, k8s_kind_find("", "v1", "pods"), ns, pod, &made, &why);

	if (!r)
		syncer_event(s, owner, "Normal", "SuccessfulCreate", "Created pod: %s", obj_name(made).name);
	else if (r != -EEXIST)
		syncer_event(s, owner, "Warning", "FailedCreate", "Error creating: %s", why.text);
	if (r && e)
		err_set(e, -r, "%s", why.text);
	return r;
}

int syncer_delete_pod(struct syncer *s, json_t *owner, const struct pod_info *p, struct err *e)
{
	struct err why = ERR_INIT;
	int r = delete_object(s->srv, k8s_kind_find("", "v1", "pods"), jpath_str(owner, "metadata.namespace", ""), p->name, p->uid,
			      -1, &why);

	if (!r)
		syncer_event(s, owner, "Normal", "SuccessfulDelete", "Deleted pod: %s", p->name);
	else if (r == -ENOENT || r == -ESTALE)
		r = 0;
	else
		syncer_event(s, owner, "Warning", "FailedDelete", "Error deleting: %s", why.text);
	if (r && e)
		err_set(e, -r, "%s", why.text);
	return r;
}

struct new_status {
	const json_t *from;      // what it was made from; NULL: none
	json_t *to;
	bool stale;              // somebody has changed it meanwhile
};

static bool put_status(json_t *obj, void *user)
{
	struct new_status *s = user;
	json_t *now = json_object_get(obj, "status");

	s->stale = json_object_size(now) != json_object_size(s->from) || (now && s->from && !json_equal(now, s->from));
	if (s->stale || json_equal(now, s->to))
		return false;
	json_object_set_new(obj, "status", json_deep_copy(s->to));
	return true;
}

int syncer_set_status(struct syncer *s, json_t *owner, json_t *status)
{
	struct new_status change = { json_object_get(owner, "status"), status, false };
	struct err e = ERR_INIT;
	int r;

	if (json_equal(change.from, status))
		return 0;
	r = change_object(s->srv, s->kind, jpath_str(owner, "metadata.namespace", ""), jpath_str(owner, "metadata.name", ""),
			  "status", put_status, &change, &e);
	if (!r && change.stale)
		return -ESTALE;
	if (!r)
		json_object_set_new(owner, "status", json_deep_copy(status));
	if (r && r != -ENOENT)
		log_warn("controllers", "%s %s/%s: %s", s->ops->plural, jpath_str(owner, "metadata.namespace", ""),
			 jpath_str(owner, "metadata.name", ""), e.text);
	return r == -ENOENT ? 0 : r;
}

/* --- conditions --- */

json_t *status_condition_find(const json_t *status, const char *type)
{
	json_t *c;
	size_t i;

	json_array_foreach(json_object_get(status, "conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), type))
			return c;
	return NULL;
}

bool status_condition(json_t *status, const char *type, const char *value, const char *reason, const char *message, bool update_time)
{
	json_t *c = status_condition_find(status, type);
	char now[40];

	if (c && !strcmp(jpath_str(c, "status", ""), value) && !strcmp(jpath_str(c, "reason", ""), reason) &&
	    !strcmp(jpath_str(c, "message", ""), message))
		return false;
	meta_now(now);
	if (!json_is_array(json_object_get(status, "conditions")))
		json_object_set_new(status, "conditions", json_array());
	if (!c) {
		json_array_append_new(json_object_get(status, "conditions"), json_pack("{s:s}", "type", type));
		c = status_condition_find(status, type);
	}
	if (strcmp(jpath_str(c, "status", ""), value))
		json_object_set_new(c, "lastTransitionTime", json_string(now));
	json_object_set_new(c, "status", json_string(value));
	if (update_time)
		json_object_set_new(c, "lastUpdateTime", json_string(now));
	if (*reason)
		json_object_set_new(c, "reason", json_string(reason));
	if (*message)
		json_object_set_new(c, "message", json_string(message));
	return true;
}

bool status_condition_drop(json_t *status, const char *type)
{
	json_t *list = json_object_get(status, "conditions"), *c;
	size_t i;

	json_array_foreach(list, i, c)
		if (!strcmp(jpath_str(c, "type", ""), type))
			return !json_array_remove(list, i);
	return false;
}
