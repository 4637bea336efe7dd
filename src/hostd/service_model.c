// SPDX-License-Identifier: Apache-2.0
#include "service_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cidr.h"
#include "base/jpath.h"

#define NAME_LABEL "kubernetes.io/service-name"

static int compare(const char *ns, size_t ns_len, const char *name, size_t name_len, const struct service *s)
{
	int c = strncmp(ns, s->ns, ns_len);
	if (!c)
		c = s->ns[ns_len] ? -1 : strncmp(name, s->name, name_len);
	return c ? c : s->name[name_len] ? -1 : 0;
}

static int by_name(const void *a, const void *b)
{
	const struct service *x = a, *y = b;
	int c = strcmp(x->ns, y->ns);
	return c ? c : strcmp(x->name, y->name);
}

const struct service *service_model_find(const struct service_model *m, const char *ns, size_t ns_len, const char *name, size_t name_len)
{
	size_t low = 0, high = m->count;
	if (ns_len >= sizeof(m->services->ns) || name_len >= sizeof(m->services->name))
		return NULL;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = compare(ns, ns_len, name, name_len, &m->services[mid]);
		if (!c)
			return &m->services[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static bool fits(char *out, size_t size, const char *text)
{
	return strlen(text) < size && strcpy(out, text);
}

static void add_public(struct service *s, const char *text)
{
	uint32_t addr;
	if (s->public_count < SERVICE_PUBLIC_MAX && cidr_addr(text, &addr))
		s->public_addrs[s->public_count++] = addr;
}

static bool read_ports(struct service *s, const json_t *ports)
{
	size_t n = json_array_size(ports), i;
	json_t *p;
	s->ports = calloc(n ? n : 1, sizeof(*s->ports));
	if (!s->ports)
		return false;
	json_array_foreach((json_t *)ports, i, p) {
		struct service_port *out = &s->ports[s->ports_count];
		const char *protocol = jpath_str(p, "protocol", "TCP");
		long long port = jpath_int(p, "port", 0), node_port = jpath_int(p, "nodePort", 0);
		bool tcp = !strcmp(protocol, "TCP");
		if ((!tcp && strcmp(protocol, "UDP")) || port < 1 || port > 65535 || node_port < 0 || node_port > 65535 ||
		    !fits(out->name, sizeof(out->name), jpath_str(p, "name", "")))
			continue;
		out->tcp = tcp, out->port = (uint16_t)port, out->node_port = (uint16_t)node_port;
		s->ports_count++;
	}
	return true;
}

/* False: no memory. s is left with an empty name when the object is not usable. */
static bool read_service(struct service *s, const json_t *obj)
{
	const json_t *spec = json_object_get(obj, "spec");
	const char *type = jpath_str(spec, "type", "ClusterIP"), *ip = jpath_str(spec, "clusterIP", "");
	size_t i;
	json_t *v;
	if (!fits(s->ns, sizeof(s->ns), jpath_str(obj, "metadata.namespace", "")) ||
	    !fits(s->name, sizeof(s->name), jpath_str(obj, "metadata.name", "")) || !s->name[0]) {
		s->name[0] = '\0';
		return true;
	}
	if (!strcmp(type, "ExternalName"))
		return (s->external_name = strdup(jpath_str(spec, "externalName", ""))) != NULL;
	s->headless = !strcmp(ip, "None");
	if (!cidr_addr(ip, &s->addr))
		s->addr = 0;
	s->sticky = !strcmp(jpath_str(spec, "sessionAffinity", ""), "ClientIP");
	s->local_inside = !strcmp(jpath_str(spec, "internalTrafficPolicy", ""), "Local");
	s->local_outside = !strcmp(jpath_str(spec, "externalTrafficPolicy", ""), "Local");
	json_array_foreach(json_object_get(spec, "externalIPs"), i, v)
		add_public(s, json_string_value(v));
	json_array_foreach(jpath_get(obj, "status.loadBalancer.ingress"), i, v)
		add_public(s, jpath_str(v, "ip", ""));
	return read_ports(s, json_object_get(spec, "ports"));
}

static struct service_port *port_named(struct service *s, const char *name, bool tcp)
{
	for (size_t i = 0; i < s->ports_count; i++)
		if (!strcmp(s->ports[i].name, name) && s->ports[i].tcp == tcp)
			return &s->ports[i];
	return NULL;
}

static bool add_target(struct service_port *p, uint32_t addr, uint16_t port, bool local)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->targets[i].addr == addr && p->targets[i].port == port)
			return true;
	struct service_target *more = realloc(p->targets, (p->count + 1) * sizeof(*more));
	if (!more)
		return false;
	p->targets = more;
	more[p->count++] = (struct service_target){.addr = addr, .port = port, .local = local};
	return true;
}

static bool add_member(struct service *s, uint32_t addr, const char *hostname, bool ready)
{
	for (size_t i = 0; i < s->members_count; i++)
		if (s->members[i].addr == addr && !strcmp(s->members[i].hostname, hostname)) {
			s->members[i].ready |= ready;
			return true;
		}
	struct service_member *more = realloc(s->members, (s->members_count + 1) * sizeof(*more));
	if (!more)
		return false;
	s->members = more;
	struct service_member *m = &more[s->members_count];
	*m = (struct service_member){.addr = addr, .ready = ready};
	if (!fits(m->hostname, sizeof(m->hostname), hostname))
		m->hostname[0] = '\0';
	s->members_count++;
	return true;
}

static bool add_endpoint(struct service *s, const json_t *slice, const json_t *ep, const char *node, bool ready)
{
	const char *of = json_string_value(json_object_get(json_object_get(ep, "topology"), "kubernetes.io/hostname"));   // v1beta1
	bool local = !strcmp(jpath_str(ep, "nodeName", of ? of : ""), node);
	size_t i, k;
	json_t *a, *p;
	json_array_foreach(json_object_get(ep, "addresses"), i, a) {
		uint32_t addr;
		if (!cidr_addr(json_string_value(a), &addr))
			continue;
		if (!add_member(s, addr, jpath_str(ep, "hostname", ""), ready))
			return false;
		json_array_foreach(json_object_get(slice, "ports"), k, p) {
			long long number = jpath_int(p, "port", 0);
			struct service_port *port = port_named(s, jpath_str(p, "name", ""), !strcmp(jpath_str(p, "protocol", "TCP"), "TCP"));
			if (port && number >= 1 && number <= 65535 && !add_target(port, addr, (uint16_t)number, local))
				return false;
		}
	}
	return true;
}

/* Those that are ready; where there are none, pods that are ending but still serve. */
static bool read_slices(struct service_model *m, const json_t *slices, const char *node, bool ending)
{
	size_t i, k;
	json_t *slice, *ep;
	json_array_foreach((json_t *)slices, i, slice) {
		const char *ns = jpath_str(slice, "metadata.namespace", "");
		const char *name = json_string_value(json_object_get(jpath_get(slice, "metadata.labels"), NAME_LABEL));
		struct service *s = name ? (struct service *)service_model_find(m, ns, strlen(ns), name, strlen(name)) : NULL;
		if (!s || strcmp(jpath_str(slice, "addressType", ""), "IPv4"))
			continue;
		json_array_foreach(json_object_get(slice, "endpoints"), k, ep) {
			bool ready = jpath_bool(ep, "conditions.ready", true);
			bool serving = jpath_bool(ep, "conditions.serving", ready), dying = jpath_bool(ep, "conditions.terminating", false);
			bool wanted = ending ? !ready && serving && dying : ready;
			if (!wanted || (ending && s->has_ready))
				continue;
			s->has_ready |= ready;
			if (!add_endpoint(s, slice, ep, node, ready))
				return false;
		}
	}
	return true;
}

struct service_model *service_model_new(const json_t *services, const json_t *slices, const char *node)
{
	struct service_model *m = calloc(1, sizeof(*m));
	size_t n = json_array_size(services), i;
	json_t *v;
	if (!m || !(m->services = calloc(n ? n : 1, sizeof(*m->services)))) {
		free(m);
		return NULL;
	}
	json_array_foreach((json_t *)services, i, v) {
		struct service *s = &m->services[m->count++];
		if (!read_service(s, v)) {
			service_model_free(m);
			return NULL;
		}
		if (!s->name[0])
			m->count--;
	}
	qsort(m->services, m->count, sizeof(*m->services), by_name);
	if (!read_slices(m, slices, node, false) || !read_slices(m, slices, node, true)) {
		service_model_free(m);
		return NULL;
	}
	return m;
}

void service_model_free(struct service_model *m)
{
	for (size_t i = 0; m && i < m->count; i++) {
		struct service *s = &m->services[i];
		for (size_t k = 0; k < s->ports_count; k++)
			free(s->ports[k].targets);
		free(s->ports);
		free(s->members);
		free(s->external_name);
	}
	if (m)
		free(m->services);
	free(m);
}
