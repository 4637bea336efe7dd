// SPDX-License-Identifier: Apache-2.0
// Validation of metadata, common to all kinds; see kind.h.
#include <string.h>

#include "base/jpath.h"
#include "custom.h"
#include "name_rules.h"
#include "validate.h"

static void check_name(const struct k8s_kind *k, const json_t *meta, const struct k8s_path *path, struct k8s_errors *e)
{
	const char *(*rule)(const char *) = k->check_name ? k->check_name : k8s_check_dns_subdomain;
	const char *name = jpath_str(meta, "name", ""), *prefix = jpath_str(meta, "generateName", "");
	size_t n = strlen(prefix);
	if (n && n < 512) {
		char whole[520];   // a prefix may end in "-": what is appended makes it right
		memcpy(whole, prefix, n);
		memcpy(whole + n - (prefix[n - 1] == '-'), "a", 2);
		const char *wrong = rule(n > 1 || prefix[0] != '-' ? whole : prefix);
		if (wrong)
			k8s_invalid_str(e, PATH(path, "generateName"), prefix, "%s", wrong);
	} else if (n) {
		k8s_too_long(e, PATH(path, "generateName"), 253);
	}
	if (*name)
		k8s_check_rule(e, PATH(path, "name"), name, rule);
	else if (!n)
		k8s_required(e, PATH(path, "name"), "name or generateName is required");
}

static void check_namespace(const struct k8s_kind *k, const json_t *meta, const struct k8s_path *path, struct k8s_errors *e)
{
	const char *ns = jpath_str(meta, "namespace", "");
	if (!k->namespaced && *ns)
		k8s_forbidden(e, PATH(path, "namespace"), "not allowed on this type");
	else if (k->namespaced && !*ns)
		k8s_required(e, PATH(path, "namespace"), NULL);
	else if (*ns)
		k8s_check_rule(e, PATH(path, "namespace"), ns, k8s_check_dns_label);
}

static void check_owners(const json_t *meta, const struct k8s_path *path, struct k8s_errors *e)
{
	static const char *const fields[][2] = {{"apiVersion", "version must not be empty"}, {"kind", "must not be empty"},
		{"name", "must not be empty"}, {"uid", "must not be empty"}};
	const char *controller = NULL;
	size_t i;
	json_t *ref, *refs = json_object_get(meta, "ownerReferences");
	json_array_foreach(refs, i, ref) {
		const struct k8s_path *list = PATH(path, "ownerReferences"), *at = PATH_AT(list, i);
		for (size_t f = 0; f < 4; f++)
			if (!*jpath_str(ref, fields[f][0], ""))
				k8s_invalid_str(e, PATH(at, fields[f][0]), "", "%s", fields[f][1]);
		if (!strcmp(jpath_str(ref, "apiVersion", ""), "v1") && !strcmp(jpath_str(ref, "kind", ""), "Event"))
			k8s_invalid_str(e, at, "v1, Kind=Event", "/v1, Kind=Event is disallowed from being an owner");
		if (!jpath_bool(ref, "controller", false))
			continue;
		if (controller)
			k8s_invalid(e, list, refs, "Only one reference can have Controller set to true. Found \"true\" in references "
				    "for %s and %s", controller, jpath_str(ref, "name", ""));
		controller = jpath_str(ref, "name", "");
	}
}

/* Custom resources and their definitions may have any name, as upstream. */
static bool names_finalizers_freely(const struct k8s_kind *k)
{
	return k->custom || !strcmp(k->group, "apiextensions.k8s.io");
}

static void check_finalizers(const struct k8s_kind *k, const json_t *meta, const struct k8s_path *path, struct k8s_errors *e)
{
	static const char *const plain[] = {"orphan", "foregroundDeletion", "kubernetes"};
	size_t i;
	json_t *value;
	json_array_foreach(json_object_get(meta, "finalizers"), i, value) {
		const char *name = json_string_value(value);
		const struct k8s_path *at = PATH(path, "finalizers");
		bool known = false;
		if (!name || !k8s_check_rule(e, at, name, k8s_check_qualified_name))
			continue;
		for (size_t p = 0; p < sizeof(plain) / sizeof(*plain); p++)
			known |= !strcmp(plain[p], name);
		if (!known && !names_finalizers_freely(k) && !strchr(name, '/'))
			k8s_invalid_str(e, PATH_AT(at, i), name,
					"name is neither a standard finalizer name nor is it fully qualified");
	}
}

void k8s_validate_metadata(const struct k8s_kind *k, const json_t *obj, struct k8s_errors *e)
{
	const json_t *meta = json_object_get(obj, "metadata");
	const struct k8s_path *path = PATH_ROOT("metadata");
	check_name(k, meta, path, e);
	check_namespace(k, meta, path, e);
	k8s_check_not_negative(e, PATH(path, "generation"), json_object_get(meta, "generation"));
	k8s_check_labels(e, PATH(path, "labels"), json_object_get(meta, "labels"));
	k8s_check_annotations(e, PATH(path, "annotations"), json_object_get(meta, "annotations"));
	check_owners(meta, path, e);
	check_finalizers(k, meta, path, e);
}

void k8s_validate_metadata_update(const struct k8s_kind *k, const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const fixed[] = {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
		"deletionGracePeriodSeconds"};
	const json_t *meta = json_object_get(obj, "metadata"), *before = json_object_get(old, "metadata");
	const struct k8s_path *path = PATH_ROOT("metadata");
	k8s_validate_metadata(k, obj, e);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		k8s_check_immutable(e, PATH(path, fixed[i]), json_object_get(meta, fixed[i]), json_object_get(before, fixed[i]));
	/* While an object is being deleted, finalizers can only go. */
	if (!json_object_get(before, "deletionTimestamp"))
		return;
	size_t i, o;
	json_t *value, *other;
	json_array_foreach(json_object_get(meta, "finalizers"), i, value) {
		bool kept = false;
		json_array_foreach(json_object_get(before, "finalizers"), o, other)
			kept |= json_equal(value, other);
		if (!kept && json_is_string(value))
			k8s_forbidden(e, PATH(path, "finalizers"), "no new finalizers can be added if the object is being deleted, "
				      "found new finalizers []string{\"%s\"}", json_string_value(value));
	}
}

void k8s_validate(const struct k8s_kind *k, const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	if (old)
		k8s_validate_metadata_update(k, obj, old, e);
	else
		k8s_validate_metadata(k, obj, e);
	if (k->custom)
		k8s_custom_validate(k, obj, e);
	if (k->custom && old)
		k8s_custom_rules(k, obj, old, e);
	if (k->validate)
		k->validate(obj, old, e);
}
