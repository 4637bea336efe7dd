// SPDX-License-Identifier: Apache-2.0
// The table's ways: `lookup` finds the Service by address, protocol and port in a map (one step, however many there are)
// and goes to its chain, which picks an endpoint: at random, or for sessionAffinity by a hash of the client's address over
// a fixed number of places, so that a client keeps its endpoint as long as that exists, whatever becomes of the others.
#include "service_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cidr.h"
#include "base/own.h"
#include "base/proc.h"

#define PLACES 64                // of sticky clients
#define MASQUERADE_MARK "0x4000"

enum which { INSIDE, OUTSIDE };  // connections to clusterIPs; to node ports and public addresses

struct parts {                   // elements of the table's maps and sets
	struct buf chains, services, node_ports, empty, empty_ports, hairpins;
	unsigned next;           // number of the last chain
	uint64_t *seen;          // hash table of what services and empty have
	size_t seen_count, seen_cap;
	bool failed;
};

#define put(p, b, ...) ((p)->failed |= buf_printf(b, __VA_ARGS__) != 0)

/* Is this the first with this address, protocol and port? A second one, which anybody may ask for with externalIPs,
 * would make the whole table invalid. */
static bool first(struct parts *p, uint32_t addr, const struct service_port *port)
{
	uint64_t key = (uint64_t)addr << 24 | (uint64_t)port->tcp << 16 | port->port;
	if (p->seen_count * 2 >= p->seen_cap) {
		size_t cap = p->seen_cap ? p->seen_cap * 2 : 256;
		uint64_t *old = p->seen, *more = calloc(cap, sizeof(*more));
		if (!more)
			return p->failed = true, false;
		for (size_t i = 0; i < p->seen_cap; i++)
			if (old[i]) {
				size_t at = (old[i] * 0x9e3779b97f4a7c15ull) & (cap - 1);
				while (more[at])
					at = (at + 1) & (cap - 1);
				more[at] = old[i];
			}
		free(old);
		p->seen = more, p->seen_cap = cap;
	}
	size_t at = (key * 0x9e3779b97f4a7c15ull) & (p->seen_cap - 1);
	for (; p->seen[at]; at = (at + 1) & (p->seen_cap - 1))
		if (p->seen[at] == key)
			return false;
	p->seen[at] = key;
	p->seen_count++;
	return true;
}

static bool usable(const struct service *s, const struct service_target *t, enum which which)
{
	return t->local || !(which == OUTSIDE ? s->local_outside : s->local_inside);
}

static uint32_t mix(uint32_t place, const struct service_target *t)
{
	uint64_t h = ((uint64_t)place << 48) ^ ((uint64_t)t->addr << 16) ^ t->port;
	h ^= h >> 33, h *= 0xff51afd7ed558ccdull;
	h ^= h >> 33, h *= 0xc4ceb9fe1a85ec53ull;
	return (uint32_t)(h >> 32);
}

/* Who gets a place: the target with the highest number for it, so that only the places of a target that goes move. */
static const struct service_target *winner(const struct service *s, const struct service_port *p, enum which which, uint32_t place)
{
	const struct service_target *best = NULL;
	uint32_t most = 0;
	for (size_t i = 0; i < p->count; i++) {
		uint32_t n = mix(place, &p->targets[i]);
		if (usable(s, &p->targets[i], which) && (!best || n > most))
			best = &p->targets[i], most = n;
	}
	return best;
}

static void put_target(struct parts *parts, unsigned place, const struct service_target *t)
{
	char text[CIDR_TEXT];
	put(parts, &parts->chains, "%s%u : %s . %u", place ? ", " : "", place, cidr_addr_text(t->addr, text), t->port);
}

static size_t count_usable(const struct service *s, const struct service_port *p, enum which which)
{
	size_t n = 0;
	for (size_t i = 0; i < p->count; i++)
		n += usable(s, &p->targets[i], which);
	return n;
}

/* The chain that picks; returns its number, 0 when there is nobody to pick. */
static unsigned put_chain(struct parts *parts, const struct service *s, const struct service_port *p, enum which which)
{
	size_t n = count_usable(s, p, which);
	unsigned place = 0, number;
	if (!n)
		return 0;
	number = ++parts->next;
	put(parts, &parts->chains, "\tchain s-%u {\n", number);
	if (which == OUTSIDE && !s->local_outside)   // the answer must come back through this host
		put(parts, &parts->chains, "\t\tmeta mark set meta mark | " MASQUERADE_MARK "\n");
	put(parts, &parts->chains, "\t\tmeta l4proto %s dnat ip to %s mod %zu map { ", p->tcp ? "tcp" : "udp",
	    s->sticky ? "jhash ip saddr" : "numgen random", s->sticky ? (size_t)PLACES : n);
	for (size_t i = 0; i < p->count && !s->sticky; i++)
		if (usable(s, &p->targets[i], which))
			put_target(parts, place++, &p->targets[i]);
	for (; s->sticky && place < PLACES; place++)
		put_target(parts, place, winner(s, p, which, place));
	put(parts, &parts->chains, " }\n\t}\n");
	return number;
}

static void put_address(struct parts *parts, uint32_t addr, const struct service_port *p, unsigned chain)
{
	char text[CIDR_TEXT];
	const char *protocol = p->tcp ? "tcp" : "udp";
	cidr_addr_text(addr, text);
	if (!first(parts, addr, p))
		return;
	if (chain)
		put(parts, &parts->services, "%s . %s . %u : goto s-%u,\n", text, protocol, p->port, chain);
	else
		put(parts, &parts->empty, "%s . %s . %u,\n", text, protocol, p->port);
}

/* clusterIPs come before what Services ask for themselves: nobody takes the address of another. */
static void put_inside(struct parts *parts, const struct service *s, const struct service_port *p)
{
	char text[CIDR_TEXT];
	if (s->addr)
		put_address(parts, s->addr, p, put_chain(parts, s, p, INSIDE));
	for (size_t i = 0; i < p->count; i++)   // a pod that reaches itself through its Service
		put(parts, &parts->hairpins, "%s . %s,\n", cidr_addr_text(p->targets[i].addr, text), text);
}

static void put_outside(struct parts *parts, const struct service *s, const struct service_port *p)
{
	const char *protocol = p->tcp ? "tcp" : "udp";
	unsigned chain = p->node_port || s->public_count ? put_chain(parts, s, p, OUTSIDE) : 0;
	for (size_t i = 0; i < s->public_count; i++)
		put_address(parts, s->public_addrs[i], p, chain);
	if (!p->node_port || !first(parts, 0, &(struct service_port){.tcp = p->tcp, .port = p->node_port}))
		return;
	if (chain)
		put(parts, &parts->node_ports, "%s . %u : goto s-%u,\n", protocol, p->node_port, chain);
	else
		put(parts, &parts->empty_ports, "%s . %u,\n", protocol, p->node_port);
}

static void put_all(struct parts *parts, const struct service_model *m,
		    void (*put_one)(struct parts *, const struct service *, const struct service_port *))
{
	for (size_t i = 0; i < m->count; i++)
		for (size_t k = 0; k < m->services[i].ports_count; k++)
			put_one(parts, &m->services[i], &m->services[i].ports[k]);
}

/* Until the resolver's Service has endpoints, this host answers. */
static void put_dns(struct parts *parts, const struct service_rules_config *c, const struct service_model *m)
{
	char text[CIDR_TEXT];
	for (size_t i = 0; i < m->count; i++)
		if (m->services[i].addr == c->dns_addr && m->services[i].has_ready)
			return;
	cidr_addr_text(c->dns_local, text);
	for (int tcp = 0; tcp < 2; tcp++) {
		unsigned chain = ++parts->next;
		put(parts, &parts->chains, "\tchain s-%u {\n\t\tmeta l4proto %s dnat ip to numgen random mod 1 map { 0 : %s . 53 }\n\t}\n", chain,
		    tcp ? "tcp" : "udp", text);
		put_address(parts, c->dns_addr, &(struct service_port){.tcp = tcp, .port = 53}, chain);
	}
}

/* An nft set or map may be empty, but not its list of elements. */
static void put_set(struct parts *p, struct buf *out, const char *word, const char *name, const char *type, const struct buf *elements)
{
	put(p, out, "\t%s %s {\n\t\ttype %s\n", word, name, type);
	if (elements->len)
		put(p, out, "\t\telements = {\n%s\t\t}\n", elements->data);
	put(p, out, "\t}\n");
}

static void put_table(struct parts *p, struct buf *out, const char *table)
{
	put(p, out, "table ip %s\ndelete table ip %s\ntable ip %s {\n", table, table, table);
	put(p, out, "%s", p->chains.data ? p->chains.data : "");
	put_set(p, out, "map", "services", "ipv4_addr . inet_proto . inet_service : verdict", &p->services);
	put_set(p, out, "map", "node-ports", "inet_proto . inet_service : verdict", &p->node_ports);
	put_set(p, out, "set", "empty", "ipv4_addr . inet_proto . inet_service", &p->empty);
	put_set(p, out, "set", "empty-ports", "inet_proto . inet_service", &p->empty_ports);
	put_set(p, out, "set", "hairpins", "ipv4_addr . ipv4_addr", &p->hairpins);
	put(p, out,
	    "\tchain lookup {\n"
	    "\t\tip daddr . meta l4proto . th dport vmap @services\n"
	    "\t\tfib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports\n\t}\n"
	    "\tchain prerouting {\n\t\ttype nat hook prerouting priority -105;\n\t\tjump lookup\n\t}\n"
	    "\tchain output {\n\t\ttype nat hook output priority -105;\n\t\tjump lookup\n\t}\n"
	    "\tchain postrouting {\n\t\ttype nat hook postrouting priority 95;\n"
	    "\t\tmeta mark & " MASQUERADE_MARK " == " MASQUERADE_MARK " masquerade\n"
	    "\t\tct status dnat ip saddr . ip daddr @hairpins masquerade\n\t}\n"
	    "\tchain refuse {\n"
	    "\t\tip daddr . meta l4proto . th dport @empty reject\n"
	    "\t\tfib daddr type local meta l4proto . th dport @empty-ports reject\n\t}\n"
	    "\tchain forward {\n\t\ttype filter hook forward priority -5;\n\t\tjump refuse\n\t}\n"
	    "\tchain input {\n\t\ttype filter hook input priority -5;\n\t\tjump refuse\n\t}\n"
	    "\tchain outgoing {\n\t\ttype filter hook output priority -5;\n\t\tjump refuse\n\t}\n}\n");
}

static void parts_fini(struct parts *p)
{
	struct buf *all[] = {&p->chains, &p->services, &p->node_ports, &p->empty, &p->empty_ports, &p->hairpins};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		buf_fini(all[i]);
	free(p->seen);
}

char *service_rules_script(const struct service_rules_config *c, const struct service_model *m)
{
	struct parts p = {0};
	struct buf out = BUF_INIT;
	if (c->dns_addr && c->dns_local)
		put_dns(&p, c, m);
	put_all(&p, m, put_inside);
	put_all(&p, m, put_outside);
	put_table(&p, &out, c->table);
	parts_fini(&p);
	if (!p.failed)
		return buf_take(&out);
	buf_fini(&out);
	return NULL;
}

static int nft(const char *script, struct err *e)
{
	struct proc_opts o = {.input = script, .input_len = strlen(script), .timeout_ms = 20000};
	return proc_check((const char *[]){"nft", "-f", "-", NULL}, &o, NULL, e);
}

int service_rules_apply(const struct service_rules_config *c, const struct service_model *m, struct err *e)
{
	own_free char *script = service_rules_script(c, m);
	int rc = script ? nft(script, e) : err_sys(e, ENOMEM, "out of memory");
	if (rc)
		err_wrap(e, "rules of Services");
	return rc;
}

int service_rules_remove(const char *table, struct err *e)
{
	own_buf struct buf script = BUF_INIT;
	if (buf_printf(&script, "table ip %s\ndelete table ip %s\n", table, table))
		return err_sys(e, ENOMEM, "out of memory");
	return nft(script.data, e);
}
