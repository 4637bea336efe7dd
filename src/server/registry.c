// SPDX-License-Identifier: Apache-2.0
#include "server/registry.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/hooks.h"
#include "k8s/managed_fields.h"
#include "server/admission.h"
#include "server/controllers/propagation.h"
#include "server/csr.h"
#include "server/meta.h"
#include "server/node_auth.h"
#include "server/quota.h"
#include "server/rbac.h"
#include "server/reg_fields.h"
#include "server/status.h"
#include "server/subresource.h"

#define TRIES_MAX 32

const char *reg_prefix(const struct k8s_kind *k, const char *ns, char out[REG_KEY_MAX])
{
	const struct k8s_kind *s = k8s_kind_stored(k);

	snprintf(out, REG_KEY_MAX, "%s%s%s/%s%s", s->plural, *s->group ? "." : "", s->group, ns ? ns : "", ns ? "/" : "");
	return out;
}

const char *reg_key(const struct k8s_kind *k, const char *ns, const char *name, char out[REG_KEY_MAX])
{
	size_t n = strlen(reg_prefix(k, k->namespaced ? ns : "", out));

	snprintf(out + n, REG_KEY_MAX - n, "%s", name);
	return out;
}

static bool is_pod(const struct k8s_kind *k)
{
	return !strcmp(k->plural, "pods") && !*k->group;
}

/* Whose rules hold: of built-in kinds those of the version that is stored; each version of a custom one has a schema of its own. */
static const struct k8s_kind *ruling(const struct k8s_kind *k)
{
	return k->custom ? k : k8s_kind_stored(k);
}

static json_t *validate(const struct k8s_kind *k, const json_t *obj, const json_t *old)
{
	struct k8s_errors *errors = k8s_errors_new();
	json_t *s = NULL;

	const struct k8s_kind *stored = ruling(k);
	own_json json_t *there = stored == k ? json_incref((json_t *)obj) : json_deep_copy(obj);
	own_json json_t *before = stored == k || !old ? json_incref((json_t *)old) : json_deep_copy(old);

	if (!errors || !there || !before == !!old) {
		k8s_errors_free(errors);
		return status_errno(-ENOMEM);
	}
	if (stored != k) {   // rules are of what is stored, whatever version it came in
		k8s_kind_convert(k, stored, there);
		if (before)
			k8s_kind_convert(k, stored, before);
	}
	k8s_validate(stored, there, before, errors);
	if (k8s_errors_count(errors))
		s = k8s_errors_status(errors, k, jpath_str(obj, "metadata.name", ""));
	k8s_errors_free(errors);
	return s;
}

/* Encode next (in w->kind's version) as the next state and fill in the store's order. */
static json_t *encode(struct reg_write *w, json_t *next, bool remove)
{
	const struct k8s_kind *stored = k8s_kind_stored(w->kind);
	int r;

	k8s_kind_convert(w->kind, stored, next);
	if (stored->status_subresource && !stored->custom && !json_object_get(next, "status"))
		json_object_set_new(next, "status", json_object());   // clients read fields of it without looking
	w->sw = (struct store_write){ .expect = w->cur ? w->cur->rv : 0, .remove = remove };
	r = obj_encode(w->key, next, &w->sw.obj);
	if (r)
		return status_errno(r);
	if (is_pod(w->kind) && !w->dry_run)   // what every controller looks at
		w->sw.tree = json_incref(next);
	return NULL;
}

/* Ownership costs time and room: it is kept for clients that name themselves and for objects that have it already. */
static json_t *record_owner(struct reg_write *w, json_t *next, const json_t *cur)
{
	const char *manager = w->manager ? w->manager : w->agent;
	struct err e = ERR_INIT;
	int r;

	if (w->records_owners || (!w->manager && !jpath_get(cur, "metadata.managedFields") && !jpath_get(next, "metadata.managedFields")))
		return NULL;
	r = k8s_managed_fields_update(w->kind, cur, next, manager ? manager : "bulkhead-server", *w->subresource ? w->subresource : NULL, &e);
	return !r ? NULL : r == -EINVAL ? status_bad_request("%s", e.text) : status_errno(r);
}

/* First things first: a note in a quota or budget goes before the change itself. True: there is one. */
static bool start_note(struct reg_write *w, struct quota_note *n)
{
	if (!n->obj)
		return false;
	w->sw = (struct store_write){ .expect = n->expect, .obj = take(n->obj) };
	w->noting = true;
	return true;
}

/* NULL and *noting, or a Status. */
static json_t *ask_quota(struct reg_write *w, const json_t *next, const json_t *cur, bool *noting)
{
	struct quota_note n;
	json_t *s = quota_admit(w->srv, w->kind, next, cur, w->noted, &n);

	if (!s && w->dry_run)
		obj_unref(take(n.obj));
	*noting = !s && start_note(w, &n);
	return s;
}

/* --- create --- */

static json_t *set_key(struct reg_write *w, const char *name)
{
	char key[REG_KEY_MAX];

	free(w->key);
	w->key = strdup(reg_key(w->kind, w->ns, name, key));
	return w->key ? NULL : status_errno(-ENOMEM);
}

/* What depends on who makes the change. */
static json_t *admit_who(struct reg_write *w, json_t *obj, const json_t *old)
{
	json_t *s = node_auth_admit(w->who, w->kind, obj, !old);

	if (!s)
		s = csr_admit(w->srv, w->who, w->kind, w->subresource, obj, old);
	return s ? s : rbac_admit(w->srv->rbac, w->who, w->kind, obj, old);
}

/* Defaults, and what a new object begins with, are those of the version that is stored. */
static void prepare(const struct k8s_kind *k, json_t *obj, bool create)
{
	const struct k8s_kind *stored = ruling(k);

	k8s_kind_convert(k, stored, obj);
	if (create && stored->prepare_create)
		stored->prepare_create(obj);
	if (stored->set_defaults)
		stored->set_defaults(obj);
	k8s_kind_convert(stored, k, obj);
}

static json_t *prepare_create(struct reg_write *w, json_t *obj)
{
	json_t *s = reg_fields_decode(w, obj, NULL);

	if (!s)
		s = meta_prepare_create(w->kind, obj, w->ns, w->name);
	if (!s)
		prepare(w->kind, obj, true);
	if (!s)
		s = admit_create(w->srv, w->kind, obj);
	if (!s)
		s = admit_who(w, obj, NULL);
	if (!s)
		s = validate(w->kind, obj, NULL);
	if (!s)
		s = record_owner(w, obj, NULL);
	if (!s)
		reg_fields_warn(w, obj);
	if (!s)
		s = set_key(w, jpath_str(obj, "metadata.name", ""));
	return s;
}

static json_t *step_create(struct reg_write *w)
{
	own_json json_t *obj = NULL;
	own_obj struct obj *there = NULL;
	json_t *s = w->make(w, NULL, &obj);
	bool noting;

	if (!s)
		s = prepare_create(w, obj);
	if (s)
		return s;
	there = store_get(w->srv->store, w->key);
	if (there)
		return status_exists(w->kind, jpath_str(obj, "metadata.name", ""));
	s = ask_quota(w, obj, NULL, &noting);
	if (s || noting)
		return s;
	w->created = true;
	return encode(w, obj, false);
}

/* --- update --- */

/* The last update of an object that is being deleted removes it when nothing holds it any more. */
static bool now_gone(const struct k8s_kind *k, const json_t *obj)
{
	if (!meta_is_deleting(obj) || meta_has_finalizers(obj))
		return false;
	return !is_pod(k) || jpath_int(obj, "metadata.deletionGracePeriodSeconds", 0) == 0;
}

static json_t *prepare_update(struct reg_write *w, json_t *next, const json_t *cur)
{
	json_t *s = reg_fields_decode(w, next, cur);

	if (s)
		return s;
	prepare(w->kind, next, false);
	s = meta_prepare_update(w->kind, next, cur, w->ns, w->name);
	if (s)
		return s;
	subresource_keep(w->kind, w->subresource, next, cur);
	if (!*w->subresource && w->kind->prepare_update)
		w->kind->prepare_update(next, cur);
	if (!*w->subresource && (s = admit_update(w->srv, w->kind, next, cur)))
		return s;
	meta_touch_generation(w->kind, next, cur);
	s = subresource_check(w->kind, w->subresource, next, cur);
	if (!s)
		s = admit_who(w, next, cur);
	if (!s)
		s = record_owner(w, next, cur);
	if (s)
		return s;
	reg_fields_warn(w, next);
	// Rules on what may change are those of the object itself and its status; other subresources exist to break them.
	return validate(w->kind, next, !*w->subresource || !strcmp(w->subresource, "status") ? cur : NULL);
}

static json_t *current_json(struct reg_write *w)
{
	json_t *cur = obj_json(w->cur);

	k8s_kind_convert(k8s_kind_stored(w->kind), w->kind, cur);
	return cur;
}

static json_t *step_update(struct reg_write *w, bool *nothing)
{
	own_json json_t *cur = w->cur ? current_json(w) : NULL, *next = NULL;
	json_t *s;
	bool gone, noting = false;

	if (!cur && !w->create_if_missing)
		return w->cur ? status_errno(-ENOMEM) : status_not_found(w->kind, w->name);
	s = w->make(w, cur, &next);
	if (s)
		return s;
	if (!cur) {
		s = prepare_create(w, next);
		if (!s)
			s = ask_quota(w, next, NULL, &noting);
		if (s || noting)
			return s;
		w->created = true;
		return encode(w, next, false);
	}
	if (next != cur && (s = prepare_update(w, next, cur)))
		return s;
	gone = now_gone(w->kind, next);
	*nothing = !gone && (next == cur || json_equal(next, cur));
	if (!*nothing && !gone && strcmp(w->subresource, "status")) {
		s = ask_quota(w, next, cur, &noting);
		if (s || noting)
			return s;
	}
	w->deleted = gone;
	return *nothing ? NULL : encode(w, next, gone);
}

/* --- delete --- */

static json_t *check_preconditions(const struct reg_write *w, const json_t *cur)
{
	const char *uid = jpath_str(w->delete_options, "preconditions.uid", ""), *have_uid = jpath_str(cur, "metadata.uid", "");
	const char *rv = jpath_str(w->delete_options, "preconditions.resourceVersion", "");
	const char *have_rv = jpath_str(cur, "metadata.resourceVersion", "");
	struct k8s_kind named = *w->kind;
	char why[320];

	named.plural = named.kind;   // it says "on ConfigMap", unlike other conflicts
	if (*uid && strcmp(uid, have_uid)) {
		snprintf(why, sizeof why, "the UID in the precondition (%.64s) does not match the UID in record (%.64s). The object might "
			 "have been deleted and then recreated", uid, have_uid);
		return status_conflict(&named, w->name, why);
	}
	if (*rv && strcmp(rv, have_rv)) {
		snprintf(why, sizeof why, "the ResourceVersion in the precondition (%.32s) does not match the ResourceVersion in record "
			 "(%.32s). The object might have been modified", rv, have_rv);
		return status_conflict(&named, w->name, why);
	}
	return NULL;
}

/* Seconds that a pod gets to end; other kinds go at once. */
static long long grace_period(const struct reg_write *w, const json_t *cur)
{
	const char *phase = jpath_str(cur, "status.phase", "");
	long long grace;

	if (!is_pod(w->kind))
		return 0;
	grace = jpath_int(w->delete_options, "gracePeriodSeconds", -1);
	if (grace < 0)
		grace = jpath_int(cur, "spec.terminationGracePeriodSeconds", 30);
	if (!*jpath_str(cur, "spec.nodeName", "") || !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed"))
		grace = 0;
	return grace < 0 ? 1 : grace;
}

static void set_deletion(json_t *obj, long long grace)
{
	uint64_t now = clock_real_ns();
	json_t *meta = json_object_get(obj, "metadata");
	char text[CLOCK_TEXT_MAX];
	uint64_t when = now + (uint64_t)grace * NS_PER_S, before;

	// Shortening: the time at which it was first asked for counts no more than now.
	if (clock_parse(jpath_str(meta, "deletionTimestamp", ""), &before) || before > when)
		json_object_set_new(meta, "deletionTimestamp", json_string(clock_text(when, 0, text)));
	json_object_set_new(meta, "deletionGracePeriodSeconds", json_integer(grace));
	if (!strcmp(jpath_str(obj, "kind", ""), "Namespace"))
		jpath_set(obj, "status.phase", json_string("Terminating"));
}

static json_t *step_delete(struct reg_write *w, bool *nothing)
{
	own_json json_t *cur = w->cur ? current_json(w) : NULL;
	long long grace, before;
	struct quota_note n = { 0 };
	json_t *s;

	if (!cur)
		return w->cur ? status_errno(-ENOMEM) : status_not_found(w->kind, w->name);
	s = check_preconditions(w, cur);
	if (!s && !strcmp(w->subresource, "eviction"))
		s = budget_admit(w->srv, w->kind, cur, w->noted, &n);
	if (!s && w->dry_run)
		obj_unref(take(n.obj));
	if (!s && start_note(w, &n))
		return NULL;
	if (!s)
		s = admit_delete(w->kind, w->name);
	if (s)
		return s;
	propagation_apply(cur, w->delete_options);
	grace = grace_period(w, cur);
	before = jpath_int(cur, "metadata.deletionGracePeriodSeconds", 0);
	*nothing = meta_is_deleting(cur) && !now_gone(w->kind, cur) && (meta_has_finalizers(cur) ? grace >= before : grace && grace >= before);
	if (*nothing)
		return NULL;
	if (grace || meta_has_finalizers(cur)) {
		set_deletion(cur, grace);
		return encode(w, cur, false);
	}
	w->deleted = true;
	return encode(w, cur, true);
}

/* --- steps --- */

static enum reg_step finish(struct reg_write *w, json_t *status)
{
	w->status = status;
	return REG_DONE;
}

/* What the store said to the last submission. True: try again. */
static bool submitted_result(struct reg_write *w)
{
	int r = w->sw.result;

	w->submitted = false;
	if (w->noting && !r) {
		if (!w->noted)
			w->noted = json_object();
		json_object_set_new(w->noted, obj_key(w->sw.out), json_true());
		obj_unref(take(w->sw.out));
		w->noting = false;
		return true;
	}
	w->noting = false;
	if (!r) {
		w->out = take(w->sw.out);
		return false;
	}
	if ((r == -ESTALE || r == -ENOENT || r == -EEXIST) && ++w->tries < TRIES_MAX)
		return true;
	w->status = r == -ESTALE ? status_conflict(w->kind, w->name, STATUS_MODIFIED) : status_errno(r);
	return false;
}

enum reg_step reg_step(struct reg_write *w)
{
	bool nothing = false;
	json_t *s;

	if (w->submitted && !submitted_result(w))
		return REG_DONE;
	obj_unref(take(w->cur));
	reg_fields_forget(w);
	w->created = w->deleted = false;
	if (w->action != REG_CREATE) {
		s = set_key(w, w->name);
		if (s)
			return finish(w, s);
		w->cur = store_get(w->srv->store, w->key);
	}
	s = w->action == REG_CREATE ? step_create(w) : w->action == REG_UPDATE ? step_update(w, &nothing) : step_delete(w, &nothing);
	if (s)
		return finish(w, s);
	if (nothing) {
		w->out = obj_ref(w->cur);
		return REG_DONE;
	}
	if (w->dry_run) {
		obj_set_rv(w->sw.obj, w->cur ? w->cur->rv : 0);
		w->out = take(w->sw.obj);
		return REG_DONE;
	}
	w->submitted = true;
	return REG_SUBMIT;
}

void reg_fini(struct reg_write *w)
{
	obj_unref(take(w->cur));
	obj_unref(take(w->out));
	free(take(w->key));
	json_decref(take(w->status));
	json_decref(take(w->unknown));
	json_decref(take(w->noted));
}

static int status_errno_of(const json_t *s, struct err *e)
{
	const char *reason = jpath_str(s, "reason", "");
	int code = !strcmp(reason, "NotFound") ? ENOENT : !strcmp(reason, "AlreadyExists") ? EEXIST :
		   !strcmp(reason, "Conflict") ? ESTALE : status_code(s) == 403 ? EACCES : status_code(s) < 500 ? EINVAL : EIO;

	return err_set(e, code, "%s", jpath_str(s, "message", ""));
}

int reg_outcome(const struct reg_write *w, struct err *e)
{
	return w->status ? status_errno_of(w->status, e) : 0;
}

int reg_run(struct reg_write *w, struct obj **out, struct err *e)
{
	int r;

	while (reg_step(w) == REG_SUBMIT)
		store_commit(w->srv->store, &w->sw);
	r = reg_outcome(w, e);
	if (!r && out)
		*out = take(w->out);
	reg_fini(w);
	return r;
}

static void one_done(struct store_write *sw)
{
	sem_post(sw->user);
}

void reg_run_many(struct reg_write *w, size_t n)
{
	bool over[REG_MANY] = { false };
	size_t under_way;
	sem_t done;

	sem_init(&done, 0, 0);
	do {
		under_way = 0;
		for (size_t i = 0; i < n; i++) {
			over[i] = over[i] || reg_step(&w[i]) != REG_SUBMIT;
			if (over[i])
				continue;
			w[i].sw.done = one_done;
			w[i].sw.user = &done;
			store_submit(w[i].srv->store, &w[i].sw);
			under_way++;
		}
		for (size_t i = 0; i < under_way; i++)
			while (sem_wait(&done))
				;
	} while (under_way);
	sem_destroy(&done);
}
