// SPDX-License-Identifier: Apache-2.0
// Validation of CustomResourceDefinitions, and the status that they begin with.
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "json_path.h"
#include "name_rules.h"
#include "validate.h"

static void check_names(const struct k8s_path *path, const json_t *names, struct k8s_errors *e)
{
	static const char *const fields[] = {"plural", "singular", "kind", "listKind"};
	for (int i = 0; i < 4; i++) {
		const char *name = jpath_str(names, fields[i], "");
		char lower[256];
		size_t n = strlen(name);
		for (size_t c = 0; c <= n && n < sizeof(lower); c++)
			lower[c] = (char)(i >= 2 && name[c] >= 'A' && name[c] <= 'Z' ? name[c] + 32 : name[c]);
		const char *wrong = n && n < sizeof(lower) ? k8s_check_dns1035_label(lower) : NULL;
		if (!n)
			k8s_required(e, PATH(path, fields[i]), NULL);
		else if (n >= sizeof(lower) || wrong)
			k8s_invalid_str(e, PATH(path, fields[i]), name, "%s", wrong ? wrong : "must be no more than 63 characters");
	}
	if (*jpath_str(names, "kind", "") && !strcmp(jpath_str(names, "kind", ""), jpath_str(names, "listKind", "")))
		k8s_invalid_str(e, PATH(path, "listKind"), jpath_str(names, "listKind", ""), "kind and listKind may not be the same");
}

/* A structural schema says the type of every value it describes. */
static void check_structural(const struct k8s_path *path, const json_t *schema, int depth, struct k8s_errors *e)
{
	static const char *const types[] = {"array", "boolean", "integer", "number", "object", "string", NULL};
	const char *type = jpath_str(schema, "type", ""), *key;
	json_t *v;
	bool free_form = jpath_bool(schema, "x-kubernetes-int-or-string", false) ||
			 jpath_bool(schema, "x-kubernetes-preserve-unknown-fields", false);
	if (depth > 100) {
		k8s_forbidden(e, path, "nested too deeply");
		return;
	}
	if (!free_form || *type)
		k8s_check_enum(e, PATH(path, "type"), type, types, true);
	if (!strcmp(type, "array") && !json_object_get(schema, "items"))
		k8s_required(e, PATH(path, "items"), "must be specified");
	if (json_object_get(schema, "$ref"))
		k8s_forbidden(e, PATH(path, "$ref"), "$ref is not supported");
	if (json_object_get(schema, "properties") && json_is_object(json_object_get(schema, "additionalProperties")))
		k8s_forbidden(e, PATH(path, "additionalProperties"), "additionalProperties and properties are mutual exclusive");
	json_object_foreach(json_object_get(schema, "properties"), key, v)
		if (depth || (strcmp(key, "metadata") && strcmp(key, "apiVersion") && strcmp(key, "kind")))
			check_structural(PATH_KEY(PATH(path, "properties"), key), v, depth + 1, e);
	if (json_is_object(json_object_get(schema, "items")))
		check_structural(PATH(path, "items"), json_object_get(schema, "items"), depth + 1, e);
	if (json_is_object(json_object_get(schema, "additionalProperties")))
		check_structural(PATH(path, "additionalProperties"), json_object_get(schema, "additionalProperties"), depth + 1, e);
}

static void check_columns(const struct k8s_path *path, const json_t *columns, struct k8s_errors *e)
{
	static const char *const types[] = {"boolean", "date", "integer", "number", "string", NULL};
	size_t i;
	json_t *c;
	json_array_foreach(columns, i, c) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *where = jpath_str(c, "jsonPath", "");
		if (!*jpath_str(c, "name", ""))
			k8s_required(e, PATH(at, "name"), NULL);
		k8s_check_enum(e, PATH(at, "type"), jpath_str(c, "type", ""), types, true);
		if (!*where)
			k8s_required(e, PATH(at, "jsonPath"), NULL);
		else if (!json_path_valid(where))
			k8s_invalid_str(e, PATH(at, "jsonPath"), where, "must be a simple json path starting with .");
	}
}

static void check_versions(const struct k8s_path *path, const json_t *versions, struct k8s_errors *e)
{
	own_json json_t *seen = json_object();
	size_t i, stored = 0;
	json_t *v;
	json_array_foreach(versions, i, v) {
		const struct k8s_path *at = PATH_AT(path, i), *schema_at = PATH(PATH(at, "schema"), "openAPIV3Schema");
		const char *name = jpath_str(v, "name", "");
		const json_t *schema = jpath_get(v, "schema.openAPIV3Schema");
		stored += jpath_bool(v, "storage", false);
		k8s_check_rule(e, PATH(at, "name"), name, k8s_check_dns1035_label);
		if (json_object_get(seen, name))
			k8s_duplicate_str(e, PATH(at, "name"), name);
		json_object_set_new(seen, name, json_true());
		if (!schema)
			k8s_required(e, schema_at, "schemas are required");
		else
			check_structural(schema_at, schema, 0, e);
		if (schema && strcmp(jpath_str(schema, "type", ""), "object") && *jpath_str(schema, "type", ""))
			k8s_invalid_str(e, PATH(schema_at, "type"), jpath_str(schema, "type", ""), "must be object at the root");
		check_columns(PATH(at, "additionalPrinterColumns"), json_object_get(v, "additionalPrinterColumns"), e);
		const json_t *scale = jpath_get(v, "subresources.scale");
		for (int f = 0; scale && f < 2; f++) {
			const char *field = f ? "statusReplicasPath" : "specReplicasPath";
			if (strncmp(jpath_str(scale, field, ""), f ? ".status." : ".spec.", f ? 8 : 6))
				k8s_invalid_str(e, PATH(PATH(PATH(at, "subresources"), "scale"), field), jpath_str(scale, field, ""),
						"should be a json path under %s", f ? ".status" : ".spec");
		}
	}
	if (stored != 1)
		k8s_invalid(e, path, versions, "must have exactly one version marked as storage version");
}

void k8s_validate_crd(const json_t *crd, const json_t *old, struct k8s_errors *e)
{
	static const char *const scopes[] = {"Cluster", "Namespaced", NULL}, *const strategies[] = {"None", NULL};
	const json_t *spec = json_object_get(crd, "spec"), *versions = json_object_get(spec, "versions");
	const struct k8s_path *path = PATH_ROOT("spec");
	const char *group = jpath_str(spec, "group", ""), *plural = jpath_str(spec, "names.plural", ""), *name = jpath_str(crd, "metadata.name", "");
	char want[600];
	snprintf(want, sizeof(want), "%s.%s", plural, group);
	if (*name && strcmp(name, want))
		k8s_invalid_str(e, PATH(PATH_ROOT("metadata"), "name"), name, "must be spec.names.plural+\".\"+spec.group");
	if (!*group)
		k8s_required(e, PATH(path, "group"), NULL);
	else if (k8s_check_rule(e, PATH(path, "group"), group, k8s_check_dns_subdomain) && !strchr(group, '.'))
		k8s_invalid_str(e, PATH(path, "group"), group, "should be a domain with at least one dot");
	k8s_check_enum(e, PATH(path, "scope"), jpath_str(spec, "scope", ""), scopes, true);
	if (json_array_size(versions) == 0)
		k8s_required(e, PATH(path, "versions"), "must have at least one version");
	else
		check_versions(PATH(path, "versions"), versions, e);
	check_names(PATH(path, "names"), json_object_get(spec, "names"), e);
	k8s_check_enum(e, PATH(PATH(path, "conversion"), "strategy"), jpath_str(spec, "conversion.strategy", ""), strategies, true);
	if (!old)
		return;
	k8s_check_immutable(e, PATH(path, "group"), json_object_get(spec, "group"), jpath_get(old, "spec.group"));
	k8s_check_immutable(e, PATH(path, "scope"), json_object_get(spec, "scope"), jpath_get(old, "spec.scope"));
	k8s_check_immutable(e, PATH(PATH(path, "names"), "kind"), jpath_get(spec, "names.kind"), jpath_get(old, "spec.names.kind"));
	k8s_check_immutable(e, PATH(PATH(path, "names"), "plural"), jpath_get(spec, "names.plural"), jpath_get(old, "spec.names.plural"));
}

/* The names are accepted, and the kind is served, by the server (controllers/custom.c). */
void k8s_create_crd(json_t *crd)
{
	json_t *stored = json_array(), *v;
	size_t i;
	json_array_foreach(jpath_get(crd, "spec.versions"), i, v)
		if (jpath_bool(v, "storage", false) && json_object_get(v, "name"))
			json_array_append(stored, json_object_get(v, "name"));
	json_object_set_new(crd, "status", json_pack("{s:{s:s,s:s},s:[],s:o}", "acceptedNames", "kind", "", "plural", "", "conditions",
						     "storedVersions", stored));
}
