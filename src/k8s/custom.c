// SPDX-License-Identifier: Apache-2.0
// The registry of custom rows; see custom.h.
#include "custom.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "kind.h"

/* One row. The strings of kind point into definition and version, which live as long. */
struct k8s_custom {
	struct k8s_kind kind;
	json_t *definition;          // deep copy; owned
	const json_t *version;       // borrowed from definition
	const char **lists[3];       // short names, categories, subresources; NULL-terminated, owned
	uint64_t retired_ns;         // 0: in use
	atomic_uint holders;
	struct k8s_custom *next;
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;   // guards rows and retired_ns
static struct k8s_custom *rows;
static atomic_ulong generation;

static void custom_free(struct k8s_custom *c)
{
	for (int i = 0; i < 3; i++)
		free(c->lists[i]);
	json_decref(c->definition);
	free(c);
}

unsigned long k8s_kinds_generation(void)
{
	return atomic_load(&generation);
}

const json_t *k8s_custom_version(const struct k8s_kind *k)
{
	return k->custom->version;
}

const char *k8s_custom_definition(const struct k8s_kind *k)
{
	return jpath_str(k->custom->definition, "metadata.name", "");
}

bool k8s_custom_is_ending(const struct k8s_kind *k)
{
	return jpath_get(k->custom->definition, "metadata.deletionTimestamp") != NULL;
}

/* NULL-terminated array of the strings of a JSON list, with room for two more. */
static const char **string_list(const json_t *list)
{
	const char **out = calloc(json_array_size(list) + 3, sizeof(*out));
	size_t i, n = 0;
	json_t *v;
	if (out)
		json_array_foreach(list, i, v)
			if (json_is_string(v))
				out[n++] = json_string_value(v);
	return out;
}

static void prepare_create(json_t *obj)
{
	k8s_drop_status(obj);
}

static struct k8s_custom *custom_new(const json_t *crd, size_t index)
{
	struct k8s_custom *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->definition = json_deep_copy(crd);
	c->version = json_array_get(jpath_get(c->definition, "spec.versions"), index);
	const json_t *names = jpath_get(c->definition, "spec.names");
	c->lists[0] = string_list(json_object_get(names, "shortNames"));
	c->lists[1] = string_list(json_object_get(names, "categories"));
	c->lists[2] = string_list(NULL);
	if (!c->definition || !c->lists[0] || !c->lists[1] || !c->lists[2]) {
		custom_free(c);
		return NULL;
	}
	bool status = jpath_get(c->version, "subresources.status") != NULL;
	size_t n = 0;
	if (jpath_get(c->version, "subresources.scale"))
		c->lists[2][n++] = "scale";
	if (status)
		c->lists[2][n++] = "status";
	c->kind = (struct k8s_kind){
		.group = jpath_str(c->definition, "spec.group", ""), .version = jpath_str(c->version, "name", ""),
		.kind = jpath_str(names, "kind", ""), .list_kind = jpath_str(names, "listKind", ""),
		.plural = jpath_str(names, "plural", ""), .singular = jpath_str(names, "singular", ""),
		.short_names = c->lists[0][0] ? c->lists[0] : NULL, .categories = c->lists[1][0] ? c->lists[1] : NULL,
		.subresources = n ? c->lists[2] : NULL, .namespaced = !strcmp(jpath_str(c->definition, "spec.scope", ""), "Namespaced"),
		.storage = jpath_bool(c->version, "storage", false), .status_subresource = status, .has_generation = true,
		.prepare_create = status ? prepare_create : NULL, .custom = c,
	};
	return c;
}

static void retire(const char *crd_name)
{
	for (struct k8s_custom *c = rows; c; c = c->next)
		if (!c->retired_ns && !strcmp(jpath_str(c->definition, "metadata.name", ""), crd_name))
			c->retired_ns = clock_mono_ns();
}

/* Are the rows in use of just this definition? Its status changes without them. */
static bool is_registered(const json_t *crd)
{
	static const char *const parts[] = { "metadata.name", "metadata.deletionTimestamp", "spec" };
	bool same = false;

	pthread_rwlock_rdlock(&lock);
	for (struct k8s_custom *c = rows; c && !same; c = c->next) {
		same = !c->retired_ns;
		for (int i = 0; same && i < 3; i++) {
			const json_t *old = jpath_get(c->definition, parts[i]), *new = jpath_get(crd, parts[i]);
			same = old == new || json_equal(old, new);
		}
	}
	pthread_rwlock_unlock(&lock);
	return same;
}

int k8s_custom_register(const json_t *crd, struct err *e)
{
	const char *name = jpath_str(crd, "metadata.name", NULL);
	const json_t *versions = jpath_get(crd, "spec.versions");
	struct k8s_custom *made = NULL, *c;
	size_t i;
	json_t *version;
	if (!name || !json_array_size(versions))
		return err_set(e, EINVAL, "a CustomResourceDefinition needs a name and versions");
	if (is_registered(crd))
		return 0;
	json_array_foreach(versions, i, version) {
		/* The stored version is kept even when it is not served: others are converted to it. */
		if (!jpath_bool(version, "served", false) && !jpath_bool(version, "storage", false))
			continue;
		c = custom_new(crd, i);
		if (!c) {
			for (; made; made = c) {
				c = made->next;
				custom_free(made);
			}
			return err_set(e, ENOMEM, "out of memory");
		}
		c->next = made;
		made = c;
	}
	pthread_rwlock_wrlock(&lock);
	retire(name);
	while (made) {
		c = made->next;
		made->next = rows;
		rows = made;
		made = c;
	}
	pthread_rwlock_unlock(&lock);
	atomic_fetch_add(&generation, 1);
	return 0;
}

void k8s_custom_unregister(const char *crd_name)
{
	pthread_rwlock_wrlock(&lock);
	retire(crd_name);
	pthread_rwlock_unlock(&lock);
	atomic_fetch_add(&generation, 1);
}

void k8s_custom_collect(unsigned age_s)
{
	uint64_t now = clock_mono_ns();
	pthread_rwlock_wrlock(&lock);
	for (struct k8s_custom **at = &rows; *at;) {
		struct k8s_custom *c = *at;
		if (c->retired_ns && now - c->retired_ns >= age_s * NS_PER_S && !atomic_load(&c->holders)) {
			*at = c->next;
			custom_free(c);
		} else {
			at = &c->next;
		}
	}
	pthread_rwlock_unlock(&lock);
}

/* A kind's row is const to all but its holders' count. */
static atomic_uint *holders_of(const struct k8s_kind *k)
{
	return &((struct k8s_custom *)k->custom)->holders;
}

const struct k8s_kind *k8s_custom_hold(const struct k8s_kind *k)
{
	if (k->custom)
		atomic_fetch_add(holders_of(k), 1);
	return k;
}

void k8s_custom_release(const struct k8s_kind *k)
{
	if (k->custom)
		atomic_fetch_sub(holders_of(k), 1);
}

static bool served(const struct k8s_custom *c)
{
	return !c->retired_ns && jpath_bool(c->version, "served", false);
}

void k8s_custom_each(void (*fn)(void *user, const struct k8s_kind *k), void *user)
{
	pthread_rwlock_rdlock(&lock);
	for (struct k8s_custom *c = rows; c; c = c->next)
		if (served(c))
			fn(user, &c->kind);
	pthread_rwlock_unlock(&lock);
}

const struct k8s_kind *k8s_custom_find(const char *group, const char *version, const char *plural)
{
	const struct k8s_kind *found = NULL;
	pthread_rwlock_rdlock(&lock);
	for (struct k8s_custom *c = rows; c && !found; c = c->next)
		if (served(c) && !strcmp(c->kind.group, group) && !strcmp(c->kind.version, version) && !strcmp(c->kind.plural, plural))
			found = &c->kind;
	pthread_rwlock_unlock(&lock);
	return found;
}

const struct k8s_kind *k8s_custom_by_name(const char *group, size_t group_len, const char *version, const char *kind)
{
	const struct k8s_kind *found = NULL;
	pthread_rwlock_rdlock(&lock);
	for (struct k8s_custom *c = rows; c && !found; c = c->next)
		if (served(c) && strlen(c->kind.group) == group_len && !memcmp(c->kind.group, group, group_len) &&
		    !strcmp(c->kind.version, version) && !strcmp(c->kind.kind, kind))
			found = &c->kind;
	pthread_rwlock_unlock(&lock);
	return found;
}

const struct k8s_kind *k8s_custom_stored(const struct k8s_kind *k)
{
	const struct k8s_kind *found = k;
	pthread_rwlock_rdlock(&lock);
	for (struct k8s_custom *c = rows; c; c = c->next)
		if (!c->retired_ns && c->kind.storage && !strcmp(c->kind.group, k->group) && !strcmp(c->kind.plural, k->plural))
			found = &c->kind;
	pthread_rwlock_unlock(&lock);
	return found;
}
