// SPDX-License-Identifier: Apache-2.0
// Validation of Ingress, IngressClass, NetworkPolicy, EndpointSlice.
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "hooks.h"
#include "name_rules.h"
#include "validate.h"

/* ---- Ingress ---- */

static void check_backend(const struct k8s_path *path, const json_t *backend, struct k8s_errors *e)
{
	const json_t *service = json_object_get(backend, "service"), *resource = json_object_get(backend, "resource");
	const struct k8s_path *at = PATH(path, "service"), *port = PATH(at, "port");
	if (service && resource) {
		k8s_invalid_str(e, path, "", "cannot set both resource and service backends");
		return;
	}
	if (resource)
		return;
	if (!*jpath_str(service, "name", "")) {
		k8s_required(e, PATH(at, "name"), NULL);
		return;
	}
	k8s_check_rule(e, PATH(at, "name"), jpath_str(service, "name", ""), k8s_check_dns1035_label);
	const char *name = jpath_str(service, "port.name", "");
	const json_t *number = jpath_get(service, "port.number");
	if (*name && number)
		k8s_invalid_str(e, port, "", "cannot set both port name & port number");
	else if (*name)
		k8s_check_rule(e, PATH(port, "name"), name, k8s_check_port_name);
	else if (number)
		k8s_check_port(e, PATH(port, "number"), number);
	else
		k8s_required(e, path, "port name or number is required");
}

static void check_paths(const struct k8s_path *path, const json_t *paths, struct k8s_errors *e)
{
	static const char *const types[] = {"Exact", "ImplementationSpecific", "Prefix", NULL};
	size_t i;
	json_t *p;
	if (json_array_size(paths) == 0)
		k8s_required(e, path, NULL);
	json_array_foreach(paths, i, p) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *type = jpath_str(p, "pathType", ""), *text = jpath_str(p, "path", "");
		if (!*type)
			k8s_required(e, PATH(at, "pathType"), "pathType must be specified");
		else if (k8s_check_enum(e, PATH(at, "pathType"), type, types, true) && (strcmp(type, "ImplementationSpecific") || *text) &&
			 *text != '/')
			k8s_invalid_str(e, PATH(at, "path"), text, "must be an absolute path");
		check_backend(PATH(at, "backend"), json_object_get(p, "backend"), e);
	}
}

static void check_host(const struct k8s_path *path, const char *host, struct k8s_errors *e)
{
	unsigned char address[16];
	if (inet_pton(AF_INET, host, address) == 1)
		k8s_invalid_str(e, path, host, "must be a DNS name, not an IP address");
	else
		k8s_check_rule(e, path, !strncmp(host, "*.", 2) ? host + 2 : host, k8s_check_dns_subdomain);
}

void k8s_validate_ingress(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const json_t *spec = json_object_get(obj, "spec"), *rules = json_object_get(spec, "rules");
	const struct k8s_path *path = PATH_ROOT("spec");
	own_json json_t *none = json_array();
	size_t i, h;
	json_t *v, *host;
	(void)old;
	if (json_array_size(rules) == 0 && !json_object_get(spec, "defaultBackend"))
		k8s_invalid(e, path, rules ? rules : none, "either `defaultBackend` or `rules` must be specified");
	if (json_object_get(spec, "defaultBackend"))
		check_backend(PATH(path, "defaultBackend"), json_object_get(spec, "defaultBackend"), e);
	json_array_foreach(rules, i, v) {
		const struct k8s_path *at = PATH_AT(PATH(path, "rules"), i);
		if (*jpath_str(v, "host", ""))
			check_host(PATH(at, "host"), jpath_str(v, "host", ""), e);
		if (json_object_get(v, "http"))
			check_paths(PATH(PATH(at, "http"), "paths"), jpath_get(v, "http.paths"), e);
	}
	json_array_foreach(json_object_get(spec, "tls"), i, v) {
		const struct k8s_path *at = PATH_AT(PATH(path, "tls"), i);
		json_array_foreach(json_object_get(v, "hosts"), h, host)
			check_host(PATH_AT(PATH(at, "hosts"), h), jpath_str(host, "", ""), e);
	}
	if (json_object_get(spec, "ingressClassName"))
		k8s_check_rule(e, PATH(path, "ingressClassName"), jpath_str(spec, "ingressClassName", ""), k8s_check_dns_subdomain);
}

void k8s_validate_ingressclass(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH_ROOT("spec");
	const char *controller = jpath_str(obj, "spec.controller", "");
	if (!*controller)
		k8s_required(e, PATH(path, "controller"), NULL);
	else if (!strchr(controller, '/'))
		k8s_invalid_str(e, PATH(path, "controller"), controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
	if (old)
		k8s_check_immutable(e, PATH(path, "controller"), jpath_get(obj, "spec.controller"), jpath_get(old, "spec.controller"));
}

/* ---- NetworkPolicy ---- */

static bool is_cidr(const char *text)
{
	char copy[64];
	unsigned char address[16];
	const char *slash = strchr(text, '/');
	if (!slash || slash - text >= (ptrdiff_t)sizeof(copy))
		return false;
	memcpy(copy, text, (size_t)(slash - text));
	copy[slash - text] = '\0';
	int family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	size_t digits = strspn(slash + 1, "0123456789");
	return inet_pton(family, copy, address) == 1 && digits > 0 && digits <= 3 && !slash[1 + digits] &&
	       atoi(slash + 1) <= (family == AF_INET ? 32 : 128);
}

static void check_peer(const struct k8s_path *at, const json_t *peer, struct k8s_errors *e)
{
	const json_t *block = json_object_get(peer, "ipBlock");
	const char *cidr = jpath_str(block, "cidr", "");
	size_t i;
	json_t *except;
	k8s_check_label_selector(e, PATH(at, "podSelector"), json_object_get(peer, "podSelector"));
	k8s_check_label_selector(e, PATH(at, "namespaceSelector"), json_object_get(peer, "namespaceSelector"));
	if (json_object_size(peer) == 0)
		k8s_required(e, at, "must specify a peer");
	if (!block)
		return;
	if (json_object_size(peer) > 1)
		k8s_forbidden(e, at, "may not specify both ipBlock and another peer");
	if (!*cidr)
		k8s_required(e, PATH(PATH(at, "ipBlock"), "cidr"), NULL);
	else if (!is_cidr(cidr))
		k8s_invalid_str(e, PATH(PATH(at, "ipBlock"), "cidr"), cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
	json_array_foreach(json_object_get(block, "except"), i, except)
		if (!is_cidr(jpath_str(except, "", "")))
			k8s_invalid_str(e, PATH_AT(PATH(PATH(at, "ipBlock"), "except"), i), jpath_str(except, "", ""),
					"must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

static void check_policy_port(const struct k8s_path *at, const json_t *port, struct k8s_errors *e)
{
	static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
	const json_t *number = json_object_get(port, "port"), *end = json_object_get(port, "endPort");
	k8s_check_enum(e, PATH(at, "protocol"), jpath_str(port, "protocol", ""), protocols, false);
	if (json_is_string(number))
		k8s_check_rule(e, PATH(at, "port"), json_string_value(number), k8s_check_port_name);
	else
		k8s_check_port(e, PATH(at, "port"), number);
	if (end && !json_is_integer(number))
		k8s_invalid(e, PATH(at, "endPort"), end, "may not be specified when `port` is %s", number ? "non-numeric" : "not specified");
	else if (end && json_integer_value(end) < json_integer_value(number))
		k8s_invalid(e, PATH(at, "endPort"), end, "must be greater than or equal to `port`");
}

void k8s_warn_networkpolicy(const json_t *obj, json_t *texts)
{
	(void)obj;
	json_array_append_new(texts, json_string("NetworkPolicies are kept but not enforced by Bulkhead: the traffic of pods is not filtered"));
}

void k8s_validate_networkpolicy(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const lists[][2] = {{"ingress", "from"}, {"egress", "to"}};
	static const char *const types[] = {"Egress", "Ingress", NULL};
	const json_t *spec = json_object_get(obj, "spec");
	const struct k8s_path *path = PATH_ROOT("spec");
	size_t i, j;
	json_t *rule, *v;
	(void)old;
	k8s_check_label_selector(e, PATH(path, "podSelector"), json_object_get(spec, "podSelector"));
	for (int l = 0; l < 2; l++)
		json_array_foreach(json_object_get(spec, lists[l][0]), i, rule) {
			const struct k8s_path *at = PATH_AT(PATH(path, lists[l][0]), i);
			json_array_foreach(json_object_get(rule, "ports"), j, v)
				check_policy_port(PATH_AT(PATH(at, "ports"), j), v, e);
			json_array_foreach(json_object_get(rule, lists[l][1]), j, v)
				check_peer(PATH_AT(PATH(at, lists[l][1]), j), v, e);
		}
	if (json_array_size(json_object_get(spec, "policyTypes")) > 2)
		k8s_invalid(e, PATH(path, "policyTypes"), json_object_get(spec, "policyTypes"), "may not specify more than two policyTypes");
	json_array_foreach(json_object_get(spec, "policyTypes"), i, v)
		k8s_check_enum(e, PATH_AT(PATH(path, "policyTypes"), i), jpath_str(v, "", ""), types, true);
}

/* ---- Endpoints, EndpointSlice ---- */

static void check_endpoint_ports(const struct k8s_path *path, const json_t *ports, struct k8s_errors *e)
{
	static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
	size_t i;
	json_t *port;
	json_array_foreach((json_t *)ports, i, port) {
		const struct k8s_path *at = PATH_AT(path, i);
		const char *name = jpath_str(port, "name", "");
		own_json json_t *none = json_integer(0);
		if (*name)
			k8s_check_rule(e, PATH(at, "name"), name, k8s_check_dns_label);
		else if (json_array_size(ports) > 1)
			k8s_required(e, PATH(at, "name"), NULL);
		k8s_check_port(e, PATH(at, "port"), json_object_get(port, "port") ? json_object_get(port, "port") : none);
		k8s_check_enum(e, PATH(at, "protocol"), jpath_str(port, "protocol", ""), protocols, true);
	}
}

void k8s_validate_endpoints(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const lists[] = {"addresses", "notReadyAddresses"};
	size_t i, a;
	json_t *subset, *address;
	(void)old;
	json_array_foreach(json_object_get(obj, "subsets"), i, subset) {
		const struct k8s_path *at = PATH_AT(PATH_ROOT("subsets"), i);
		if (!json_array_size(json_object_get(subset, lists[0])) && !json_array_size(json_object_get(subset, lists[1])))
			k8s_required(e, at, "must specify `addresses` or `notReadyAddresses`");
		for (int l = 0; l < 2; l++)
			json_array_foreach(json_object_get(subset, lists[l]), a, address)
				k8s_check_rule(e, PATH(PATH_AT(PATH(at, lists[l]), a), "ip"), jpath_str(address, "ip", ""), k8s_check_ip);
		check_endpoint_ports(PATH(at, "ports"), json_object_get(subset, "ports"), e);
	}
}

void k8s_validate_endpointslice(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	static const char *const types[] = {"FQDN", "IPv4", "IPv6", NULL};
	const char *type = jpath_str(obj, "addressType", "");
	const json_t *endpoints = json_object_get(obj, "endpoints");
	size_t i, a;
	json_t *endpoint, *address;
	k8s_check_enum(e, PATH_ROOT("addressType"), type, types, true);
	if (json_array_size(endpoints) > 1000)
		k8s_too_many(e, PATH_ROOT("endpoints"), json_array_size(endpoints), 1000);
	json_array_foreach(endpoints, i, endpoint) {
		const struct k8s_path *at = PATH(PATH_AT(PATH_ROOT("endpoints"), i), "addresses");
		const json_t *addresses = json_object_get(endpoint, "addresses");
		if (json_array_size(addresses) == 0)
			k8s_required(e, at, "must contain at least 1 address");
		json_array_foreach(addresses, a, address)
			k8s_check_rule(e, PATH_AT(at, a), jpath_str(address, "", ""), strcmp(type, "FQDN") ? k8s_check_ip :
				       k8s_check_dns_subdomain);
	}
	if (old)
		k8s_check_immutable(e, PATH_ROOT("addressType"), json_object_get(obj, "addressType"), json_object_get(old, "addressType"));
}
