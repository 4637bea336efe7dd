// SPDX-License-Identifier: Apache-2.0
// Looking things up in the table of kinds; see kind.h.
#include "kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "custom.h"
#include "kinds.h"

const struct k8s_kind *k8s_kinds(size_t *count)
{
	*count = k8s_kind_row_count;
	return k8s_kind_rows;
}

/* "v2" before "v1" before "v2beta1" before "v1alpha3" before what is no such name. */
static long version_rank(const char *version)
{
	int major = 0, minor = 0;
	char stage[8] = "", tail;
	int n = sscanf(version, "v%9d%7[a-z]%9d%c", &major, stage, &minor, &tail);
	if (n == 1 && !strpbrk(version + 1, "abcdefghijklmnopqrstuvwxyz"))
		return 2000000000L + major;
	if (n == 3 && (!strcmp(stage, "beta") || !strcmp(stage, "alpha")))
		return (*stage == 'b' ? 1000000000L : 1000000L) + major * 1000L + minor;
	return 0;
}

static int compare_custom(const void *a, const void *b)
{
	const struct k8s_kind *x = *(const struct k8s_kind *const *)a, *y = *(const struct k8s_kind *const *)b;
	int c = strcmp(x->group, y->group);
	if (!c && strcmp(x->version, y->version))
		c = version_rank(x->version) != version_rank(y->version) ? (version_rank(x->version) > version_rank(y->version) ? -1 : 1) :
			strcmp(x->version, y->version);
	return c ? c : strcmp(x->plural, y->plural);
}

struct growing { const struct k8s_kind **rows; size_t count, room; };

static void add_custom(void *user, const struct k8s_kind *k)
{
	struct growing *g = user;
	if (g->rows && g->count == g->room) {
		const struct k8s_kind **grown = realloc(g->rows, (g->room *= 2) * sizeof(*grown));
		if (!grown)
			free(g->rows);
		g->rows = grown;
	}
	if (g->rows)
		g->rows[g->count++] = k;
}

const struct k8s_kind **k8s_kinds_now(size_t *count)
{
	struct growing g = {.room = k8s_kind_row_count + 16};
	g.rows = calloc(g.room, sizeof(*g.rows));
	for (; g.rows && g.count < k8s_kind_row_count; g.count++)
		g.rows[g.count] = &k8s_kind_rows[g.count];
	k8s_custom_each(add_custom, &g);
	if (g.rows)
		qsort(g.rows + k8s_kind_row_count, g.count - k8s_kind_row_count, sizeof(*g.rows), compare_custom);
	*count = g.rows ? g.count : 0;
	return g.rows;
}

const struct k8s_kind *k8s_kind_find(const char *group, const char *version, const char *plural)
{
	for (size_t i = 0; i < k8s_kind_row_count; i++) {
		const struct k8s_kind *k = &k8s_kind_rows[i];
		if (!strcmp(k->plural, plural) && !strcmp(k->group, group) && !strcmp(k->version, version))
			return k;
	}
	return k8s_custom_find(group, version, plural);
}

const struct k8s_kind *k8s_kind_by_name(const char *api_version, const char *kind)
{
	const char *slash = strchr(api_version, '/');
	size_t group_len = slash ? (size_t)(slash - api_version) : 0;
	const char *version = slash ? slash + 1 : api_version;
	for (size_t i = 0; i < k8s_kind_row_count; i++) {
		const struct k8s_kind *k = &k8s_kind_rows[i];
		if (!strcmp(k->kind, kind) && strlen(k->group) == group_len && !memcmp(k->group, api_version, group_len) &&
		    !strcmp(k->version, version))
			return k;
	}
	return k8s_custom_by_name(api_version, group_len, version, kind);
}

const struct k8s_kind *k8s_kind_stored(const struct k8s_kind *k)
{
	if (k->storage)
		return k;
	if (k->custom)
		return k8s_custom_stored(k);
	const char *group = k->stored_group ? k->stored_group : k->group;
	for (size_t i = 0; i < k8s_kind_row_count; i++) {
		const struct k8s_kind *s = &k8s_kind_rows[i];
		if (s->storage && !strcmp(s->plural, k->plural) && !strcmp(s->group, group))
			return s;
	}
	return k;
}

static void set_version(const struct k8s_kind *k, json_t *obj)
{
	json_object_set_new(obj, "apiVersion", *k->group ? json_sprintf("%s/%s", k->group, k->version) : json_string(k->version));
	json_object_set_new(obj, "kind", json_string(k->kind));
}

void k8s_kind_convert(const struct k8s_kind *from, const struct k8s_kind *to, json_t *obj)
{
	if (from == to)
		return;
	if (!from->storage) {
		if (from->to_stored)
			from->to_stored(obj);
		set_version(k8s_kind_stored(from), obj);
	}
	if (!to->storage) {
		if (to->from_stored)
			to->from_stored(obj);
		set_version(to, obj);
	}
}

static bool listed(const char *const *list, const char *name)
{
	for (; list && *list; list++)
		if (!strcmp(*list, name))
			return true;
	return false;
}

bool k8s_kind_has_verb(const struct k8s_kind *k, const char *verb)
{
	static const char *const usual[] = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch", NULL};
	return listed(k->verbs ? k->verbs : usual, verb);
}

bool k8s_kind_has_subresource(const struct k8s_kind *k, const char *name)
{
	return listed(k->subresources, name);
}

/* Definitions name fields as ".spec.color". */
static bool custom_selectable(const struct k8s_kind *k, const char *field)
{
	size_t i;
	json_t *f;
	if (!k->custom)
		return false;
	json_array_foreach(json_object_get(k8s_custom_version(k), "selectableFields"), i, f) {
		const char *path = jpath_str(f, "jsonPath", "");
		if (path[0] == '.' && !strcmp(path + 1, field))
			return true;
	}
	return false;
}

bool k8s_kind_field_selectable(const struct k8s_kind *k, const char *field)
{
	return !strcmp(field, "metadata.name") || (k->namespaced && !strcmp(field, "metadata.namespace")) ||
	       listed(k->field_labels, field) || custom_selectable(k, field);
}

const struct k8s_subresource *k8s_subresource_find(const char *name)
{
	for (const struct k8s_subresource *s = k8s_subresource_rows; s->name; s++)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}
