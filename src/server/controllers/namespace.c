// SPDX-License-Identifier: Apache-2.0
// A namespace that is being deleted: everything in it is deleted, and when nothing is left, its finalizer goes and with
// it the namespace.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/binding.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/registry.h"

/* While something in it takes its time to end, it is looked at again: after a quarter of the time that it has waited already. */
#define RETRY_MIN_NS NS_PER_S
#define RETRY_MAX_NS (30 * NS_PER_S)

struct ending {
	uint64_t since, next;      // monotonic
};

struct namespaces {
	struct server *srv;
	struct map ending;         // name -> struct ending
};

/* What is left in a namespace. */
struct left {
	size_t count;
	json_t *kinds, *finalizers;   // "pods." -> how many, "example.com/f" -> in how many
};

static int begin_ending(struct namespaces *n, const char *name)
{
	struct ending *e = calloc(1, sizeof *e);

	if (e && !map_put(&n->ending, name, e))
		return 0;
	free(e);
	return -ENOMEM;
}

static void namespace_changed(void *unit, int type, struct obj *o)
{
	struct namespaces *n = unit;
	own_json json_t *j = obj_json(o);
	const char *name = jpath_str(j, "metadata.name", "");

	if (type == EVENT_DELETED || !meta_is_deleting(j))
		free(map_remove(&n->ending, name));
	else if (!map_get(&n->ending, name) && begin_ending(n, name))
		log_error("namespaces", "out of memory: namespace=%s is not ended", name);
}

/* Pods and other things that take time end on their own; we only have to notice. */
static void pod_changed(void *unit, int type, struct obj *o)
{
	struct namespaces *n = unit;
	struct obj_name name = obj_name(o);
	char ns[256];
	struct ending *e;

	snprintf(ns, sizeof ns, "%.*s", (int)name.ns_len, name.ns);
	e = type == EVENT_DELETED ? map_get(&n->ending, ns) : NULL;
	if (e)
		e->next = 0;
}

static void count(json_t *counts, const char *name)
{
	json_object_set_new(counts, name, json_integer(json_integer_value(json_object_get(counts, name)) + 1));
}

static void count_left(struct left *left, const struct k8s_kind *k, struct obj *o)
{
	own_json json_t *j = obj_json(o);
	char name[512];
	json_t *f;
	size_t i;

	snprintf(name, sizeof name, "%s.%s", k->plural, k->group);
	left->count++;
	count(left->kinds, name);
	json_array_foreach(jpath_get(j, "metadata.finalizers"), i, f)
		count(left->finalizers, json_is_string(f) ? json_string_value(f) : "");
}

/* Delete what there is of one kind, and count what remains. */
static void delete_kind(struct namespaces *n, const struct k8s_kind *k, const char *ns, struct left *left)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (store_list(n->srv->store, reg_prefix(k, ns, prefix), NULL, 0, 0, &l)) {
		left->count++;
		return;
	}
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *j = obj_json(l.objs[i]);
		const char *name = obj_name(l.objs[i]).name;
		struct err e = ERR_INIT;
		int r = meta_is_deleting(j) ? 0 : delete_object(n->srv, k, ns, name, NULL, -1, &e);
		own_obj struct obj *still = store_get(n->srv->store, obj_key(l.objs[i]));
		if (r && r != -ENOENT)
			log_warn("namespaces", "%s: %s", obj_key(l.objs[i]), e.text);
		if (still)
			count_left(left, k, still);
	}
	store_list_fini(&l);
}

/* --- saying what is left --- */

static json_t *sentence(const char *begin, const json_t *counts, const char *format)
{
	own_buf struct buf text = BUF_INIT;
	own_json json_t *sorted = NULL;
	const char *name;
	json_t *v;
	own_free char *in_order = json_dumps(counts, JSON_SORT_KEYS);

	sorted = in_order ? json_loads(in_order, 0, NULL) : NULL;   // jansson keeps the order in which it reads
	buf_puts(&text, begin);
	json_object_foreach(sorted, name, v) {
		buf_puts(&text, text.len > strlen(begin) ? ", " : "");
		buf_printf(&text, format, name, json_integer_value(v));
	}
	return json_string(text.data ? text.data : begin);
}

static bool set_conditions(json_t *obj, void *user)
{
	const struct left *left = user;
	own_json json_t *kinds = sentence("Some resources are remaining: ", left->kinds, "%s has %lld resource instances");
	own_json json_t *held = sentence("Some content in the namespace has finalizers remaining: ", left->finalizers,
					 "%s in %lld resource instances");
	bool content = left->count, finalizers = json_object_size(left->finalizers), changed = false;
	json_t *c;
	size_t i;

	changed |= condition_set(obj, "NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
				 "All resources successfully discovered");
	changed |= condition_set(obj, "NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
				 "All legacy kube types successfully parsed");
	changed |= condition_set(obj, "NamespaceDeletionContentFailure", "False", "ContentDeleted",
				 "All content successfully deleted, may be waiting on finalization");
	changed |= condition_set(obj, "NamespaceContentRemaining", content ? "True" : "False", content ? "SomeResourcesRemain" : "ContentRemoved",
				 content ? json_string_value(kinds) : "All content successfully removed");
	changed |= condition_set(obj, "NamespaceFinalizersRemaining", finalizers ? "True" : "False",
				 finalizers ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
				 finalizers ? json_string_value(held) : "All content-preserving finalizers finished");
	json_array_foreach(jpath_get(obj, "status.conditions"), i, c)
		json_object_del(c, "lastProbeTime");   // which those of pods have
	return changed;
}

static void say_left(struct namespaces *n, const char *ns, struct left *left)
{
	struct err e = ERR_INIT;
	int r = change_object(n->srv, k8s_kind_find("", "v1", "namespaces"), "", ns, "status", set_conditions, left, &e);

	if (r && r != -ENOENT)
		log_warn("namespaces", "namespace=%s: %s", ns, e.text);
}

/* --- the end --- */

static bool drop_finalizer(json_t *obj, void *user)
{
	json_t *list = jpath_get(obj, "spec.finalizers"), *f;
	size_t i;

	(void)user;
	json_array_foreach(list, i, f)
		if (json_is_string(f) && !strcmp(json_string_value(f), "kubernetes"))
			return !json_array_remove(list, i);
	return false;
}

static bool finish(struct namespaces *n, const char *ns)
{
	struct err e = ERR_INIT;
	int r = change_object(n->srv, k8s_kind_find("", "v1", "namespaces"), "", ns, "finalize", drop_finalizer, NULL, &e);

	if (r && r != -ENOENT)
		log_warn("namespaces", "namespace=%s: %s", ns, e.text);
	return !r || r == -ENOENT;
}

/* Versions of a custom kind stand one behind the other. */
static bool same_objects(const struct k8s_kind *a, const struct k8s_kind *b)
{
	return !strcmp(a->group, b->group) && !strcmp(a->plural, b->plural);
}

/* True: nothing of it is left. */
static bool empty_namespace(struct namespaces *n, const char *ns)
{
	own_json json_t *kinds = json_object(), *finalizers = json_object();
	struct left left = { .kinds = kinds, .finalizers = finalizers };
	size_t count;
	own_free const struct k8s_kind **rows = k8s_kinds_now(&count);

	for (size_t i = 0; rows && i < count; i++)
		if (rows[i]->namespaced && k8s_kind_has_verb(rows[i], "delete") &&
		    (rows[i]->custom ? !i || !same_objects(rows[i - 1], rows[i]) : k8s_kind_stored(rows[i]) == rows[i]))
			delete_kind(n, rows[i], ns, &left);
	if (rows && !left.count)
		return finish(n, ns);
	say_left(n, ns, &left);
	return false;
}

static uint64_t later(struct ending *e, uint64_t now)
{
	uint64_t wait;

	if (!e->since)
		e->since = now;
	wait = (now - e->since) / 4;
	return now + (wait < RETRY_MIN_NS ? RETRY_MIN_NS : wait > RETRY_MAX_NS ? RETRY_MAX_NS : wait);
}

static uint64_t work(void *unit, uint64_t now)
{
	struct namespaces *n = unit;
	uint64_t next = LOOP_NEVER;
	struct ending *e;
	const char *name;
	size_t pos = 0;

	while ((e = map_next(&n->ending, &pos, &name))) {
		if (e->next <= now)
			e->next = empty_namespace(n, name) ? LOOP_NEVER : later(e, now);
		if (e->next < next)
			next = e->next;
	}
	return next;
}

static int namespaces_open(struct server *srv, void **unit, struct err *e)
{
	struct namespaces *n = calloc(1, sizeof *n);

	if (!n)
		return err_set(e, ENOMEM, "out of memory");
	n->srv = srv;
	*unit = n;
	return 0;
}

static void namespaces_close(void *unit)
{
	struct namespaces *n = unit;

	map_fini(&n->ending, free);
	free(n);
}

static const struct unit_source sources[] = {
	{ "", "v1", "namespaces", namespace_changed, NULL },
	{ "", "v1", "pods", pod_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops namespace_unit = {
	.name = "namespace deletion", .sources = sources, .open = namespaces_open, .work = work, .close = namespaces_close,
};
