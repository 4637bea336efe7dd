// SPDX-License-Identifier: Apache-2.0
// Validation of the core group besides pods, services and volumes; of Lease.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"
#include "name_rules.h"
#include "quantity.h"
#include "validate.h"

#define DATA_MAX_BYTES (1024u * 1024)

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));
	return s ? s : "";
}

/* ---- ConfigMap, Secret ---- */

/* Adds the sizes of the values (base64: of what they stand for). */
static size_t check_data(const struct k8s_path *path, const json_t *data, bool base64, struct k8s_errors *e)
{
	const char *key;
	json_t *v;
	size_t total = 0;
	json_object_foreach((json_t *)data, key, v) {
		k8s_check_rule(e, PATH_KEY(path, key), key, k8s_check_config_key);
		total += base64 ? json_string_length(v) / 4 * 3 : json_string_length(v);
	}
	return total;
}

/* Once immutable, data stays as it is and the mark stays set. */
static void check_immutable_data(const json_t *obj, const json_t *old, const char *const *fields, struct k8s_errors *e)
{
	static const char why[] = "field is immutable when `immutable` is set";
	if (!jpath_bool(old, "immutable", false))
		return;
	if (!jpath_bool(obj, "immutable", false))
		k8s_forbidden(e, PATH_ROOT("immutable"), "%s", why);
	for (; *fields; fields++) {
		const json_t *now = json_object_get(obj, *fields), *before = json_object_get(old, *fields);
		if (now != before && !(now && before && json_equal(now, before)))
			k8s_forbidden(e, PATH_ROOT(*fields), "%s", why);
	}
}

void k8s_validate_configmap(const json_t *cm, const json_t *old, struct k8s_errors *e)
{
	static const char *const fields[] = {"data", "binaryData", NULL};
	const json_t *data = json_object_get(cm, "data"), *binary = json_object_get(cm, "binaryData");
	const char *key;
	json_t *v;
	size_t total = check_data(PATH_ROOT("data"), data, false, e) + check_data(PATH_ROOT("binaryData"), binary, true, e);
	json_object_foreach((json_t *)binary, key, v)
		if (json_object_get(data, key))
			k8s_invalid_str(e, PATH_KEY(PATH_ROOT("data"), key), key, "duplicate of key present in data");
	if (total > DATA_MAX_BYTES)
		k8s_too_long(e, PATH_ROOT(""), DATA_MAX_BYTES);
	if (old)
		check_immutable_data(cm, old, fields, e);
}

static void check_secret_type(const json_t *secret, struct k8s_errors *e)
{
	static const char *const needs[][2] = {{"kubernetes.io/dockercfg", ".dockercfg"},
		{"kubernetes.io/dockerconfigjson", ".dockerconfigjson"}, {"kubernetes.io/ssh-auth", "ssh-privatekey"},
		{"kubernetes.io/tls", "tls.crt"}, {"kubernetes.io/tls", "tls.key"}};
	static const char account[] = "kubernetes.io/service-account.name";
	const char *type = str(secret, "type");
	const json_t *data = json_object_get(secret, "data");
	const struct k8s_path *path = PATH_ROOT("data");
	for (size_t i = 0; i < sizeof(needs) / sizeof(*needs); i++)
		if (!strcmp(type, needs[i][0]) && !json_object_get(data, needs[i][1]))
			k8s_required(e, PATH_KEY(path, needs[i][1]), NULL);
	if (!strcmp(type, "kubernetes.io/basic-auth") && !json_object_get(data, "username") && !json_object_get(data, "password")) {
		k8s_required(e, PATH_KEY(path, "username"), NULL);
		k8s_required(e, PATH_KEY(path, "password"), NULL);
	}
	if (!strcmp(type, "kubernetes.io/service-account-token") && !*str(jpath_get(secret, "metadata.annotations"), account))
		k8s_required(e, PATH_KEY(PATH(PATH_ROOT("metadata"), "annotations"), account), NULL);
}

void k8s_validate_secret(const json_t *secret, const json_t *old, struct k8s_errors *e)
{
	static const char *const fields[] = {"data", NULL};
	if (check_data(PATH_ROOT("data"), json_object_get(secret, "data"), true, e) > DATA_MAX_BYTES)
		k8s_too_long(e, PATH_ROOT("data"), DATA_MAX_BYTES);
	check_secret_type(secret, e);
	if (!old)
		return;
	k8s_check_immutable(e, PATH_ROOT("type"), json_object_get(secret, "type"), json_object_get(old, "type"));
	check_immutable_data(secret, old, fields, e);
}

/* ---- Node ---- */

void k8s_validate_node(const json_t *node, const json_t *old, struct k8s_errors *e)
{
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	static const char *const fixed[] = {"podCIDR", "providerID"};
	const struct k8s_path *spec = PATH_ROOT("spec"), *path = PATH(spec, "taints");
	const json_t *taints = jpath_get(node, "spec.taints"), *amount;
	const char *name;
	size_t i, j;
	json_t *t;
	json_array_foreach(taints, i, t) {
		const struct k8s_path *at = PATH_AT(path, i);
		k8s_check_rule(e, PATH(at, "key"), str(t, "key"), k8s_check_qualified_name);
		k8s_check_rule(e, PATH(at, "value"), str(t, "value"), k8s_check_label_value);
		k8s_check_enum(e, PATH(at, "effect"), str(t, "effect"), effects, true);
		for (j = 0; j < i; j++) {
			const json_t *other = json_array_get(taints, j);
			if (!strcmp(str(other, "key"), str(t, "key")) && !strcmp(str(other, "effect"), str(t, "effect")))
				k8s_duplicate(e, at, t);
		}
	}
	json_object_foreach(jpath_get(node, "status.capacity"), name, amount)
		if (k8s_quantity_milli(amount, 0) < 0)
			k8s_invalid(e, PATH_KEY(PATH(PATH_ROOT("status"), "capacity"), name), amount, "must be greater than or equal to 0");
	for (i = 0; old && i < 2; i++)
		if (*str(json_object_get(old, "spec"), fixed[i]) &&
		    strcmp(str(json_object_get(old, "spec"), fixed[i]), str(json_object_get(node, "spec"), fixed[i])))
			k8s_forbidden(e, PATH(spec, fixed[i]), "node updates may not change %s except from \"\" to valid", fixed[i]);
}

/* ---- Event ---- */

void k8s_validate_event(const json_t *event, const json_t *old, struct k8s_errors *e)
{
	const char *ns = jpath_str(event, "metadata.namespace", ""), *about = jpath_str(event, "involvedObject.namespace", "");
	const struct k8s_path *path = PATH(PATH_ROOT("involvedObject"), "namespace");
	(void)old;
	/* Events about objects outside any namespace live in "default" or "kube-system". */
	if (!*about && strcmp(ns, "default") && strcmp(ns, "kube-system"))
		k8s_invalid_str(e, path, about, "does not match event.namespace");
	else if (*about && strcmp(about, ns))
		k8s_invalid_str(e, path, about, "does not match event.namespace");
}

/* ---- Lease ---- */

void k8s_validate_lease(const json_t *lease, const json_t *old, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH_ROOT("spec");
	const json_t *seconds = jpath_get(lease, "spec.leaseDurationSeconds");
	(void)old;
	if (seconds && json_integer_value(seconds) <= 0)
		k8s_invalid(e, PATH(path, "leaseDurationSeconds"), seconds, "must be greater than 0");
	k8s_check_not_negative(e, PATH(path, "leaseTransitions"), jpath_get(lease, "spec.leaseTransitions"));
}
