// SPDX-License-Identifier: Apache-2.0
#include "server/sched_together.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/sched_fit.h"
#include "server/sched_term.h"

#define HARD_WEIGHT 1        // what a required term of another pod is worth to the one that it asks for

/* Numbers by domain, a value of the topology label. */
struct domains { const struct sched_term *term; json_t *count; bool self; long long least; };

struct sched_together {
	const struct sched_cache *cache;
	const json_t *pod;
	struct sched_terms terms;          // the pod's own
	struct domains *own;               // one for each term
	bool first_of_group;               // nobody matches its affinity but itself
	json_t *forbidden;                 // topology key -> {value: true}: others do not want it there
	json_t *liked;                     // topology key -> {value: weight}
	json_t *siblings;                  // node name -> pods of the same owner; NULL: it has terms of its own
	double best, worst;                // of liked, over all nodes
	long long most_siblings;
};

static const char *domain_of(const struct sched_node *n, const char *topology)
{
	return json_string_value(json_object_get(n->labels, topology));
}

static void add(json_t *counts, const char *key, long long n)
{
	json_object_set_new(counts, key, json_integer(json_integer_value(json_object_get(counts, key)) + n));
}

static void add_in(json_t *by_topology, const struct sched_term *t, const struct sched_node *n, long long weight)
{
	const char *domain = domain_of(n, t->topology);
	json_t *counts = json_object_get(by_topology, t->topology);

	if (!domain)
		return;
	if (!counts && !json_object_set_new(by_topology, t->topology, json_object()))
		counts = json_object_get(by_topology, t->topology);
	add(counts, domain, weight);
}

static bool is_spread(const struct sched_term *t)
{
	return t->kind == TERM_SPREAD || t->kind == TERM_RATHER_SPREAD;
}

/* May the pod be on this node at all, as far as the term cares? Other nodes do not count for spread. */
static bool counts_for_spread(const struct sched_together *t, const struct sched_term *term, const struct sched_node *n)
{
	if (!n->known || (term->honors_affinity && !sched_node_selected(t->pod, n)) || (term->honors_taints && !sched_node_tolerated(t->pod, n)))
		return false;
	for (int i = 0; i < t->terms.count; i++)   // a node must have the labels of all constraints of the kind
		if (t->terms.list[i].kind == term->kind && !domain_of(n, t->terms.list[i].topology))
			return false;
	return true;
}

/* --- counting --- */

static void count_spread(struct sched_together *t, struct domains *d)
{
	const struct sched_term *term = d->term;
	struct sched_node *n;
	size_t pos = 0;
	const char *domain;
	json_t *v;

	while ((n = map_next(&t->cache->nodes, &pos, NULL))) {
		struct sched_pod *p;
		size_t at = 0;
		long long there = 0;
		if (!counts_for_spread(t, term, n))
			continue;
		while ((p = map_next(&n->pods, &at, NULL)))
			there += !p->hidden && !p->deleting && !strcmp(p->ns, term->ns) &&
				 sched_term_matches(term, &t->cache->namespaces, p->ns, p->labels);
		add(d->count, domain_of(n, term->topology), there);
	}
	d->least = -1;
	json_object_foreach(d->count, domain, v)
		if (d->least < 0 || json_integer_value(v) < d->least)
			d->least = json_integer_value(v);
	if (d->least < 0 || (long long)json_object_size(d->count) < term->min_domains)
		d->least = 0;
}

/* Affinity asks for pods that match all terms at once. */
static bool matches_all(const struct sched_together *t, enum sched_term_kind kind, const char *ns, const json_t *labels)
{
	for (int i = 0; i < t->terms.count; i++)
		if (t->terms.list[i].kind == kind && !sched_term_matches(&t->terms.list[i], &t->cache->namespaces, ns, labels))
			return false;
	return true;
}

static void count_own(struct sched_together *t, const struct sched_pod *p)
{
	bool all = matches_all(t, TERM_WITH, p->ns, p->labels);

	for (int i = 0; i < t->terms.count; i++) {
		const struct sched_term *term = &t->terms.list[i];
		const char *domain = domain_of(p->node, term->topology);
		if (is_spread(term) || !domain)
			continue;
		if (term->kind == TERM_WITH ? all : sched_term_matches(term, &t->cache->namespaces, p->ns, p->labels)) {
			add(t->own[i].count, domain, 1);
			if (term->kind == TERM_WITH)
				t->first_of_group = false;
			else if (term->kind != TERM_APART)
				add_in(t->liked, term, p->node, term->kind == TERM_RATHER_WITH ? term->weight : -term->weight);
		}
	}
}

/* What the other pod says of ours. */
static void count_theirs(struct sched_together *t, const struct sched_pod *p, const char *ns, const json_t *labels)
{
	for (int i = 0; i < p->terms.count; i++) {
		const struct sched_term *term = &p->terms.list[i];
		if (is_spread(term) || !sched_term_matches(term, &t->cache->namespaces, ns, labels))
			continue;
		if (term->kind == TERM_APART)
			add_in(t->forbidden, term, p->node, 1);
		else if (term->kind == TERM_WITH)
			add_in(t->liked, term, p->node, HARD_WEIGHT);
		else
			add_in(t->liked, term, p->node, term->kind == TERM_RATHER_WITH ? term->weight : -term->weight);
	}
}

static void count_pods(struct sched_together *t)
{
	const char *ns = jpath_str(t->pod, "metadata.namespace", ""), *owner = sched_owner_uid(t->pod);
	const json_t *labels = jpath_get(t->pod, "metadata.labels");
	struct sched_pod *p;
	size_t pos = 0;

	while ((p = map_next(&t->cache->pods, &pos, NULL))) {
		if (p->hidden || !p->node->known)
			continue;
		if (t->terms.count)
			count_own(t, p);
		if (p->terms.count)
			count_theirs(t, p, ns, labels);
		if (t->siblings && *owner && !p->deleting && !strcmp(p->owner, owner))
			add(t->siblings, p->node->name, 1);
	}
}

static double liking(const struct sched_together *t, const struct sched_node *n)
{
	const char *topology;
	json_t *counts;
	double sum = 0;

	json_object_foreach(t->liked, topology, counts) {
		const char *domain = domain_of(n, topology);
		if (domain)
			sum += json_integer_value(json_object_get(counts, domain));
	}
	return sum;
}

static void find_range(struct sched_together *t)
{
	const char *name;
	struct sched_node *n;
	json_t *v;
	size_t pos = 0;
	bool any = false;

	while (json_object_size(t->liked) && (n = map_next(&t->cache->nodes, &pos, NULL))) {
		double like = liking(t, n);
		t->best = !any || like > t->best ? like : t->best;
		t->worst = !any || like < t->worst ? like : t->worst;
		any = true;
	}
	json_object_foreach(t->siblings, name, v)
		if (json_integer_value(v) > t->most_siblings)
			t->most_siblings = json_integer_value(v);
}

int sched_together_new(const struct sched_cache *c, const json_t *pod, struct sched_together **out)
{
	struct sched_terms terms;
	struct sched_together *t;
	const char *ns = jpath_str(pod, "metadata.namespace", "");
	bool spreads = false;

	*out = NULL;
	if (sched_terms_parse(pod, &terms))
		return -ENOMEM;
	if (!terms.count && !c->pods_with_terms && !*sched_owner_uid(pod))
		return 0;
	t = calloc(1, sizeof *t);
	if (!t) {
		sched_terms_fini(&terms);
		return -ENOMEM;
	}
	*t = (struct sched_together){ .cache = c, .pod = pod, .terms = terms, .first_of_group = true, .forbidden = json_object(),
				      .liked = json_object(), .own = calloc(terms.count + 1, sizeof *t->own) };
	for (int i = 0; t->own && i < terms.count; i++) {
		t->own[i] = (struct domains){ .term = &t->terms.list[i], .count = json_object() };
		t->own[i].self = sched_term_matches(&t->terms.list[i], &c->namespaces, ns, jpath_get(pod, "metadata.labels"));
		spreads |= is_spread(&t->terms.list[i]);
	}
	t->siblings = spreads ? NULL : json_object();
	if (!t->own || !t->forbidden || !t->liked) {
		sched_together_free(t);
		return -ENOMEM;
	}
	count_pods(t);
	for (int i = 0; i < terms.count; i++)
		if (is_spread(&t->terms.list[i]))
			count_spread(t, &t->own[i]);
	find_range(t);
	*out = t;
	return 0;
}

void sched_together_free(struct sched_together *t)
{
	if (!t)
		return;
	for (int i = 0; t->own && i < t->terms.count; i++)
		json_decref(t->own[i].count);
	free(t->own);
	json_decref(t->forbidden);
	json_decref(t->liked);
	json_decref(t->siblings);
	sched_terms_fini(&t->terms);
	free(t);
}

/* --- a node --- */

static const char *own_reason(const struct sched_together *t, const struct domains *d, const struct sched_node *n)
{
	const char *domain = domain_of(n, d->term->topology);
	long long there = domain ? json_integer_value(json_object_get(d->count, domain)) : 0;

	switch (d->term->kind) {
	case TERM_WITH:
		if (domain && (there || (t->first_of_group && matches_all(t, TERM_WITH, jpath_str(t->pod, "metadata.namespace", ""),
									  jpath_get(t->pod, "metadata.labels")))))
			return NULL;
		return "node(s) didn't match pod affinity rules";
	case TERM_APART:
		return there ? "node(s) didn't match pod anti-affinity rules" : NULL;
	case TERM_SPREAD:
		if (!domain)
			return "node(s) didn't match pod topology spread constraints (missing required label)";
		return there + d->self - d->least > d->term->max_skew ? "node(s) didn't match pod topology spread constraints" : NULL;
	default:
		return NULL;
	}
}

bool sched_together_fits(const struct sched_together *t, const struct sched_node *n, char *why)
{
	const char *reason = NULL, *topology;
	json_t *values;

	if (!t)
		return true;
	for (int i = 0; i < t->terms.count && !reason; i++)
		reason = own_reason(t, &t->own[i], n);
	if (!reason)
		json_object_foreach(t->forbidden, topology, values) {
			const char *domain = domain_of(n, topology);
			if (domain && json_object_get(values, domain))
				reason = "node(s) didn't satisfy existing pods anti-affinity rules";
		}
	if (!reason)
		return true;
	snprintf(why, SCHED_WHY_MAX, "%s", reason);
	return false;
}

/* Fewer in its domain is better. */
static double spread_score(const struct sched_together *t, const struct sched_node *n)
{
	double sum = 0;
	int terms = 0;

	for (int i = 0; i < t->terms.count; i++) {
		const struct domains *d = &t->own[i];
		const char *domain = domain_of(n, d->term->topology), *each;
		long long most = 0;
		json_t *v;
		if (d->term->kind != TERM_RATHER_SPREAD)
			continue;
		json_object_foreach(d->count, each, v)
			most = json_integer_value(v) > most ? json_integer_value(v) : most;
		terms++;
		if (domain && json_object_get(d->count, domain))
			sum += most ? 100.0 * (most - json_integer_value(json_object_get(d->count, domain))) / most : 100;
	}
	return terms ? sum / terms : 0;
}

double sched_together_score(const struct sched_together *t, const struct sched_node *n)
{
	double sum;

	if (!t)
		return 0;
	sum = 2 * spread_score(t, n);
	if (t->best > t->worst)
		sum += 2 * 100 * (liking(t, n) - t->worst) / (t->best - t->worst);
	if (t->most_siblings)
		sum += 100.0 * (t->most_siblings - json_integer_value(json_object_get(t->siblings, n->name))) / t->most_siblings;
	return sum;
}
