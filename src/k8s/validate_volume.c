// SPDX-License-Identifier: Apache-2.0
// Validation of a pod's volumes.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"
#include "name_rules.h"
#include "quantity.h"
#include "validate.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));
	return s ? s : "";
}

static void check_required(const struct k8s_path *path, const json_t *source, const char *key, struct k8s_errors *e)
{
	if (!*str(source, key))
		k8s_required(e, PATH(path, key), NULL);
}

static void check_mode(const struct k8s_path *path, const json_t *mode, struct k8s_errors *e)
{
	if (mode && (json_integer_value(mode) < 0 || json_integer_value(mode) > 0777))
		k8s_invalid(e, path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
}

static void check_relative(const struct k8s_path *path, const char *p, struct k8s_errors *e)
{
	size_t n = strlen(p);
	if (!*p)
		k8s_required(e, path, NULL);
	else if (*p == '/')
		k8s_invalid_str(e, path, p, "must be a relative path");
	else if (!strcmp(p, "..") || !strncmp(p, "../", 3) || strstr(p, "/../") || (n > 2 && !strcmp(p + n - 3, "/..")))
		k8s_invalid_str(e, path, p, "must not contain '..'");
	else if (!strncmp(p, "..", 2))
		k8s_invalid_str(e, path, p, "must not start with '..'");
}

void k8s_validate_key_items(const struct k8s_path *path, const json_t *items, struct k8s_errors *e)
{
	size_t i;
	json_t *item;
	json_array_foreach(items, i, item) {
		const struct k8s_path *at = PATH_AT(path, i);
		check_required(at, item, "key", e);
		check_relative(PATH(at, "path"), str(item, "path"), e);
		check_mode(PATH(at, "mode"), json_object_get(item, "mode"), e);
	}
}

static void check_downward_items(const struct k8s_path *path, const json_t *items, struct k8s_errors *e)
{
	static const char *const fields[] = {"metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations",
		"metadata.uid", NULL};
	size_t i;
	json_t *item;
	json_array_foreach(items, i, item) {
		const struct k8s_path *at = PATH_AT(path, i);
		const json_t *field = json_object_get(item, "fieldRef"), *resource = json_object_get(item, "resourceFieldRef");
		check_relative(PATH(at, "path"), str(item, "path"), e);
		if (field)
			k8s_validate_field_ref(PATH(at, "fieldRef"), field, fields, e);
		if (field && resource)
			k8s_invalid_str(e, at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
		if (!field && !resource)
			k8s_required(e, at, "one of fieldRef and resourceFieldRef is required");
		if (resource && !*str(resource, "containerName"))
			k8s_required(e, PATH(PATH(at, "resourceFieldRef"), "containerName"), NULL);
		check_mode(PATH(at, "mode"), json_object_get(item, "mode"), e);
	}
}

static void check_projected(const struct k8s_path *path, const json_t *projected, struct k8s_errors *e)
{
	size_t i;
	json_t *source;
	check_mode(PATH(path, "defaultMode"), json_object_get(projected, "defaultMode"), e);
	json_array_foreach(json_object_get(projected, "sources"), i, source) {
		const struct k8s_path *at = PATH_AT(PATH(path, "sources"), i);
		const json_t *v;
		if (json_object_size(source) > 1)
			k8s_forbidden(e, at, "may not specify more than 1 volume type per source");
		if ((v = json_object_get(source, "secret"))) {
			check_required(PATH(at, "secret"), v, "name", e);
			k8s_validate_key_items(PATH(PATH(at, "secret"), "items"), json_object_get(v, "items"), e);
		} else if ((v = json_object_get(source, "configMap"))) {
			check_required(PATH(at, "configMap"), v, "name", e);
			k8s_validate_key_items(PATH(PATH(at, "configMap"), "items"), json_object_get(v, "items"), e);
		} else if ((v = json_object_get(source, "downwardAPI"))) {
			check_downward_items(PATH(PATH(at, "downwardAPI"), "items"), json_object_get(v, "items"), e);
		} else if ((v = json_object_get(source, "serviceAccountToken"))) {
			const struct k8s_path *token = PATH(at, "serviceAccountToken");
			const json_t *seconds = json_object_get(v, "expirationSeconds");
			if (seconds && json_integer_value(seconds) < 600)
				k8s_invalid(e, PATH(token, "expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
			check_relative(PATH(token, "path"), str(v, "path"), e);
		}
	}
}

static void check_host_path(const struct k8s_path *path, const json_t *source, struct k8s_errors *e)
{
	static const char *const types[] = {"", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate",
		"Socket", NULL};
	const char *p = str(source, "path");
	check_required(path, source, "path", e);
	if (strstr(p, "/../") || !strcmp(p, "..") || (strlen(p) > 2 && !strcmp(p + strlen(p) - 3, "/..")))
		k8s_invalid_str(e, PATH(path, "path"), p, "must not contain '..'");
	k8s_check_enum(e, PATH(path, "type"), str(source, "type"), types, false);
}

static void check_empty_dir(const struct k8s_path *path, const json_t *source, struct k8s_errors *e)
{
	const json_t *limit = json_object_get(source, "sizeLimit");
	if (limit && k8s_quantity_milli(limit, 0) < 0)
		k8s_forbidden(e, PATH(path, "sizeLimit"), "SizeLimit field must be a valid resource quantity");
}

/* A source that is known by one field that must be there. */
static void check_plain_source(const struct k8s_path *path, const char *type, const json_t *source, struct k8s_errors *e)
{
	static const char *const needs[][2] = {{"persistentVolumeClaim", "claimName"}, {"nfs", "server"}, {"nfs", "path"}, {"csi", "driver"},
		{"iscsi", "targetPortal"}, {"iscsi", "iqn"}, {"image", "reference"}};
	for (size_t i = 0; i < sizeof(needs) / sizeof(*needs); i++)
		if (!strcmp(type, needs[i][0]))
			check_required(path, source, needs[i][1], e);
}

static void check_source(const struct k8s_path *at, const char *type, const json_t *source, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH(at, type);
	if (!strcmp(type, "hostPath")) {
		check_host_path(path, source, e);
	} else if (!strcmp(type, "emptyDir")) {
		check_empty_dir(path, source, e);
	} else if (!strcmp(type, "secret")) {
		check_required(path, source, "secretName", e);
		check_mode(PATH(path, "defaultMode"), json_object_get(source, "defaultMode"), e);
		k8s_validate_key_items(PATH(path, "items"), json_object_get(source, "items"), e);
	} else if (!strcmp(type, "configMap")) {
		check_required(path, source, "name", e);
		check_mode(PATH(path, "defaultMode"), json_object_get(source, "defaultMode"), e);
		k8s_validate_key_items(PATH(path, "items"), json_object_get(source, "items"), e);
	} else if (!strcmp(type, "downwardAPI")) {
		check_mode(PATH(path, "defaultMode"), json_object_get(source, "defaultMode"), e);
		check_downward_items(PATH(path, "items"), json_object_get(source, "items"), e);
	} else if (!strcmp(type, "projected")) {
		check_projected(path, source, e);
	} else if (!strcmp(type, "ephemeral")) {
		const json_t *spec = jpath_get(source, "volumeClaimTemplate.spec");
		if (!spec)
			k8s_required(e, PATH(path, "volumeClaimTemplate"), NULL);
		else
			k8s_validate_volume_claim_spec(PATH(PATH(path, "volumeClaimTemplate"), "spec"), spec, e);
	} else {
		check_plain_source(path, type, source, e);
	}
}

void k8s_validate_volumes(const struct k8s_path *path, const json_t *volumes, struct k8s_errors *e)
{
	json_t *names = json_object(), *v, *source;
	size_t i;
	json_array_foreach(volumes, i, v) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *name = str(v, "name"), *type;
		size_t sources = 0;
		json_object_foreach(v, type, source) {
			if (!strcmp(type, "name"))
				continue;
			if (sources++)
				k8s_forbidden(e, PATH(at, type), "may not specify more than 1 volume type");
			else
				check_source(at, type, source, e);
		}
		if (!sources)
			k8s_required(e, at, "must specify a volume type");
		if (!*name)
			k8s_required(e, PATH(at, "name"), NULL);
		else if (k8s_check_rule(e, PATH(at, "name"), name, k8s_check_dns_label) && json_object_get(names, name))
			k8s_duplicate_str(e, PATH(at, "name"), name);
		json_object_set_new(names, name, json_true());
	}
	json_decref(names);
}
