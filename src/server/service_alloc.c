// SPDX-License-Identifier: Apache-2.0
// What is taken is what stored Services say, and, for a moment, what was given to Services that are on their way to the
// store. Two servers of one store might give the same free number within that moment; numbers are drawn at random, so
// that takes as many Services made at once as the range is wide.
#include "server/service_alloc.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cidr.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "server/obj.h"
#include "server/registry.h"
#include "server/status.h"
#include "server/store.h"

#define PORT_FIRST 30000
#define PORT_LAST 32767
#define STATIC_FIRST 256              // addresses below this are for those who ask for them, where the range is wide enough
#define ON_THE_WAY_NS (2 * NS_PER_S)
#define ON_THE_WAY_MAX 256

/* Given, perhaps not stored yet. */
struct given {
	char what[48], owner[320];
	uint64_t until_ns;
};

static pthread_mutex_t given_lock = PTHREAD_MUTEX_INITIALIZER;
static struct given given[ON_THE_WAY_MAX];
static unsigned given_next;

/* The text with which a stored Service would say that it has it; JSON is stored without spaces. */
static void address_says(uint32_t addr, char out[48])
{
	char text[CIDR_TEXT];
	snprintf(out, 48, "\"clusterIP\":\"%s\"", cidr_addr_text(addr, text));
}

static void port_says(long long port, const char *protocol, char out[48])
{
	snprintf(out, 48, "\"nodePort\":%lld/%.8s", port, protocol);
}

static bool on_the_way(const char *what, const char *owner)
{
	uint64_t now = clock_mono_ns();
	bool found = false;

	pthread_mutex_lock(&given_lock);
	for (unsigned i = 0; i < ON_THE_WAY_MAX && !found; i++)
		found = given[i].until_ns > now && !strcmp(given[i].what, what) && strcmp(given[i].owner, owner);
	pthread_mutex_unlock(&given_lock);
	return found;
}

static void note(const char *what, const char *owner)
{
	pthread_mutex_lock(&given_lock);
	struct given *g = &given[given_next++ % ON_THE_WAY_MAX];
	snprintf(g->what, sizeof g->what, "%s", what);
	snprintf(g->owner, sizeof g->owner, "%s", owner);
	g->until_ns = clock_mono_ns() + ON_THE_WAY_NS;
	pthread_mutex_unlock(&given_lock);
}

/* Every Service but the owner itself. */
struct others {
	struct store_list list;
	char owner[320];          // "ns/name"
};

static int others_list(struct server *srv, const struct k8s_kind *k, const json_t *obj, struct others *o)
{
	char prefix[REG_KEY_MAX];

	snprintf(o->owner, sizeof o->owner, "%s/%s", jpath_str(obj, "metadata.namespace", ""), jpath_str(obj, "metadata.name", ""));
	return store_list(srv->store, reg_prefix(k, NULL, prefix), NULL, 0, 0, &o->list);
}

static bool is_owner(const struct others *o, const struct obj *x)
{
	const char *slash = strchr(obj_key(x), '/');

	return slash && !strcmp(slash + 1, o->owner);
}

static bool address_taken(const struct others *o, uint32_t addr)
{
	char says[48];

	address_says(addr, says);
	if (on_the_way(says, o->owner))
		return true;
	for (size_t i = 0; i < o->list.count; i++)
		if (!is_owner(o, o->list.objs[i]) && memmem(obj_text(o->list.objs[i]), o->list.objs[i]->text_len, says, strlen(says)))
			return true;
	return false;
}

/* One number may serve TCP and UDP of different ports. */
static bool has_port(const json_t *service, long long port, const char *protocol)
{
	json_t *p;
	size_t i;

	json_array_foreach(jpath_get(service, "spec.ports"), i, p)
		if (jpath_int(p, "nodePort", 0) == port && !strcmp(jpath_str(p, "protocol", "TCP"), protocol))
			return true;
	return jpath_int(service, "spec.healthCheckNodePort", 0) == port;
}

static bool port_taken(const struct others *o, long long port, const char *protocol)
{
	char says[48], digits[24];

	port_says(port, protocol, says);
	if (on_the_way(says, o->owner))
		return true;
	snprintf(digits, sizeof digits, "odePort\":%lld", port);
	for (size_t i = 0; i < o->list.count; i++) {
		const struct obj *x = o->list.objs[i];
		if (is_owner(o, x) || !memmem(obj_text(x), x->text_len, digits, strlen(digits)))
			continue;
		own_json json_t *service = obj_json(x);
		if (has_port(service, port, protocol))
			return true;
	}
	return false;
}

static uint32_t random_below(uint32_t n)
{
	uint32_t r = 0;

	while (getrandom(&r, sizeof r, 0) != sizeof r)
		;
	return r % n;
}

/* --- addresses --- */

static json_t *invalid(const struct k8s_kind *k, const json_t *obj, const char *field, const char *shown, const char *why)
{
	const char *name = jpath_str(obj, "metadata.name", "");
	json_t *s = status_about(422, "Invalid", k, name, "%s \"%s\" is invalid: %s: Invalid value: %s: %s", k->kind, name, field, shown, why);
	char message[512];

	snprintf(message, sizeof message, "Invalid value: %s: %s", shown, why);
	return status_cause(s, "FieldValueInvalid", message, field);
}

static json_t *check_address(struct server *srv, const struct k8s_kind *k, const json_t *obj, const struct others *o, uint32_t *addr)
{
	const char *ip = jpath_str(obj, "spec.clusterIP", "");
	char shown[64], why[256], range[CIDR_TEXT];

	snprintf(shown, sizeof shown, "[]string{\"%.40s\"}", ip);
	if (!cidr_addr(ip, addr))
		return NULL;   // validation says what is wrong
	if (!cidr_has(&srv->service_range, *addr) || *addr == srv->service_range.base ||
	    *addr - srv->service_range.base == cidr_size(&srv->service_range) - 1) {
		snprintf(why, sizeof why, "failed to allocate IP %.40s: the provided IP (%.40s) is not in the valid range. The range of valid "
			 "IPs is %s", ip, ip, cidr_text(&srv->service_range, range));
		return invalid(k, obj, "spec.clusterIPs", shown, why);
	}
	snprintf(why, sizeof why, "failed to allocate IP %.40s: provided IP is already allocated", ip);
	return address_taken(o, *addr) ? invalid(k, obj, "spec.clusterIPs", shown, why) : NULL;
}

static bool choose_address(struct server *srv, const struct others *o, uint32_t *addr)
{
	uint32_t size = (uint32_t)(cidr_size(&srv->service_range) - 1), low = size > 2 * STATIC_FIRST ? STATIC_FIRST : SERVICE_ADDR_DNS + 1;

	if (size <= low)
		return false;
	uint32_t start = random_below(size - low);
	for (uint32_t i = 0; i < size - low; i++) {
		*addr = srv->service_range.base + low + (start + i) % (size - low);
		if (!address_taken(o, *addr))
			return true;
	}
	return false;
}

static json_t *set_address(struct server *srv, const struct k8s_kind *k, json_t *obj, const struct others *o)
{
	json_t *spec = json_object_get(obj, "spec"), *s = NULL;
	const char *ip = jpath_str(spec, "clusterIP", "");
	char text[CIDR_TEXT], says[48];
	uint32_t addr = 0;

	if (!*ip && json_array_size(json_object_get(spec, "clusterIPs"))) {
		ip = json_string_value(json_array_get(json_object_get(spec, "clusterIPs"), 0));
		if (ip && *ip)
			json_object_set(spec, "clusterIP", json_array_get(json_object_get(spec, "clusterIPs"), 0));
	}
	if (ip && !strcmp(ip, "None")) {
		json_object_set_new(spec, "clusterIPs", json_pack("[s]", "None"));
		return NULL;
	}
	if (ip && *ip)
		s = check_address(srv, k, obj, o, &addr);
	else if (!choose_address(srv, o, &addr))
		s = status_internal("failed to allocate a serviceIP: range is full");
	if (s || !addr)
		return s;
	json_object_set_new(spec, "clusterIP", json_string(cidr_addr_text(addr, text)));
	json_object_set_new(spec, "clusterIPs", json_pack("[s]", text));
	address_says(addr, says);
	note(says, o->owner);
	return NULL;
}

/* --- node ports --- */

static json_t *check_port(const struct k8s_kind *k, const json_t *obj, const struct others *o, size_t i, const json_t *port)
{
	long long number = jpath_int(port, "nodePort", 0);
	char field[48], shown[24];

	snprintf(field, sizeof field, "spec.ports[%zu].nodePort", i);
	snprintf(shown, sizeof shown, "%lld", number);
	if (number < PORT_FIRST || number > PORT_LAST)
		return invalid(k, obj, field, shown, "provided port is not in the valid range. The range of valid ports is 30000-32767");
	return port_taken(o, number, jpath_str(port, "protocol", "TCP")) ? invalid(k, obj, field, shown, "provided port is already allocated") :
									     NULL;
}

static bool choose_port(const struct others *o, const json_t *obj, const char *protocol, long long *out)
{
	uint32_t count = PORT_LAST - PORT_FIRST + 1, start = random_below(count);

	for (uint32_t i = 0; i < count; i++) {
		*out = PORT_FIRST + (start + i) % count;
		if (!port_taken(o, *out, protocol) && !has_port(obj, *out, protocol))
			return true;
	}
	return false;
}

static json_t *set_ports(const struct k8s_kind *k, json_t *obj, const struct others *o)
{
	json_t *port, *s = NULL;
	size_t i;

	json_array_foreach(jpath_get(obj, "spec.ports"), i, port) {
		const char *protocol = jpath_str(port, "protocol", "TCP");
		long long number = jpath_int(port, "nodePort", 0);
		char says[48];
		if (!json_is_object(port))
			continue;
		if (number)
			s = check_port(k, obj, o, i, port);
		else if (!choose_port(o, obj, protocol, &number))
			s = status_internal("failed to allocate a nodePort: range is full");
		if (s)
			return s;
		json_object_set_new(port, "nodePort", json_integer(number));
		port_says(number, protocol, says);
		note(says, o->owner);
	}
	return NULL;
}

/* --- what carries over from the Service before --- */

static bool wants_address(const json_t *spec)
{
	return strcmp(jpath_str(spec, "type", "ClusterIP"), "ExternalName") != 0;
}

static bool wants_ports(const json_t *spec)
{
	const char *type = jpath_str(spec, "type", "ClusterIP");

	return !strcmp(type, "NodePort") ||
	       (!strcmp(type, "LoadBalancer") && jpath_bool(spec, "allocateLoadBalancerNodePorts", true));
}

static json_t *same_port(const json_t *ports, const json_t *port)
{
	json_t *p;
	size_t i;

	json_array_foreach((json_t *)ports, i, p)
		if (jpath_int(p, "port", 0) == jpath_int(port, "port", -1) &&
		    !strcmp(jpath_str(p, "protocol", "TCP"), jpath_str(port, "protocol", "TCP")))
			return p;
	return NULL;
}

/* Who replaces a Service without saying these again means to keep them; a type that has none loses them. */
static void carry_over(json_t *spec, const json_t *old)
{
	json_t *port, *before;
	size_t i;

	if (!wants_address(spec)) {
		if (!strcmp(jpath_str(spec, "clusterIP", ""), jpath_str(old, "clusterIP", ""))) {
			json_object_del(spec, "clusterIP");
			json_object_del(spec, "clusterIPs");
			json_object_del(spec, "ipFamilies");
			json_object_del(spec, "ipFamilyPolicy");
		}
	} else if (wants_address(old) && !*jpath_str(spec, "clusterIP", "") && json_object_get(old, "clusterIP")) {
		json_object_set(spec, "clusterIP", json_object_get(old, "clusterIP"));
	}
	json_array_foreach(json_object_get(spec, "ports"), i, port) {
		before = same_port(json_object_get(old, "ports"), port);
		long long number = jpath_int(before, "nodePort", 0);
		if (number && wants_ports(spec) && !jpath_int(port, "nodePort", 0))
			json_object_set_new(port, "nodePort", json_integer(number));
		else if (number && !wants_ports(spec) && jpath_int(port, "nodePort", 0) == number)
			json_object_del(port, "nodePort");
	}
}

static json_t *allocate(struct server *srv, const struct k8s_kind *k, json_t *obj, const struct others *o)
{
	json_t *spec = json_object_get(obj, "spec"), *s = NULL;

	if (wants_address(spec)) {
		s = set_address(srv, k, obj, o);
		if (!json_object_get(spec, "ipFamilies"))
			json_object_set_new(spec, "ipFamilies", json_pack("[s]", "IPv4"));
		if (!json_object_get(spec, "ipFamilyPolicy"))
			json_object_set_new(spec, "ipFamilyPolicy", json_string("SingleStack"));
	}
	return s || !wants_ports(spec) ? s : set_ports(k, obj, o);
}

/* Nothing to choose or check: the Service has all it needs, and had it before. */
static bool settled(const json_t *spec, const json_t *old)
{
	json_t *port;
	size_t i;

	if (!old || strcmp(jpath_str(spec, "clusterIP", ""), jpath_str(old, "clusterIP", "")) || !json_object_get(spec, "clusterIPs") ||
	    (wants_address(spec) && !*jpath_str(spec, "clusterIP", "")))
		return false;
	json_array_foreach(json_object_get(spec, "ports"), i, port) {
		const json_t *before = same_port(json_object_get(old, "ports"), port);
		if (wants_ports(spec) && (!jpath_int(port, "nodePort", 0) || jpath_int(port, "nodePort", 0) != jpath_int(before, "nodePort", 0)))
			return false;
	}
	return true;
}

json_t *service_alloc(struct server *srv, const struct k8s_kind *k, json_t *obj, const json_t *old)
{
	json_t *spec = json_object_get(obj, "spec"), *s;
	const json_t *old_spec = json_object_get(old, "spec");
	struct others o;

	if (!json_is_object(spec))
		return NULL;   // validation says what is wrong
	if (old_spec)
		carry_over(spec, old_spec);
	if (settled(spec, old_spec))
		return NULL;
	int r = others_list(srv, k, obj, &o);
	if (r)
		return status_errno(r);
	s = allocate(srv, k, obj, &o);
	store_list_fini(&o.list);
	return s;
}
