// SPDX-License-Identifier: Apache-2.0
// The environment of a container: the image's, the Services', then envFrom, then env; later names win. $(NAME) in env means
// what the pod gives, not what the image sets.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "env_expand.h"
#include "pod.h"
#include "services.h"

/* Environment under construction: an object keeps the order of first appearance, as jansson does. */
static int set(json_t *env, const char *name, const char *value)
{
	return json_object_set_new(env, name, json_string(value)) ? -ENOMEM : 0;
}

/* The value of a key; -ENOENT when object or key is missing. */
static int object_key(struct pod *p, const char *kind, const json_t *ref, char **value, struct err *e)
{
	own_json json_t *obj = NULL;
	const char *name = jpath_str(ref, "name", ""), *key = jpath_str(ref, "key", "");
	bool secret = !strcmp(kind, "secrets");
	int rc = pod_object_get(p, kind, name, &obj, e);
	if (rc)
		return rc;
	const char *text = json_string_value(json_object_get(json_object_get(obj, "data"), key));
	size_t len;
	if (!text)
		return err_set(e, ENOENT, "couldn't find key %s in %s %s/%s", key, secret ? "Secret" : "ConfigMap", p->ns, name);
	*value = secret ? (char *)base64_decode(text, strlen(text), &len) : strdup(text);
	return *value ? 0 : err_sys(e, EINVAL, "value of key %s", key);
}

static int value_from(struct pod *p, const json_t *spec, const json_t *from, char **value, struct err *e)
{
	const json_t *ref;
	if ((ref = json_object_get(from, "fieldRef")))
		return pod_field(p, jpath_str(ref, "fieldPath", ""), value, e);
	if ((ref = json_object_get(from, "resourceFieldRef")))
		return pod_resource_field(p, spec, ref, value, e);
	const char *kind = "configmaps";
	if (!(ref = json_object_get(from, "configMapKeyRef"))) {
		ref = json_object_get(from, "secretKeyRef");
		kind = "secrets";
	}
	if (!ref)
		return err_set(e, EINVAL, "valueFrom names no source");
	int rc = object_key(p, kind, ref, value, e);
	if (rc == -ENOENT && jpath_bool(ref, "optional", false)) {
		*value = NULL;
		return 0;
	}
	return rc;
}

static int env_from(struct pod *p, const json_t *source, json_t *env, struct err *e)
{
	bool secret = json_object_get(source, "secretRef") != NULL;
	const json_t *ref = json_object_get(source, secret ? "secretRef" : "configMapRef");
	const char *prefix = jpath_str(source, "prefix", ""), *key;
	own_json json_t *obj = NULL;
	json_t *v;
	int rc = pod_object_get(p, secret ? "secrets" : "configmaps", jpath_str(ref, "name", ""), &obj, e);
	if (rc == -ENOENT && jpath_bool(ref, "optional", false))
		return 0;
	if (rc)
		return rc;
	json_object_foreach(json_object_get(obj, "data"), key, v) {
		char name[512];
		size_t len;
		if (!json_is_string(v))
			continue;
		snprintf(name, sizeof(name), "%s%s", prefix, key);
		own_free char *value = secret ? (char *)base64_decode(json_string_value(v), json_string_length(v), &len) : strdup(json_string_value(v));
		if (value && !strchr(name, '='))
			rc = set(env, name, value);
		if (rc)
			return err_sys(e, -rc, "environment");
	}
	return 0;
}

static int env_entry(struct pod *p, const json_t *spec, const json_t *entry, json_t *env, struct err *e)
{
	const char *name = jpath_str(entry, "name", "");
	const json_t *from = json_object_get(entry, "valueFrom");
	own_free char *value = NULL;
	int rc = 0;
	if (from)
		rc = value_from(p, spec, from, &value, e);
	else
		value = env_expand(jpath_str(entry, "value", ""), env);
	if (rc || (from && !value))
		return rc;
	return value && !set(env, name, value) ? 0 : err_sys(e, ENOMEM, "environment");
}

int pod_env(struct pod *p, const json_t *spec, json_t **out, struct err *e)
{
	own_json json_t *env = json_object();
	size_t i;
	json_t *v;
	int rc = !env ? err_sys(e, ENOMEM, "environment") : !p->host->services ? 0 :
		 services_env(p->host->services, p->ns, jpath_bool(p->seen, "spec.enableServiceLinks", true), env, e);
	if (rc)
		return rc;
	json_array_foreach(json_object_get(spec, "envFrom"), i, v)
		if ((rc = env_from(p, v, env, e)))
			return rc;
	json_array_foreach(json_object_get(spec, "env"), i, v)
		if ((rc = env_entry(p, spec, v, env, e)))
			return rc;
	*out = json_incref(env);
	return 0;
}

int pod_env_all(const struct pod *p, const struct container *c, const json_t *spec, json_t *own, json_t **out, struct err *e)
{
	own_json json_t *env = json_object(), *list = json_array();
	size_t i;
	json_t *v;
	const char *name;
	char hostname[65] = "";
	pod_hostname(p, hostname, NULL);   // too long a name has been said when the VM came up
	int rc = set(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	rc |= set(env, "HOSTNAME", hostname);
	if (jpath_bool(spec, "tty", false))
		rc |= set(env, "TERM", "xterm");
	json_array_foreach(jpath_get(c->image_config, "config.Env"), i, v) {
		const char *text = json_string_value(v), *eq = text ? strchr(text, '=') : NULL;
		if (eq)
			rc |= json_object_setn_new(env, text, (size_t)(eq - text), json_string(eq + 1));
	}
	rc |= json_object_update(env, own);
	json_object_foreach(env, name, v) {
		own_free char *pair = NULL;
		rc |= asprintf(&pair, "%s=%s", name, json_string_value(v)) < 0 || json_array_append_new(list, json_string(pair));
	}
	if (rc)
		return err_sys(e, ENOMEM, "environment");
	*out = json_incref(list);
	return 0;
}
