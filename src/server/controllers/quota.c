// SPDX-License-Identifier: Apache-2.0
// status.used of ResourceQuotas: admission adds to it as objects come (quota.c); this counts anew when they go, change
// or are over, when a quota is made or changed, and a while after admission noted something: what it admitted may have failed.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/quota_usage.h"
#include "server/registry.h"
#include "server/view.h"

#define RETRY_NS NS_PER_S
#define SETTLED_NS (10 * NS_PER_S)   // no create takes longer from its note to its object

struct quotas {
	struct server *srv;
	struct map all;              // "ns/name" -> struct quota
	bool due;
	uint64_t again_ns;           // the first of its quotas'; LOOP_NEVER: none
};

struct quota {
	bool due;
	uint64_t again_ns;           // 0: no
};

static const char *key_of(struct obj *o)
{
	return strchr(obj_key(o), '/') + 1;
}

static void quota_changed(void *unit, int type, struct obj *o)
{
	struct quotas *u = unit;
	own_json json_t *j = NULL;
	struct quota *q = map_get(&u->all, key_of(o));

	if (type == EVENT_DELETED) {
		free(map_remove(&u->all, key_of(o)));
		return;
	}
	j = obj_json(o);
	if (q && json_equal(jpath_get(j, "spec.hard"), jpath_get(j, "status.hard"))) {   // a note of admission, or our own
		if (!q->again_ns)
			q->again_ns = clock_mono_ns() + SETTLED_NS;
		if (q->again_ns < u->again_ns)
			u->again_ns = q->again_ns;
		return;
	}
	if (!q) {
		q = calloc(1, sizeof *q);
		if (!q || map_put(&u->all, key_of(o), q)) {
			free(q);
			return;
		}
	}
	q->due = u->due = true;
}

static void quotas_reset(void *unit)
{
	struct quotas *u = unit;

	map_fini(&u->all, free);
}

static void look_in(struct quotas *u, struct obj *o)
{
	struct obj_name n = obj_name(o);
	struct quota *q;
	const char *key;
	size_t pos = 0;

	while ((q = map_next(&u->all, &pos, &key)))
		if (!strncmp(key, n.ns, n.ns_len) && key[n.ns_len] == '/')
			q->due = u->due = true;
}

static void gone_changed(void *unit, int type, struct obj *o)
{
	if (type == EVENT_DELETED)
		look_in(unit, o);
}

/* What can take less than before without going away. */
static void any_changed(void *unit, int type, struct obj *o)
{
	if (type != EVENT_ADDED)
		look_in(unit, o);
}

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct quotas *u = unit;
	own_json json_t *pod = NULL;
	const char *phase;

	if (!u->all.count || type == EVENT_ADDED)
		return;
	pod = type == EVENT_DELETED ? NULL : obj_view(o);
	phase = jpath_str(pod, "status.phase", "");
	if (!pod || !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed"))
		look_in(u, o);
}

/* --- counting --- */

static void count_kind(struct quotas *u, const struct k8s_kind *k, const char *ns, const json_t *quota, json_t *used)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (store_list(u->srv->store, reg_prefix(k, ns, prefix), NULL, 0, 0, &l))
		return;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *obj = obj_json(l.objs[i]), *usage = NULL;
		const char *name;
		json_t *v;
		if (!quota_includes(quota, k, obj))
			continue;
		usage = quota_usage(k, obj);
		json_object_foreach(usage, name, v)
			if (json_object_get(used, name))
				json_object_set_new(used, name, json_integer(json_integer_value(json_object_get(used, name)) + json_integer_value(v)));
	}
	store_list_fini(&l);
}

static bool counts_any(const struct k8s_kind *k, const json_t *hard)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)hard, name, v)
		if (quota_counts(k, name))
			return true;
	return false;
}

/* Resource -> text. */
static json_t *count_used(struct quotas *u, const json_t *quota)
{
	const json_t *hard = jpath_get(quota, "spec.hard");
	json_t *used = json_object(), *v;
	const char *name;
	size_t n;
	own_free const struct k8s_kind **kinds = k8s_kinds_now(&n);

	json_object_foreach((json_t *)hard, name, v)
		json_object_set_new(used, name, json_integer(0));
	for (size_t i = 0; i < n; i++)
		if (kinds[i]->namespaced && k8s_kind_stored(kinds[i]) == kinds[i] && counts_any(kinds[i], hard))
			count_kind(u, kinds[i], jpath_str(quota, "metadata.namespace", ""), quota, used);
	json_object_foreach((json_t *)hard, name, v)
		json_object_set_new(used, name, quota_text(name, json_integer_value(json_object_get(used, name))));
	return used;
}

static bool same_amounts(const json_t *a, const json_t *b)
{
	const char *name;
	json_t *v;

	if (json_object_size(a) != json_object_size(b))
		return false;
	json_object_foreach((json_t *)a, name, v)
		if (!json_object_get(b, name) || k8s_quantity_milli(v, 0) != k8s_quantity_milli(json_object_get(b, name), 0))
			return false;
	return true;
}

/* Counted between reading the quota and writing it, so that a note of admission in the meantime makes it count again. */
static bool put_used(json_t *quota, void *user)
{
	own_json json_t *used = count_used(user, quota);
	const json_t *hard = jpath_get(quota, "spec.hard");

	if (same_amounts(used, jpath_get(quota, "status.used")) && json_equal(hard, jpath_get(quota, "status.hard")))
		return false;
	jpath_set(quota, "status.hard", hard ? json_deep_copy(hard) : json_object());
	jpath_set(quota, "status.used", json_incref(used));
	return true;
}

static uint64_t work(void *unit, uint64_t now)
{
	struct quotas *u = unit;
	struct quota *q;
	const char *key;
	size_t pos = 0;
	uint64_t next = LOOP_NEVER;

	if (!u->due && now < u->again_ns)
		return u->again_ns;
	u->due = false;
	u->again_ns = LOOP_NEVER;
	while ((q = map_next(&u->all, &pos, &key))) {
		own_free char *ns = strndup(key, strcspn(key, "/"));
		int r;
		if (q->again_ns && q->again_ns <= now) {
			q->again_ns = 0;
			q->due = true;
		}
		if (q->again_ns && q->again_ns < u->again_ns)
			u->again_ns = q->again_ns;
		if (!q->due || !ns)
			continue;
		q->due = false;
		r = change_object(u->srv, k8s_kind_find("", "v1", "resourcequotas"), ns, strchr(key, '/') + 1, "status", put_used, u, NULL);
		if (r && r != -ENOENT) {
			q->due = u->due = true;
			next = now + RETRY_NS;
		}
	}
	return next < u->again_ns ? next : u->again_ns;
}

static int quotas_open(struct server *srv, void **unit, struct err *e)
{
	struct quotas *u = calloc(1, sizeof *u);

	if (!u)
		return err_set(e, ENOMEM, "out of memory");
	u->srv = srv;
	u->again_ns = LOOP_NEVER;
	*unit = u;
	return 0;
}

static void quotas_close(void *unit)
{
	struct quotas *u = unit;

	map_fini(&u->all, free);
	free(u);
}

static const struct unit_source sources[] = {
	{ "", "v1", "resourcequotas", quota_changed, quotas_reset },
	{ "", "v1", "pods", pod_changed, NULL },
	{ "", "v1", "services", any_changed, NULL },
	{ "", "v1", "persistentvolumeclaims", any_changed, NULL },
	{ "", "v1", "configmaps", gone_changed, NULL },
	{ "", "v1", "secrets", gone_changed, NULL },
	{ "", "v1", "replicationcontrollers", gone_changed, NULL },
	{ "", "v1", "serviceaccounts", gone_changed, NULL },
	{ "apps", "v1", "deployments", gone_changed, NULL },
	{ "apps", "v1", "replicasets", gone_changed, NULL },
	{ "apps", "v1", "statefulsets", gone_changed, NULL },
	{ "apps", "v1", "daemonsets", gone_changed, NULL },
	{ "batch", "v1", "jobs", gone_changed, NULL },
	{ "batch", "v1", "cronjobs", gone_changed, NULL },
	{ "networking.k8s.io", "v1", "ingresses", gone_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops quota_unit = {
	.name = "quotas", .sources = sources, .open = quotas_open, .work = work, .close = quotas_close,
};
