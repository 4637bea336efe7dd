// SPDX-License-Identifier: Apache-2.0
// Validation of pods and pod templates.
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

static void check_optional(const struct k8s_path *path, const json_t *spec, const char *key, const char *(*rule)(const char *),
			   struct k8s_errors *e)
{
	if (*str(spec, key))
		k8s_check_rule(e, PATH(path, key), str(spec, key), rule);
}

static void check_dns(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	static const char *const policies[] = {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", NULL};
	const char *policy = str(spec, "dnsPolicy");
	const json_t *config = json_object_get(spec, "dnsConfig"), *servers = json_object_get(config, "nameservers");
	const json_t *searches = json_object_get(config, "searches");
	const struct k8s_path *at = PATH(path, "dnsConfig");
	size_t i;
	json_t *v;
	k8s_check_enum(e, PATH(path, "dnsPolicy"), policy, policies, true);
	if (!strcmp(policy, "None") && !config)
		k8s_required(e, at, "must provide `dnsConfig` when `dnsPolicy` is None");
	else if (!strcmp(policy, "None") && json_array_size(servers) == 0)
		k8s_required(e, PATH(at, "nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (json_array_size(servers) > 3)
		k8s_invalid(e, PATH(at, "nameservers"), servers, "must not have more than 3 nameservers");
	json_array_foreach(servers, i, v)
		k8s_check_rule(e, PATH_AT(PATH(at, "nameservers"), i), json_string_value(v), k8s_check_ip);
	if (json_array_size(searches) > 32)
		k8s_invalid(e, PATH(at, "searches"), searches, "must not have more than 32 search paths");
	json_array_foreach(searches, i, v) {
		own_free char *domain = strdup(json_string_value(v));
		size_t n = domain ? strlen(domain) : 0;
		if (n > 1 && domain[n - 1] == '.')
			domain[n - 1] = '\0';
		if (domain && strcmp(domain, "."))
			k8s_check_rule(e, PATH_AT(PATH(at, "searches"), i), domain, k8s_check_dns_subdomain);
	}
	json_array_foreach(json_object_get(config, "options"), i, v)
		if (!*str(v, "name"))
			k8s_required(e, PATH_AT(PATH(at, "options"), i), "must not be empty");
}

static void check_security_context(const struct k8s_path *path, const json_t *sc, struct k8s_errors *e)
{
	static const char *const ids[] = {"runAsUser", "runAsGroup", "fsGroup"};
	size_t i;
	json_t *v;
	for (int n = 0; n < 3; n++) {
		const json_t *id = json_object_get(sc, ids[n]);
		if (id && (json_integer_value(id) < 0 || json_integer_value(id) > ID_MAX))
			k8s_invalid(e, PATH(path, ids[n]), id, "must be between 0 and 2147483647, inclusive");
	}
	json_array_foreach(json_object_get(sc, "supplementalGroups"), i, v)
		if (json_integer_value(v) < 0 || json_integer_value(v) > ID_MAX)
			k8s_invalid(e, PATH_AT(PATH(path, "supplementalGroups"), i), v, "must be between 0 and 2147483647, inclusive");
	own_json json_t *names = json_object();
	json_array_foreach(json_object_get(sc, "sysctls"), i, v) {
		const struct k8s_path *at = PATH_AT(PATH(path, "sysctls"), i);
		if (!*str(v, "name"))
			k8s_required(e, PATH(at, "name"), NULL);
		else if (json_object_get(names, str(v, "name")))
			k8s_duplicate_str(e, PATH(at, "name"), str(v, "name"));
		json_object_set_new(names, str(v, "name"), json_true());
	}
}

static void check_host_aliases(const struct k8s_path *path, const json_t *aliases, struct k8s_errors *e)
{
	size_t i, h;
	json_t *alias, *name;
	json_array_foreach(aliases, i, alias) {
		const struct k8s_path *at = PATH_AT(path, i);
		k8s_check_rule(e, PATH(at, "ip"), str(alias, "ip"), k8s_check_ip);
		json_array_foreach(json_object_get(alias, "hostnames"), h, name)
			k8s_check_rule(e, PATH_AT(PATH(at, "hostnames"), h), json_string_value(name), k8s_check_dns_subdomain);
	}
}

static void check_lists(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	own_json json_t *gates = json_object();
	size_t i;
	json_t *v;
	json_array_foreach(json_object_get(spec, "imagePullSecrets"), i, v)
		if (!*str(v, "name"))
			k8s_required(e, PATH(PATH_AT(PATH(path, "imagePullSecrets"), i), "name"), NULL);
	json_array_foreach(json_object_get(spec, "readinessGates"), i, v)
		k8s_check_rule(e, PATH(PATH_AT(PATH(path, "readinessGates"), i), "conditionType"), str(v, "conditionType"),
			       k8s_check_qualified_name);
	json_array_foreach(json_object_get(spec, "schedulingGates"), i, v) {
		const struct k8s_path *at = PATH_AT(PATH(path, "schedulingGates"), i);
		k8s_check_rule(e, at, str(v, "name"), k8s_check_qualified_name);
		if (json_object_get(gates, str(v, "name")))
			k8s_duplicate_str(e, at, str(v, "name"));
		json_object_set_new(gates, str(v, "name"), json_true());
	}
}

static void check_policies(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	static const char *const restarts[] = {"Always", "OnFailure", "Never", NULL};
	static const char *const preemptions[] = {"Never", "PreemptLowerPriority", NULL};
	static const char *const systems[] = {"linux", "windows", NULL};
	const json_t *deadline = json_object_get(spec, "activeDeadlineSeconds"), *amount;
	const char *name;
	k8s_check_enum(e, PATH(path, "restartPolicy"), str(spec, "restartPolicy"), restarts, true);
	k8s_check_enum(e, PATH(path, "preemptionPolicy"), str(spec, "preemptionPolicy"), preemptions, false);
	k8s_check_enum(e, PATH(PATH(path, "os"), "name"), jpath_str(spec, "os.name", ""), systems, json_object_get(spec, "os") != NULL);
	if (deadline && (json_integer_value(deadline) < 1 || json_integer_value(deadline) > ID_MAX))
		k8s_invalid(e, PATH(path, "activeDeadlineSeconds"), deadline, "must be between 1 and 2147483647, inclusive");
	json_object_foreach(json_object_get(spec, "overhead"), name, amount)
		if (k8s_quantity_milli(amount, 0) < 0)
			k8s_invalid(e, PATH_KEY(PATH(path, "overhead"), name), amount, "must be greater than or equal to 0");
}

static json_t *container_names(const json_t *list)
{
	json_t *names = json_object(), *c;
	size_t i;
	json_array_foreach(list, i, c)
		json_object_set_new(names, str(c, "name"), json_true());
	return names;
}

/* Ports of the host's network are the containers' own. */
static void check_host_network(const struct k8s_path *path, const json_t *containers, struct k8s_errors *e)
{
	size_t i, p;
	json_t *c, *port;
	json_array_foreach(containers, i, c)
		json_array_foreach(json_object_get(c, "ports"), p, port) {
			const struct k8s_path *at = PATH(PATH_AT(path, i), "ports");
			const json_t *host = json_object_get(port, "hostPort");
			if (host && !json_equal(host, json_object_get(port, "containerPort")))
				k8s_invalid(e, PATH(PATH_AT(at, p), "hostPort"), host, "must match `containerPort` when `hostNetwork` is true");
		}
}

/* A pod whose containers are not restarted cannot have one restarted for its size. */
static void check_resize_policy(const struct k8s_path *path, const json_t *containers, bool never, struct k8s_errors *e)
{
	static const char *const resources[] = {"cpu", "memory", NULL}, *const policies[] = {"NotRequired", "RestartContainer", NULL};
	size_t i, k;
	json_t *c, *p;
	json_array_foreach(containers, i, c) {
		const struct k8s_path *at = PATH(PATH_AT(path, i), "resizePolicy");
		own_json json_t *seen = json_object();
		json_array_foreach(json_object_get(c, "resizePolicy"), k, p) {
			const char *name = jpath_str(p, "resourceName", ""), *policy = jpath_str(p, "restartPolicy", "");
			if (json_object_get(seen, name))
				k8s_duplicate_str(e, at, name);
			json_object_set_new(seen, name, json_true());
			k8s_check_enum(e, at, name, resources, true);
			if (k8s_check_enum(e, at, policy, policies, true) && never && strcmp(policy, "NotRequired"))
				k8s_invalid_str(e, at, policy, "must be 'NotRequired' when `restartPolicy` is 'Never'");
		}
	}
}

void k8s_validate_pod_spec(const struct k8s_path *path, const json_t *spec, const json_t *meta, struct k8s_errors *e)
{
	const json_t *volumes = json_object_get(spec, "volumes"), *containers = json_object_get(spec, "containers");
	own_json json_t *names = container_names(containers);
	(void)meta;
	k8s_validate_volumes(PATH(path, "volumes"), volumes, e);
	k8s_validate_containers(PATH(path, "containers"), containers, volumes, "", NULL, e);
	k8s_validate_containers(PATH(path, "initContainers"), json_object_get(spec, "initContainers"), volumes, "init", names, e);
	bool never = !strcmp(jpath_str(spec, "restartPolicy", ""), "Never");
	check_resize_policy(PATH(path, "containers"), containers, never, e);
	check_resize_policy(PATH(path, "initContainers"), json_object_get(spec, "initContainers"), never, e);
	if (jpath_bool(spec, "hostNetwork", false))
		check_host_network(PATH(path, "containers"), containers, e);
	k8s_validate_pod_resources(PATH(path, "resources"), spec, e);
	check_policies(path, spec, e);
	check_dns(path, spec, e);
	k8s_check_labels(e, PATH(path, "nodeSelector"), json_object_get(spec, "nodeSelector"));
	check_security_context(PATH(path, "securityContext"), json_object_get(spec, "securityContext"), e);
	check_lists(path, spec, e);
	k8s_validate_affinity(PATH(path, "affinity"), json_object_get(spec, "affinity"), e);
	check_optional(path, spec, "serviceAccountName", k8s_check_dns_subdomain, e);
	check_optional(path, spec, "nodeName", k8s_check_dns_subdomain, e);
	check_optional(path, spec, "hostname", k8s_check_dns_label, e);
	check_optional(path, spec, "subdomain", k8s_check_dns_label, e);
	check_optional(path, spec, "priorityClassName", k8s_check_dns_subdomain, e);
	check_optional(path, spec, "runtimeClassName", k8s_check_dns_subdomain, e);
	check_optional(path, spec, "schedulerName", k8s_check_qualified_name, e);
	k8s_validate_tolerations(PATH(path, "tolerations"), json_object_get(spec, "tolerations"), e);
	k8s_validate_topology_spread(PATH(path, "topologySpreadConstraints"), json_object_get(spec, "topologySpreadConstraints"), e);
	check_host_aliases(PATH(path, "hostAliases"), json_object_get(spec, "hostAliases"), e);
}

void k8s_validate_pod_template(const struct k8s_path *path, const json_t *template_, struct k8s_errors *e)
{
	const struct k8s_path *meta = PATH(path, "metadata"), *spec = PATH(path, "spec");
	const json_t *ephemeral = jpath_get(template_, "spec.ephemeralContainers");
	k8s_check_labels(e, PATH(meta, "labels"), jpath_get(template_, "metadata.labels"));
	k8s_check_annotations(e, PATH(meta, "annotations"), jpath_get(template_, "metadata.annotations"));
	k8s_validate_pod_spec(spec, json_object_get(template_, "spec"), json_object_get(template_, "metadata"), e);
	if (json_array_size(ephemeral))
		k8s_forbidden(e, PATH(spec, "ephemeralContainers"), "ephemeral containers not allowed in pod template");
}

void k8s_validate_pod(const json_t *pod, const json_t *old, struct k8s_errors *e)
{
	const json_t *spec = json_object_get(pod, "spec");
	if (old) {
		k8s_validate_pod_update(pod, old, e);
		return;
	}
	k8s_validate_pod_spec(PATH_ROOT("spec"), spec, json_object_get(pod, "metadata"), e);
	/* Subresources are validated without what was before; only a pod that is new has no version. */
	if (json_array_size(json_object_get(spec, "ephemeralContainers")) && !*jpath_str(pod, "metadata.resourceVersion", ""))
		k8s_forbidden(e, PATH(PATH_ROOT("spec"), "ephemeralContainers"), "cannot be set on create");
}

void k8s_create_pod(json_t *pod)
{
	json_object_set_new(pod, "status", json_pack("{s:s,s:s}", "phase", "Pending", "qosClass", k8s_pod_qos(pod)));
}

void k8s_validate_podtemplate(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	(void)old;
	k8s_validate_pod_template(PATH_ROOT("template"), json_object_get(obj, "template"), e);
}
