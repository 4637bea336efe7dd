// SPDX-License-Identifier: Apache-2.0
#include "dns_zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cidr.h"

#define REVERSE "in-addr.arpa"
#define LABELS_MAX 5

struct text { const char *at; size_t len; };

struct lookup {
	const struct service_model *model;
	const char *domain;
	const struct dns_question *q;
	struct dns_answer *a;
	bool exists;                   // the name, whatever its type
};

static bool is_word(struct text t, const char *word)
{
	return strlen(word) == t.len && !strncmp(t.at, word, t.len);
}

/* name without "suffix" (and the dot before it); false: it does not end so. */
static bool cut_suffix(struct text *name, const char *suffix)
{
	size_t n = strlen(suffix);
	if (name->len < n || strncasecmp(name->at + name->len - n, suffix, n))
		return false;
	if (name->len > n && name->at[name->len - n - 1] != '.')
		return false;
	name->len -= name->len > n ? n + 1 : n;
	return true;
}

/* Labels of name from the right: labels[0] is the last. Returns how many, LABELS_MAX + 1: too many. */
static size_t split(struct text name, struct text labels[LABELS_MAX])
{
	size_t n = 0;
	while (name.len && n < LABELS_MAX) {
		size_t start = name.len;
		while (start && name.at[start - 1] != '.')
			start--;
		labels[n++] = (struct text){name.at + start, name.len - start};
		name.len = start ? start - 1 : 0;
	}
	return name.len ? LABELS_MAX + 1 : n;
}

static bool wants(const struct lookup *l, uint16_t type)
{
	return l->q->type == type || l->q->type == DNS_ANY;
}

/* "10-88-0-5" */
static bool dashed_addr(struct text t, uint32_t *addr)
{
	char dotted[16];
	if (t.len >= sizeof(dotted))
		return false;
	for (size_t i = 0; i < t.len; i++)
		dotted[i] = t.at[i] == '-' ? '.' : t.at[i];
	dotted[t.len] = '\0';
	return !memchr(t.at, '.', t.len) && cidr_addr(dotted, addr);
}

static void member_name(const struct lookup *l, const struct service *s, const struct service_member *m, char out[DNS_NAME_MAX])
{
	char host[64];
	if (m->hostname[0])
		snprintf(host, sizeof(host), "%s", m->hostname);
	else
		snprintf(host, sizeof(host), "%u-%u-%u-%u", m->addr >> 24, m->addr >> 16 & 255, m->addr >> 8 & 255, m->addr & 255);
	snprintf(out, DNS_NAME_MAX, "%s.%s.%s.svc.%s", host, s->name, s->ns, l->domain);
}

static void answer_service(struct lookup *l, const struct service *s)
{
	l->exists = true;
	if (!wants(l, DNS_A))
		return;
	if (s->addr)
		dns_answer_addr(l->a, l->q->name, DNS_TTL, s->addr);
	size_t start = s->members_count ? (size_t)random() % s->members_count : 0;
	for (size_t i = 0; s->headless && i < s->members_count; i++)
		dns_answer_addr(l->a, l->q->name, DNS_TTL, s->members[(start + i) % s->members_count].addr);
}

static void answer_member(struct lookup *l, const struct service *s, struct text host)
{
	uint32_t addr = 0;
	bool dashed = dashed_addr(host, &addr);
	for (size_t i = 0; i < s->members_count; i++) {
		const struct service_member *m = &s->members[i];
		if (m->hostname[0] ? !is_word(host, m->hostname) : !dashed || m->addr != addr)
			continue;
		l->exists = true;
		if (wants(l, DNS_A))
			dns_answer_addr(l->a, l->q->name, DNS_TTL, m->addr);
	}
}

/* _PORT._PROTO.SERVICE */
static void answer_port(struct lookup *l, const struct service *s, struct text port, struct text protocol)
{
	bool tcp = is_word(protocol, "_tcp");
	if (port.len < 2 || port.at[0] != '_' || (!tcp && !is_word(protocol, "_udp")))
		return;
	port = (struct text){port.at + 1, port.len - 1};
	for (size_t i = 0; i < s->ports_count; i++) {
		const struct service_port *p = &s->ports[i];
		char target[DNS_NAME_MAX];
		if (p->tcp != tcp || !is_word(port, p->name))
			continue;
		l->exists = true;
		if (!wants(l, DNS_SRV))
			continue;
		snprintf(target, sizeof(target), "%s.%s.svc.%s", s->name, s->ns, l->domain);
		if (s->addr)
			dns_answer_srv(l->a, l->q->name, DNS_TTL, p->port, target);
		for (size_t k = 0; s->headless && k < s->members_count; k++) {
			uint16_t number = p->port;
			for (size_t t = 0; t < p->count; t++)
				if (p->targets[t].addr == s->members[k].addr)
					number = p->targets[t].port;
			member_name(l, s, &s->members[k], target);
			dns_answer_srv(l->a, l->q->name, DNS_TTL, number, target);
		}
	}
}

/* labels: those before "svc", from the right: namespace, service, ... NULL or the external name. */
static const char *answer_svc(struct lookup *l, const struct text *labels, size_t n)
{
	const struct service *s = n >= 2 ? service_model_find(l->model, labels[0].at, labels[0].len, labels[1].at, labels[1].len) : NULL;
	for (size_t i = 0; n < 2 && i < l->model->count; i++)   // "svc", and namespaces in it, are names without records
		l->exists |= !n || is_word(labels[0], l->model->services[i].ns);
	if (!s)
		return NULL;
	if (n == 2 && s->external_name)
		return s->external_name;
	if (n == 2)
		answer_service(l, s);
	else if (n == 3)
		answer_member(l, s, labels[2]);
	else if (n == 4)
		answer_port(l, s, labels[3], labels[2]);
	return NULL;
}

static void answer_pod(struct lookup *l, const struct text *labels, size_t n)
{
	uint32_t addr;
	if (n != 2 || !dashed_addr(labels[1], &addr))
		return;
	l->exists = true;
	if (wants(l, DNS_A))
		dns_answer_addr(l->a, l->q->name, DNS_TTL, addr);
}

static bool answer_reverse(struct lookup *l, struct text name)
{
	unsigned b[4];
	char text[16], rest, target[DNS_NAME_MAX];
	if (name.len >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)name.len, name.at);
	if (sscanf(text, "%3u.%3u.%3u.%3u%c", b, b + 1, b + 2, b + 3, &rest) != 4 || (b[0] | b[1] | b[2] | b[3]) > 255)
		return false;
	uint32_t addr = b[3] << 24 | b[2] << 16 | b[1] << 8 | b[0];
	for (size_t i = 0; i < l->model->count; i++) {
		const struct service *s = &l->model->services[i];
		snprintf(target, sizeof(target), "%s.%s.svc.%s", s->name, s->ns, l->domain);
		bool found = s->addr && s->addr == addr;
		for (size_t k = 0; s->headless && !found && k < s->members_count; k++)
			if (s->members[k].addr == addr && (found = true))
				member_name(l, s, &s->members[k], target);
		if (found && wants(l, DNS_PTR))
			dns_answer_name(l->a, l->q->name, DNS_PTR, DNS_TTL, target);
		l->exists |= found;
	}
	return l->exists;   // other addresses are not ours
}

/* An ExternalName that stays inside of the domain is answered here, one step deep. */
static enum dns_result answer_external(struct lookup *l, const char *external, char target[DNS_NAME_MAX])
{
	struct text inside = {external, strlen(external)};
	dns_answer_name(l->a, l->q->name, DNS_CNAME, DNS_TTL, external);
	if (!cut_suffix(&inside, l->domain) && snprintf(target, DNS_NAME_MAX, "%s", external) < DNS_NAME_MAX)
		return DNS_ELSEWHERE;
	struct dns_question q = *l->q;
	struct text labels[LABELS_MAX];
	size_t n = split(inside, labels);
	const struct service *s = n == 3 && is_word(labels[0], "svc") ?
		service_model_find(l->model, labels[1].at, labels[1].len, labels[2].at, labels[2].len) : NULL;
	snprintf(q.name, sizeof(q.name), "%s", external);
	l->exists = true;
	l->q = &q;
	if (s)
		answer_service(l, s);
	dns_answer_end(l->a, DNS_OK, true);
	return DNS_ANSWERED;
}

enum dns_result dns_zone_answer(const struct service_model *m, const char *domain, const struct dns_question *q, struct dns_answer *a,
				char target[DNS_NAME_MAX])
{
	struct lookup l = {.model = m, .domain = domain, .q = q, .a = a};
	struct text name = {q->name, strlen(q->name)}, labels[LABELS_MAX];
	const char *external = NULL, *zone = domain;
	size_t before = a->len;
	if (q->class != 1)
		return DNS_NOT_OURS;
	if (cut_suffix(&name, REVERSE)) {
		if (!answer_reverse(&l, name))
			return DNS_NOT_OURS;
	} else if (cut_suffix(&name, domain)) {
		size_t n = split(name, labels);
		l.exists = !n || (n == 1 && (is_word(labels[0], "svc") || is_word(labels[0], "pod")));
		if (n > 1 && n <= LABELS_MAX && is_word(labels[0], "svc"))
			external = answer_svc(&l, labels + 1, n - 1);
		else if (n > 1 && n <= LABELS_MAX && is_word(labels[0], "pod"))
			answer_pod(&l, labels + 1, n - 1);
	} else {
		return DNS_NOT_OURS;
	}
	if (external)
		return answer_external(&l, external, target);
	if (a->len == before)
		dns_answer_soa(a, zone, DNS_TTL);
	dns_answer_end(a, l.exists ? DNS_OK : DNS_NO_NAME, true);
	return DNS_ANSWERED;
}
