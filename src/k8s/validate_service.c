// SPDX-License-Identifier: Apache-2.0
// Validation of services.
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "name_rules.h"
#include "validate.h"

static const char *str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));
	return s ? s : "";
}

static void check_target(const struct k8s_path *path, const json_t *target, struct k8s_errors *e)
{
	if (json_is_string(target))
		k8s_check_rule(e, path, json_string_value(target), k8s_check_port_name);
	else
		k8s_check_port(e, path, target);
}

static void check_ports(const struct k8s_path *path, const json_t *ports, bool headless, struct k8s_errors *e)
{
	static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
	own_json json_t *names = json_object(), *numbers = json_object(), *zero = json_integer(0);
	size_t i;
	json_t *p;
	json_array_foreach(ports, i, p) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *name = str(p, "name");
		char key[64];
		if (!*name && json_array_size(ports) > 1)
			k8s_required(e, PATH(at, "name"), NULL);
		else if (*name && k8s_check_rule(e, PATH(at, "name"), name, k8s_check_dns_label) && json_object_get(names, name))
			k8s_duplicate_str(e, PATH(at, "name"), name);
		json_object_set_new(names, name, json_true());
		k8s_check_port(e, PATH(at, "port"), json_object_get(p, "port") ? json_object_get(p, "port") : zero);
		k8s_check_enum(e, PATH(at, "protocol"), str(p, "protocol"), protocols, true);
		if (!headless || json_is_string(json_object_get(p, "targetPort")))
			check_target(PATH(at, "targetPort"), json_object_get(p, "targetPort"), e);
		if (jpath_int(p, "nodePort", 0))
			k8s_check_port(e, PATH(at, "nodePort"), json_object_get(p, "nodePort"));
		snprintf(key, sizeof(key), "%s/%lld", str(p, "protocol"), jpath_int(p, "port", 0));
		if (json_object_get(numbers, key)) {
			own_json json_t *shown = json_pack("{s:I,s:s}", "port", (json_int_t)jpath_int(p, "port", 0), "protocol", str(p, "protocol"));
			k8s_duplicate(e, at, shown);
		}
		json_object_set_new(numbers, key, json_true());
	}
}

static void check_cluster_ip(const struct k8s_path *path, const json_t *spec, const char *type, struct k8s_errors *e)
{
	const char *ip = str(spec, "clusterIP");
	bool none = !strcmp(ip, "None");
	if (!strcmp(type, "ExternalName") && *ip)
		k8s_forbidden(e, PATH(path, "clusterIPs"), "may not be set when `type` is 'ExternalName'");
	else if (none && (!strcmp(type, "NodePort") || !strcmp(type, "LoadBalancer")))
		k8s_invalid_str(e, PATH(path, "clusterIPs[0]"), ip, "may not be set to 'None' for %s services", type);
	else if (*ip && !none && strcmp(type, "ExternalName"))
		k8s_check_rule(e, PATH(path, "clusterIPs[0]"), ip, k8s_check_ip);
}

void k8s_validate_service(const json_t *svc, const json_t *old, struct k8s_errors *e)
{
	static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
	static const char *const affinities[] = {"ClientIP", "None", NULL};
	static const char *const policies[] = {"Cluster", "Local", NULL};
	const json_t *spec = json_object_get(svc, "spec"), *ports = json_object_get(spec, "ports");
	const struct k8s_path *path = PATH_ROOT("spec");
	const char *type = str(spec, "type"), *name = str(spec, "externalName");
	bool headless = !strcmp(str(spec, "clusterIP"), "None"), external = !strcmp(type, "ExternalName");
	size_t i;
	json_t *ip;
	if (json_array_size(ports) == 0 && !headless && !external)
		k8s_required(e, PATH(path, "ports"), NULL);
	if (external && !*name)
		k8s_required(e, PATH(path, "externalName"), NULL);
	else if (external)
		k8s_check_rule(e, PATH(path, "externalName"), name, k8s_check_dns_subdomain);
	k8s_check_enum(e, PATH(path, "type"), type, types, true);
	check_cluster_ip(path, spec, type, e);
	check_ports(PATH(path, "ports"), ports, headless, e);
	k8s_check_labels(e, PATH(path, "selector"), json_object_get(spec, "selector"));
	k8s_check_enum(e, PATH(path, "sessionAffinity"), str(spec, "sessionAffinity"), affinities, true);
	k8s_check_enum(e, PATH(path, "externalTrafficPolicy"), str(spec, "externalTrafficPolicy"), policies, false);
	k8s_check_enum(e, PATH(path, "internalTrafficPolicy"), str(spec, "internalTrafficPolicy"), policies, false);
	json_array_foreach(json_object_get(spec, "externalIPs"), i, ip)
		k8s_check_rule(e, PATH_AT(PATH(path, "externalIPs"), i), json_string_value(ip), k8s_check_ip);
	const char *before = jpath_str(old, "spec.clusterIP", ""), *old_type = jpath_str(old, "spec.type", "");
	if (old && *before && !external && strcmp(old_type, "ExternalName") && strcmp(before, str(spec, "clusterIP"))) {
		own_json json_t *now = json_string(str(spec, "clusterIP"));
		k8s_invalid(e, PATH(path, "clusterIPs[0]"), now, "may not change once set");
	}
}
