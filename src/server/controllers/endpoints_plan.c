// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/endpoints_plan.h"

#include <string.h>

#include "base/jpath.h"
#include "server/meta.h"

bool endpoints_selects(const json_t *selector, const json_t *labels)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)selector, key, v)
		if (!json_equal(v, json_object_get(labels, key)))
			return false;
	return true;
}

static bool is_ready(const json_t *pod)
{
	json_t *c;
	size_t i;

	json_array_foreach(jpath_get(pod, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), "Ready"))
			return !strcmp(jpath_str(c, "status", ""), "True");
	return false;
}

/* Has an address, and has not ended. */
static bool counts(const json_t *pod)
{
	const char *phase = jpath_str(pod, "status.phase", "");

	return *jpath_str(pod, "status.podIP", "") && strcmp(phase, "Succeeded") && strcmp(phase, "Failed");
}

/* --- ports --- */

static long long named_port(const json_t *pod, const char *name, const char *protocol)
{
	json_t *c, *p;
	size_t i, k;

	json_array_foreach(jpath_get(pod, "spec.containers"), i, c)
		json_array_foreach(json_object_get(c, "ports"), k, p)
			if (!strcmp(jpath_str(p, "name", ""), name) && !strcmp(jpath_str(p, "protocol", "TCP"), protocol))
				return jpath_int(p, "containerPort", -1);
	return -1;
}

static long long target_port(const json_t *port, const json_t *pod)
{
	const json_t *target = json_object_get(port, "targetPort");

	if (json_is_string(target))
		return named_port(pod, json_string_value(target), jpath_str(port, "protocol", "TCP"));
	return json_is_integer(target) && json_integer_value(target) ? json_integer_value(target) : jpath_int(port, "port", -1);
}

/* The Service's ports as this pod offers them; new. */
static json_t *ports_of(const json_t *service, const json_t *pod, bool for_slice)
{
	json_t *out = json_array(), *port, *p;
	size_t i;

	json_array_foreach(jpath_get(service, "spec.ports"), i, port) {
		long long number = target_port(port, pod);
		const char *name = jpath_str(port, "name", "");
		if (number < 0)
			continue;
		p = json_pack("{s:I,s:s}", "port", (json_int_t)number, "protocol", jpath_str(port, "protocol", "TCP"));
		if (*name || for_slice)
			json_object_set_new(p, "name", json_string(name));
		if (*jpath_str(port, "appProtocol", ""))
			json_object_set(p, "appProtocol", json_object_get(port, "appProtocol"));
		json_array_append_new(out, p);
	}
	return out;
}

/* --- addresses --- */

static json_t *reference(const json_t *pod)
{
	return json_pack("{s:s,s:s,s:s,s:s}", "kind", "Pod", "namespace", jpath_str(pod, "metadata.namespace", ""), "name",
			 jpath_str(pod, "metadata.name", ""), "uid", jpath_str(pod, "metadata.uid", ""));
}

/* Name and node, which both forms say in the same way. */
static json_t *decorate(json_t *e, const json_t *service, const json_t *pod)
{
	const char *host = jpath_str(pod, "spec.hostname", ""), *node = jpath_str(pod, "spec.nodeName", "");

	if (*node)
		json_object_set_new(e, "nodeName", json_string(node));
	if (*host && !strcmp(jpath_str(pod, "spec.subdomain", ""), jpath_str(service, "metadata.name", "")))
		json_object_set_new(e, "hostname", json_string(host));
	json_object_set_new(e, "targetRef", reference(pod));
	return e;
}

static json_t *endpoint(const json_t *service, const json_t *pod)
{
	bool serving = is_ready(pod), ending = meta_is_deleting(pod), always = jpath_bool(service, "spec.publishNotReadyAddresses", false);

	return decorate(json_pack("{s:[s],s:{s:b,s:b,s:b}}", "addresses", jpath_str(pod, "status.podIP", ""), "conditions", "ready",
				  always || (serving && !ending), "serving", serving, "terminating", ending), service, pod);
}

/* --- slices --- */

static json_t *new_slice(json_t *slices, const char *type, json_t *ports)
{
	json_t *s = json_pack("{s:s,s:O,s:[]}", "addressType", type, "ports", ports, "endpoints");

	json_array_append_new(slices, s);
	return s;
}

/* The last slice with these ports if it has room, else a new one. */
static json_t *slice_for(json_t *slices, const char *type, json_t *ports)
{
	for (size_t i = json_array_size(slices); i-- > 0;) {
		json_t *s = json_array_get(slices, i);
		if (!strcmp(jpath_str(s, "addressType", ""), type) && json_equal(json_object_get(s, "ports"), ports) &&
		    json_array_size(json_object_get(s, "endpoints")) < ENDPOINTS_PER_SLICE)
			return s;
	}
	return new_slice(slices, type, ports);
}

static const char *address_type(const char *ip)
{
	return strchr(ip, ':') ? "IPv6" : "IPv4";
}

json_t *endpoints_slices(const json_t *service, const json_t *pods)
{
	json_t *slices = json_array(), *pod;
	size_t i;

	json_array_foreach((json_t *)pods, i, pod) {
		own_json json_t *ports = counts(pod) ? ports_of(service, pod, true) : NULL;
		if (ports)
			json_array_append_new(json_object_get(slice_for(slices, address_type(jpath_str(pod, "status.podIP", "")), ports),
							      "endpoints"), endpoint(service, pod));
	}
	if (!json_array_size(slices)) {
		own_json json_t *none = json_array();
		const char *family = json_string_value(json_array_get(jpath_get(service, "spec.ipFamilies"), 0));
		new_slice(slices, family ? family : "IPv4", none);
	}
	return slices;
}

/* --- subsets --- */

static json_t *subset_for(json_t *subsets, json_t *ports)
{
	json_t *s;
	size_t i;

	json_array_foreach(subsets, i, s)
		if (json_equal(json_object_get(s, "ports"), ports) || (!json_array_size(ports) && !json_object_get(s, "ports")))
			return s;
	s = json_object();
	if (json_array_size(ports))
		json_object_set(s, "ports", ports);
	json_array_append_new(subsets, s);
	return s;
}

json_t *endpoints_subsets(const json_t *service, const json_t *pods)
{
	bool always = jpath_bool(service, "spec.publishNotReadyAddresses", false);
	json_t *subsets = json_array(), *pod;
	size_t i, n = 0;

	json_array_foreach((json_t *)pods, i, pod) {
		own_json json_t *ports = NULL;
		const char *list = always || is_ready(pod) ? "addresses" : "notReadyAddresses";
		json_t *subset, *address;
		if (!counts(pod) || (meta_is_deleting(pod) && !always) || n++ >= ENDPOINTS_MAX)
			continue;
		ports = ports_of(service, pod, false);
		subset = subset_for(subsets, ports);
		if (!json_object_get(subset, list))
			json_object_set_new(subset, list, json_array());
		address = json_pack("{s:s}", "ip", jpath_str(pod, "status.podIP", ""));
		json_array_append_new(json_object_get(subset, list), decorate(address, service, pod));
	}
	return subsets;
}
