// SPDX-License-Identifier: Apache-2.0
#include "server/sched_preempt.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/selector.h"
#include "server/sched_fit.h"
#include "server/sched_together.h"

void sched_victims_fini(struct sched_victims *v)
{
	free(v->pods);
	*v = (struct sched_victims){ 0 };
}

static bool fits(const struct sched_cache *c, const json_t *pod, const struct sched_need *need, const struct sched_node *n)
{
	struct sched_together *t;
	char why[SCHED_WHY_MAX];
	bool ok = sched_fits(pod, need, n, why);

	if (!ok || sched_together_new(c, pod, &t))
		return false;
	ok = sched_together_fits(t, n, why);
	sched_together_free(t);
	return ok;
}

/* Those that matter most first: high priority, then running for long. */
static int compare(const void *a, const void *b)
{
	const struct sched_pod *x = *(struct sched_pod *const *)a, *y = *(struct sched_pod *const *)b;

	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	if (!*x->started != !*y->started)
		return *x->started ? -1 : 1;
	return strcmp(x->started, y->started);
}

/* --- disruption budgets --- */

struct allowance { char ns[256]; struct k8s_selector *selector; long long left; };
struct allowances { struct allowance *list; size_t count; };

static void allowances_fini(struct allowances *a)
{
	for (size_t i = 0; i < a->count; i++)
		k8s_selector_free(a->list[i].selector);
	free(a->list);
}

static int allowances_init(struct allowances *a, const json_t *budgets)
{
	json_t *b;
	size_t i;

	*a = (struct allowances){ .list = calloc(json_array_size(budgets) + 1, sizeof *a->list) };
	if (!a->list)
		return -ENOMEM;
	json_array_foreach((json_t *)budgets, i, b) {
		struct allowance *n = &a->list[a->count];
		if (k8s_label_selector_from_json(jpath_get(b, "spec.selector"), &n->selector, NULL))
			continue;
		snprintf(n->ns, sizeof n->ns, "%s", jpath_str(b, "metadata.namespace", ""));
		n->left = jpath_int(b, "status.disruptionsAllowed", 0);
		a->count++;
	}
	return 0;
}

/* Take one from every budget of the pod; true: one of them had none left. */
static bool violates(struct allowances *a, const struct sched_pod *p)
{
	bool too_many = false;

	for (size_t i = 0; i < a->count; i++)
		if (!p->nominated && !strcmp(a->list[i].ns, p->ns) && k8s_label_selector_match(a->list[i].selector, p->labels))
			too_many |= --a->list[i].left < 0;
	return too_many;
}

/* Those that would violate a budget first, each part in its order. Returns how many there are of them. */
static size_t put_violating_first(struct sched_pod **list, size_t n, const json_t *budgets)
{
	own_free struct sched_pod **others = calloc(n + 1, sizeof *others);
	struct allowances a;
	size_t violating = 0, rest = 0;

	if (!others || !json_array_size(budgets) || allowances_init(&a, budgets))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (violates(&a, list[i]))
			list[violating++] = list[i];
		else
			others[rest++] = list[i];
	memcpy(list + violating, others, rest * sizeof *others);
	allowances_fini(&a);
	return violating;
}

/* --- one node --- */

/* All pods of lower priority are hidden; those that are not being deleted already come into list. */
static size_t hide_lower(struct sched_node *n, long long priority, struct sched_pod **list)
{
	struct sched_pod *p;
	size_t pos = 0, count = 0;

	while ((p = map_next(&n->pods, &pos, NULL)))
		if (p->priority < priority) {
			sched_cache_hide(p, true);
			if (!p->deleting)
				list[count++] = p;
		}
	return count;
}

static void show_all(struct sched_node *n)
{
	struct sched_pod *p;
	size_t pos = 0;

	while ((p = map_next(&n->pods, &pos, NULL)))
		sched_cache_hide(p, false);
}

static int try_node(struct sched_cache *c, const json_t *pod, const struct sched_need *need, const json_t *budgets, struct sched_node *n,
		    struct sched_victims *v)
{
	struct sched_pod **list = calloc(n->pods.count + 1, sizeof *list);
	size_t count, violating, kept = 0;

	if (!list)
		return -ENOMEM;
	count = hide_lower(n, jpath_int(pod, "spec.priority", 0), list);
	if (!fits(c, pod, need, n)) {
		show_all(n);
		free(list);
		return 0;
	}
	*v = (struct sched_victims){ .node = n, .pods = list };
	qsort(list, count, sizeof *list, compare);
	violating = put_violating_first(list, count, budgets);
	for (size_t i = 0; i < count; i++) {   // who may stay?
		sched_cache_hide(list[i], false);
		if (fits(c, pod, need, n))
			continue;
		sched_cache_hide(list[i], true);
		v->violations += i < violating;
		list[kept++] = list[i];
	}
	v->count = kept;
	show_all(n);
	return 1;
}

static long long highest(const struct sched_victims *v)
{
	long long most = INT64_MIN;

	for (size_t i = 0; i < v->count; i++)
		most = v->pods[i]->priority > most ? v->pods[i]->priority : most;
	return most;
}

static double sum(const struct sched_victims *v)
{
	double total = 0;

	for (size_t i = 0; i < v->count; i++)
		total += v->pods[i]->priority + 2147483649.0;   // as if none were below zero: fewer are better
	return total;
}

static const char *oldest(const struct sched_victims *v)
{
	const char *first = "";

	for (size_t i = 0; i < v->count; i++)
		if (v->pods[i]->priority == highest(v) && *v->pods[i]->started && (!*first || strcmp(v->pods[i]->started, first) < 0))
			first = v->pods[i]->started;
	return first;
}

static bool costs_less(const struct sched_victims *a, const struct sched_victims *b)
{
	if (a->violations != b->violations)
		return a->violations < b->violations;
	if (highest(a) != highest(b))
		return highest(a) < highest(b);
	if (sum(a) != sum(b))
		return sum(a) < sum(b);
	if (a->count != b->count)
		return a->count < b->count;
	return strcmp(oldest(a), oldest(b)) > 0;
}

int sched_preempt(struct sched_cache *c, const json_t *pod, const struct sched_need *need, const json_t *budgets, struct sched_victims *out)
{
	struct sched_victims best = { 0 }, v;
	struct sched_node *n;
	size_t pos = 0;
	int r = 0;

	while ((n = map_next(&c->nodes, &pos, NULL))) {
		if (!n->known)
			continue;
		r = try_node(c, pod, need, budgets, n, &v);
		if (r < 0)
			break;
		if (!r)
			continue;
		if (!best.node || costs_less(&v, &best)) {
			sched_victims_fini(&best);
			best = v;
		} else {
			sched_victims_fini(&v);
		}
	}
	if (r < 0 || !best.node) {
		sched_victims_fini(&best);
		return r < 0 ? r : 0;
	}
	*out = best;
	return 1;
}
