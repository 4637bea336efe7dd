// SPDX-License-Identifier: Apache-2.0
// Validation of containers: names, images, ports, environment, mounts, probes, resources.
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "name_rules.h"
#include "quantity.h"
#include "validate.h"

#define ID_MAX 2147483647ll

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));
	return s ? s : "";
}

/* Remembers name in seen; reports it when it was there. */
static bool unique(struct k8s_errors *e, const struct k8s_path *path, json_t *seen, const char *name)
{
	if (json_object_get(seen, name)) {
		k8s_duplicate_str(e, path, name);
		return false;
	}
	json_object_set_new(seen, name, json_true());
	return true;
}

/* ---- ports ---- */

static void check_ports(const struct k8s_path *path, const json_t *ports, struct k8s_errors *e)
{
	static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
	own_json json_t *names = json_object();
	size_t i;
	json_t *p;
	json_array_foreach(ports, i, p) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *name = str(p, "name");
		if (*name && k8s_check_rule(e, PATH(at, "name"), name, k8s_check_port_name))
			unique(e, PATH(at, "name"), names, name);
		if (jpath_int(p, "containerPort", 0) == 0)
			k8s_required(e, PATH(at, "containerPort"), NULL);
		else
			k8s_check_port(e, PATH(at, "containerPort"), json_object_get(p, "containerPort"));
		if (jpath_int(p, "hostPort", 0))
			k8s_check_port(e, PATH(at, "hostPort"), json_object_get(p, "hostPort"));
		k8s_check_enum(e, PATH(at, "protocol"), str(p, "protocol"), protocols, true);
	}
}

/* ---- environment ---- */

void k8s_validate_field_ref(const struct k8s_path *path, const json_t *ref, const char *const *plain, struct k8s_errors *e)
{
	const char *field = str(ref, "fieldPath");
	const struct k8s_path *at = PATH(path, "fieldPath");
	if (!*str(ref, "apiVersion"))
		k8s_required(e, PATH(path, "apiVersion"), NULL);
	if (!*field) {
		k8s_required(e, at, NULL);
		return;
	}
	/* metadata.labels['key'] and metadata.annotations['key'] */
	for (int a = 0; a < 2; a++) {
		const char *map = a ? "metadata.annotations['" : "metadata.labels['";
		size_t n = strlen(map), len = strlen(field);
		if (!strncmp(field, map, n) && len > n + 2 && !strcmp(field + len - 2, "']")) {
			char key[512];
			snprintf(key, sizeof(key), "%.*s", (int)(len - n - 2), field + n);
			const char *wrong = k8s_check_qualified_name(key);
			if (wrong)
				k8s_invalid_str(e, at, key, "%s", wrong);
			return;
		}
	}
	k8s_check_enum(e, at, field, plain, true);
}

static void check_resource_ref(const struct k8s_path *path, const json_t *ref, struct k8s_errors *e)
{
	static const char *const resources[] = {"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu",
		"requests.ephemeral-storage", "requests.memory", NULL};
	const char *resource = str(ref, "resource");
	if (!*resource)
		k8s_required(e, PATH(path, "resource"), NULL);
	else if (strncmp(resource, "limits.hugepages-", 17) && strncmp(resource, "requests.hugepages-", 19))
		k8s_check_enum(e, PATH(path, "resource"), resource, resources, true);
}

static void check_key_ref(const struct k8s_path *path, const json_t *ref, struct k8s_errors *e)
{
	if (!*str(ref, "name"))
		k8s_required(e, PATH(path, "name"), NULL);
	if (!*str(ref, "key"))
		k8s_required(e, PATH(path, "key"), NULL);
	else
		k8s_check_rule(e, PATH(path, "key"), str(ref, "key"), k8s_check_config_key);
}

static void check_value_from(const struct k8s_path *path, const json_t *env, struct k8s_errors *e)
{
	static const char *const fields[] = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
		"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", NULL};
	const json_t *from = json_object_get(env, "valueFrom"), *v;
	size_t sources = 0;
	if ((v = json_object_get(from, "fieldRef")) && ++sources)
		k8s_validate_field_ref(PATH(path, "fieldRef"), v, fields, e);
	if ((v = json_object_get(from, "resourceFieldRef")) && ++sources)
		check_resource_ref(PATH(path, "resourceFieldRef"), v, e);
	if ((v = json_object_get(from, "configMapKeyRef")) && ++sources)
		check_key_ref(PATH(path, "configMapKeyRef"), v, e);
	if ((v = json_object_get(from, "secretKeyRef")) && ++sources)
		check_key_ref(PATH(path, "secretKeyRef"), v, e);
	if (json_object_get(from, "fileKeyRef"))
		sources++;
	if (sources == 0)
		k8s_invalid_str(e, path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
	else if (sources > 1)
		k8s_invalid_str(e, path, "", "may not have more than one field specified at a time");
	if (*str(env, "value"))
		k8s_invalid_str(e, path, "", "may not be specified when `value` is not empty");
}

static void check_env(const struct k8s_path *path, const json_t *env, struct k8s_errors *e)
{
	size_t i;
	json_t *v;
	json_array_foreach(env, i, v) {
		const struct k8s_path *at = PATH_AT(path, i);
		if (!*str(v, "name"))
			k8s_required(e, PATH(at, "name"), NULL);
		else
			k8s_check_rule(e, PATH(at, "name"), str(v, "name"), k8s_check_env_name);
		if (json_object_get(v, "valueFrom"))
			check_value_from(PATH(at, "valueFrom"), v, e);
	}
}

static void check_env_from(const struct k8s_path *path, const json_t *list, struct k8s_errors *e)
{
	static const char *const sources[] = {"configMapRef", "secretRef"};
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v) {
		const struct k8s_path *at = PATH_AT(path, i);
		size_t count = 0;
		if (*str(v, "prefix"))
			k8s_check_rule(e, PATH(at, "prefix"), str(v, "prefix"), k8s_check_env_name);
		for (int s = 0; s < 2; s++) {
			const json_t *ref = json_object_get(v, sources[s]);
			count += ref != NULL;
			if (ref && !*str(ref, "name"))
				k8s_required(e, PATH(PATH(at, sources[s]), "name"), NULL);
		}
		if (count == 0)
			k8s_invalid_str(e, path, "", "must specify one of: `configMapRef` or `secretRef`");
		else if (count > 1)
			k8s_invalid_str(e, path, "", "may not have more than one field specified at a time");
	}
}

/* ---- mounts ---- */

static void check_descending(const struct k8s_path *path, const char *sub, struct k8s_errors *e)
{
	size_t n = strlen(sub);
	if (sub[0] == '/')
		k8s_invalid_str(e, path, sub, "must be a relative path");
	if (!strcmp(sub, "..") || !strncmp(sub, "../", 3) || strstr(sub, "/../") || (n > 2 && !strcmp(sub + n - 3, "/..")))
		k8s_invalid_str(e, path, sub, "must not contain '..'");
}

static const json_t *volume_named(const json_t *volumes, const char *name)
{
	size_t i;
	json_t *v;
	json_array_foreach(volumes, i, v)
		if (!strcmp(str(v, "name"), name))
			return v;
	return NULL;
}

static void check_mounts(const struct k8s_path *path, const json_t *container, const json_t *volumes, struct k8s_errors *e)
{
	static const char *const propagations[] = {"Bidirectional", "HostToContainer", "None", NULL};
	own_json json_t *points = json_object();
	size_t i;
	json_t *m;
	json_array_foreach(json_object_get(container, "volumeMounts"), i, m) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *name = str(m, "name"), *where = str(m, "mountPath"), *propagation = str(m, "mountPropagation");
		if (!*name)
			k8s_required(e, PATH(at, "name"), NULL);
		else if (!volume_named(volumes, name))
			k8s_not_found(e, PATH(at, "name"), name);
		if (!*where)
			k8s_required(e, PATH(at, "mountPath"), NULL);
		else if (json_object_get(points, where))
			k8s_invalid_str(e, PATH(at, "mountPath"), where, "must be unique");
		json_object_set_new(points, where, json_true());
		if (*str(m, "subPath") && *str(m, "subPathExpr"))
			k8s_invalid_str(e, PATH(at, "subPathExpr"), str(m, "subPathExpr"), "subPathExpr and subPath are mutually exclusive");
		check_descending(PATH(at, "subPath"), str(m, "subPath"), e);
		check_descending(PATH(at, "subPathExpr"), str(m, "subPathExpr"), e);
		k8s_check_enum(e, PATH(at, "mountPropagation"), propagation, propagations, false);
		if (!strcmp(propagation, "Bidirectional") && !jpath_bool(container, "securityContext.privileged", false))
			k8s_forbidden(e, PATH(at, "mountPropagation"), "Bidirectional mount propagation is available only to privileged "
				      "containers");
	}
}

static void check_devices(const struct k8s_path *path, const json_t *container, const json_t *volumes, struct k8s_errors *e)
{
	own_json json_t *points = json_object();
	size_t i;
	json_t *d;
	json_array_foreach(json_object_get(container, "volumeDevices"), i, d) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *name = str(d, "name"), *where = str(d, "devicePath");
		const json_t *volume = volume_named(volumes, name);
		if (!*name)
			k8s_required(e, PATH(at, "name"), NULL);
		else if (!volume)
			k8s_not_found(e, PATH(at, "name"), name);
		else if (!json_object_get(volume, "persistentVolumeClaim") && !json_object_get(volume, "ephemeral"))
			k8s_invalid_str(e, PATH(at, "name"), name, "can only use volume source type of PersistentVolumeClaim or Ephemeral "
					"for block mode");
		if (!*where)
			k8s_required(e, PATH(at, "devicePath"), NULL);
		else if (json_object_get(points, where))
			k8s_invalid_str(e, PATH(at, "devicePath"), where, "must be unique");
		json_object_set_new(points, where, json_true());
	}
}

/* ---- resources ---- */

static void check_resource_name(const struct k8s_path *path, const char *name, struct k8s_errors *e)
{
	static const char *const standard[] = {"cpu", "memory", "ephemeral-storage"};
	if (!k8s_check_rule(e, path, name, k8s_check_qualified_name) || strchr(name, '/') || !strncmp(name, "hugepages-", 10))
		return;
	for (size_t i = 0; i < 3; i++)
		if (!strcmp(name, standard[i]))
			return;
	k8s_invalid_str(e, path, name, "must be a standard resource for containers");
}

typedef void name_fn(const struct k8s_path *path, const char *name, struct k8s_errors *e);

static void check_whole_name(const struct k8s_path *path, const char *name, struct k8s_errors *e)
{
	static const char *const whole[] = {"cpu", "memory", "hugepages-", NULL};
	if (k8s_check_rule(e, path, name, k8s_check_qualified_name) && strncmp(name, "hugepages-", 10))
		k8s_check_enum(e, path, name, whole, true);
}

static void check_amounts(const struct k8s_path *path, const json_t *amounts, name_fn *check_name, struct k8s_errors *e)
{
	const char *name;
	json_t *v;
	json_object_foreach((json_t *)amounts, name, v) {
		const struct k8s_path *at = PATH_KEY(path, name);
		int64_t milli = k8s_quantity_milli(v, 0);
		check_name(at, name, e);
		if (milli < 0)
			k8s_invalid(e, at, v, "must be greater than or equal to 0");
		else if (strchr(name, '/') && milli % 1000)
			k8s_invalid(e, at, v, "must be an integer");
	}
}

static void check_resources(const struct k8s_path *path, const json_t *resources, name_fn *check_name, struct k8s_errors *e)
{
	const json_t *limits = json_object_get(resources, "limits"), *requests = json_object_get(resources, "requests");
	const char *name;
	json_t *v;
	check_amounts(PATH(path, "limits"), limits, check_name, e);
	check_amounts(PATH(path, "requests"), requests, check_name, e);
	json_object_foreach((json_t *)requests, name, v) {
		const json_t *limit = json_object_get(limits, name);
		if (limit && k8s_quantity_milli(v, 0) > k8s_quantity_milli(limit, 0))
			k8s_invalid(e, PATH(path, "requests"), v, "must be less than or equal to %s limit of %s", name,
				    json_string_value(limit));
		else if (limit && strchr(name, '/') && k8s_quantity_milli(v, 0) != k8s_quantity_milli(limit, 0))
			k8s_invalid(e, PATH(path, "requests"), v, "must be equal to %s limit of %s", name, json_string_value(limit));
	}
}

void k8s_validate_resources(const struct k8s_path *path, const json_t *resources, struct k8s_errors *e)
{
	check_resources(path, resources, check_resource_name, e);
}

void k8s_validate_whole_resources(const struct k8s_path *path, const json_t *resources, struct k8s_errors *e)
{
	check_resources(path, resources, check_whole_name, e);
}

/* ---- probes and hooks ---- */

static void check_port_or_name(const struct k8s_path *path, const json_t *port, struct k8s_errors *e)
{
	own_json json_t *zero = json_integer(0);
	if (json_is_string(port))
		k8s_check_rule(e, path, json_string_value(port), k8s_check_port_name);
	else
		k8s_check_port(e, path, port ? port : zero);
}

static void check_http_get(const struct k8s_path *path, const json_t *http, struct k8s_errors *e)
{
	static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
	size_t i;
	json_t *h;
	if (!*str(http, "path"))
		k8s_required(e, PATH(path, "path"), NULL);
	check_port_or_name(PATH(path, "port"), json_object_get(http, "port"), e);
	k8s_check_enum(e, PATH(path, "scheme"), str(http, "scheme"), schemes, true);
	json_array_foreach(json_object_get(http, "httpHeaders"), i, h) {
		const char *name = str(h, "name");
		if (!*name || strpbrk(name, " :\t\r\n()<>@,;\\\"/[]?={}"))
			k8s_invalid_str(e, PATH(PATH(path, "httpHeaders"), "name"), name, "a valid HTTP header must consist of "
					"alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
	}
}

/* probe: also allows grpc; otherwise a lifecycle handler, which allows sleep. */
static void check_handler(const struct k8s_path *path, const json_t *h, bool probe, struct k8s_errors *e)
{
	const char *const kinds[] = {"exec", "httpGet", "tcpSocket", probe ? "grpc" : "sleep"};
	size_t found = 0;
	for (int i = 0; i < 4; i++) {
		const json_t *v = json_object_get(h, kinds[i]);
		const struct k8s_path *at = PATH(path, kinds[i]);
		if (!v)
			continue;
		if (found++) {
			k8s_forbidden(e, at, "may not specify more than 1 handler type");
			continue;
		}
		if (i == 0 && json_array_size(json_object_get(v, "command")) == 0)
			k8s_required(e, PATH(at, "command"), NULL);
		if (i == 1)
			check_http_get(at, v, e);
		if (i == 2 || (i == 3 && probe))
			check_port_or_name(PATH(at, "port"), json_object_get(v, "port"), e);
	}
	if (!found)
		k8s_required(e, path, "must specify a handler type");
}

static void check_probe(const struct k8s_path *path, const json_t *probe, bool success_must_be_1, struct k8s_errors *e)
{
	static const char *const numbers[] = {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
		"failureThreshold"};
	if (!probe)
		return;
	check_handler(path, probe, true, e);
	for (size_t i = 0; i < 5; i++)
		k8s_check_not_negative(e, PATH(path, numbers[i]), json_object_get(probe, numbers[i]));
	if (success_must_be_1 && jpath_int(probe, "successThreshold", 1) != 1)
		k8s_invalid(e, PATH(path, "successThreshold"), json_object_get(probe, "successThreshold"), "must be 1");
	const json_t *grace = json_object_get(probe, "terminationGracePeriodSeconds");
	if (grace && json_integer_value(grace) <= 0)
		k8s_invalid(e, PATH(path, "terminationGracePeriodSeconds"), grace, "must be greater than 0");
}

/* ---- containers ---- */

static void check_security_context(const struct k8s_path *path, const json_t *sc, struct k8s_errors *e)
{
	static const char *const ids[] = {"runAsUser", "runAsGroup"};
	const json_t *escalation = json_object_get(sc, "allowPrivilegeEscalation");
	if (!sc)
		return;
	for (int i = 0; i < 2; i++) {
		const json_t *id = json_object_get(sc, ids[i]);
		if (id && (json_integer_value(id) < 0 || json_integer_value(id) > ID_MAX))
			k8s_invalid(e, PATH(path, ids[i]), id, "must be between 0 and 2147483647, inclusive");
	}
	if (json_is_false(escalation) && jpath_bool(sc, "privileged", false))
		k8s_invalid(e, path, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
}

static void check_image(const struct k8s_path *path, const char *image, struct k8s_errors *e)
{
	size_t n = strlen(image);
	if (n == 0)
		k8s_required(e, path, NULL);
	else if (strchr(" \t\r\n", image[0]) || strchr(" \t\r\n", image[n - 1]))
		k8s_invalid_str(e, path, image, "must not have leading or trailing whitespace");
}

static void check_container(const struct k8s_path *at, const json_t *c, const json_t *volumes, bool init, struct k8s_errors *e)
{
	static const char *const messages[] = {"FallbackToLogsOnError", "File", NULL};
	static const char *const pulls[] = {"Always", "IfNotPresent", "Never", NULL};
	const char *restart = str(c, "restartPolicy");
	bool sidecar = init && !strcmp(restart, "Always");
	if (!*str(c, "name"))
		k8s_required(e, PATH(at, "name"), NULL);
	else
		k8s_check_rule(e, PATH(at, "name"), str(c, "name"), k8s_check_dns_label);
	check_image(PATH(at, "image"), str(c, "image"), e);
	k8s_check_enum(e, PATH(at, "terminationMessagePolicy"), str(c, "terminationMessagePolicy"), messages, true);
	check_ports(PATH(at, "ports"), json_object_get(c, "ports"), e);
	check_env(PATH(at, "env"), json_object_get(c, "env"), e);
	check_env_from(PATH(at, "envFrom"), json_object_get(c, "envFrom"), e);
	check_mounts(PATH(at, "volumeMounts"), c, volumes, e);
	check_devices(PATH(at, "volumeDevices"), c, volumes, e);
	k8s_check_enum(e, PATH(at, "imagePullPolicy"), str(c, "imagePullPolicy"), pulls, true);
	k8s_validate_resources(PATH(at, "resources"), json_object_get(c, "resources"), e);
	check_security_context(PATH(at, "securityContext"), json_object_get(c, "securityContext"), e);
	if (init && !sidecar) {
		static const char *const not_here[] = {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"};
		for (int i = 0; i < 4; i++)
			if (json_object_get(c, not_here[i]))
				k8s_forbidden(e, PATH(at, not_here[i]), "may not be set for init containers without restartPolicy=Always");
		return;
	}
	const json_t *post = jpath_get(c, "lifecycle.postStart"), *pre = jpath_get(c, "lifecycle.preStop");
	if (post)
		check_handler(PATH(PATH(at, "lifecycle"), "postStart"), post, false, e);
	if (pre)
		check_handler(PATH(PATH(at, "lifecycle"), "preStop"), pre, false, e);
	check_probe(PATH(at, "livenessProbe"), json_object_get(c, "livenessProbe"), true, e);
	check_probe(PATH(at, "readinessProbe"), json_object_get(c, "readinessProbe"), false, e);
	check_probe(PATH(at, "startupProbe"), json_object_get(c, "startupProbe"), true, e);
}

static void check_host_port_conflicts(const struct k8s_path *path, const json_t *containers, struct k8s_errors *e)
{
	own_json json_t *taken = json_object();
	size_t i, p;
	json_t *c, *port;
	json_array_foreach(containers, i, c)
		json_array_foreach(json_object_get(c, "ports"), p, port) {
			char key[300];
			if (jpath_int(port, "hostPort", 0) == 0)
				continue;
			snprintf(key, sizeof(key), "%s/%s/%lld", str(port, "protocol"), str(port, "hostIP"), jpath_int(port, "hostPort", 0));
			const struct k8s_path *at = PATH(PATH_AT(path, i), "ports");
			unique(e, PATH(PATH_AT(at, p), "hostPort"), taken, key);
		}
}

void k8s_validate_containers(const struct k8s_path *path, const json_t *containers, const json_t *volumes, const char *role,
			     const json_t *other_names, struct k8s_errors *e)
{
	own_json json_t *names = other_names ? json_copy((json_t *)other_names) : json_object();
	bool init = !strcmp(role, "init");
	size_t i;
	json_t *c;
	if (!*role && json_array_size(containers) == 0)
		k8s_required(e, path, NULL);
	json_array_foreach(containers, i, c) {
		const struct k8s_path *at = PATH_AT(path, i);
		check_container(at, c, volumes, init, e);
		if (*str(c, "name"))
			unique(e, PATH(at, "name"), names, str(c, "name"));
		if (!*role && *str(c, "restartPolicy") && !json_object_get(c, "restartPolicyRules")) {
			static const char *const policies[] = {"Always", "Never", "OnFailure", NULL};
			k8s_check_enum(e, PATH(at, "restartPolicy"), str(c, "restartPolicy"), policies, false);
		}
	}
	if (!init)
		check_host_port_conflicts(path, containers, e);
}
