// SPDX-License-Identifier: Apache-2.0
#include "server/quota.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "server/quota_usage.h"
#include "server/registry.h"
#include "server/status.h"

/* What the change adds: only what grows counts. */
static json_t *growth(const struct k8s_kind *k, const json_t *quota, const json_t *obj, const json_t *old)
{
	json_t *usage = quota_usage(k, obj), *v;
	own_json json_t *before = old && quota_includes(quota, k, old) ? quota_usage(k, old) : NULL;
	const char *name;
	void *tmp;

	json_object_foreach_safe(usage, tmp, name, v) {
		long long more = json_integer_value(v) - json_integer_value(json_object_get(before, name));
		if (more > 0 && json_object_get(jpath_get(quota, "spec.hard"), name))
			json_object_set_new(usage, name, json_integer(more));
		else
			json_object_del(usage, name);
	}
	return usage;
}

static void put(struct buf *b, const char *name, const json_t *text)
{
	buf_printf(b, "%s%s=%s", b->len ? "," : "", name, json_string_value(text));
}

/* Would it be too much? "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2" (owned), or NULL. */
static char *excess(const json_t *quota, const json_t *more)
{
	own_buf struct buf requested = BUF_INIT, used = BUF_INIT, limited = BUF_INIT;
	const char *name;
	char *text = NULL;
	json_t *v;

	json_object_foreach((json_t *)more, name, v) {
		const json_t *hard = json_object_get(jpath_get(quota, "spec.hard"), name);
		long long now = k8s_quantity_milli(json_object_get(jpath_get(quota, "status.used"), name), 0), after;
		own_json json_t *asked = quota_text(name, json_integer_value(v)), *there = quota_text(name, now);
		if (!__builtin_add_overflow(now, (long long)json_integer_value(v), &after) && after <= k8s_quantity_milli(hard, 0))
			continue;
		put(&requested, name, asked);
		put(&used, name, there);
		put(&limited, name, hard);
	}
	if (requested.len && asprintf(&text, "exceeded quota: %s, requested: %s, used: %s, limited: %s", jpath_str(quota, "metadata.name", ""),
				      requested.data, used.data, limited.data) < 0)
		return NULL;
	return text;
}

static json_t *encode_note(const struct obj *now, const json_t *next, struct quota_note *n)
{
	int r = obj_encode(obj_key(now), next, &n->obj);

	n->expect = now->rv;
	return r ? status_errno(r) : NULL;
}

static json_t *note_use(const struct obj *o, json_t *quota, const json_t *more, struct quota_note *n)
{
	const char *name;
	json_t *v;

	if (!json_is_object(jpath_get(quota, "status.used")))
		jpath_set(quota, "status.used", json_object());
	if (!json_is_object(jpath_get(quota, "status.hard")))
		jpath_set(quota, "status.hard", json_deep_copy(jpath_get(quota, "spec.hard")));
	json_object_foreach((json_t *)more, name, v) {
		json_t *used = jpath_get(quota, "status.used");
		json_object_set_new(used, name, quota_text(name, k8s_quantity_milli(json_object_get(used, name), 0) + json_integer_value(v)));
	}
	return encode_note(o, quota, n);
}

static json_t *admit_one(const struct k8s_kind *k, const json_t *obj, const json_t *old, const struct obj *o, const json_t *noted,
			 struct quota_note *n)
{
	own_json json_t *quota = obj_json(o), *more = NULL;
	own_free char *why = NULL, *text = NULL;
	const char *name = jpath_str(obj, "metadata.name", "");

	if (!quota_includes(quota, k, obj))
		return NULL;
	why = old ? NULL : quota_unstated(quota, k, obj);
	if (why) {
		if (asprintf(&text, "failed quota: %s: must specify %s", jpath_str(quota, "metadata.name", ""), why) < 0)
			text = NULL;
		return status_forbidden(k, name, text ? text : "");
	}
	more = growth(k, quota, obj, old);
	if (!json_object_size(more) || json_object_get(noted, obj_key(o)))
		return NULL;
	why = excess(quota, more);
	if (why)
		return status_forbidden(k, name, why);
	return n->obj ? NULL : note_use(o, quota, more, n);
}

json_t *quota_admit(struct server *srv, const struct k8s_kind *k, const json_t *obj, const json_t *old, const json_t *noted,
		    struct quota_note *n)
{
	const struct k8s_kind *quotas = k8s_kind_find("", "v1", "resourcequotas");
	const char *ns = jpath_str(obj, "metadata.namespace", "");
	char prefix[REG_KEY_MAX];
	struct store_list l;
	json_t *s = NULL;
	int r;

	*n = (struct quota_note){ 0 };
	if (!k->namespaced)
		return NULL;
	r = store_list(srv->store, reg_prefix(quotas, ns, prefix), NULL, 0, 0, &l);
	if (r)
		return status_errno(r);
	for (size_t i = 0; i < l.count && !s; i++)
		s = admit_one(k, obj, old, l.objs[i], noted, n);
	store_list_fini(&l);
	if (s) {
		obj_unref(n->obj);
		n->obj = NULL;
	}
	return s;
}
