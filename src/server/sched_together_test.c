// SPDX-License-Identifier: Apache-2.0
#include "server/sched_together.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/sched_fit.h"
#include "server/sched_preempt.h"

static json_t *parse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static json_t *parse(const char *fmt, ...)
{
	char text[4096];
	json_error_t e;
	va_list args;
	json_t *j;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	j = json_loads(text, 0, &e);
	if (!j)
		fail_msg("%s: %s", text, e.text);
	return j;
}

/* Nodes a1, a2 in zone a; b1 in zone b; x without a zone. */
static void setup(struct sched_cache *c)
{
	static const struct { const char *name, *labels; } nodes[] = {
		{ "a1", "'zone':'a','host':'a1'" }, { "a2", "'zone':'a','host':'a2'" }, { "b1", "'zone':'b','host':'b1'" }, { "x", "'host':'x'" },
	};
	json_t *labels = parse("{'team':'red'}");

	*c = (struct sched_cache){ 0 };
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		json_t *n = parse("{'metadata':{'name':'%s','labels':{%s}},'status':{'allocatable':{'cpu':'2','memory':'1Gi','pods':'9'}}}",
				  nodes[i].name, nodes[i].labels);
		sched_cache_node(c, n);
		json_decref(n);
	}
	sched_cache_namespace(c, "other", labels);
	json_decref(labels);
}

static void put(struct sched_cache *c, const char *key, const char *node, const char *labels, const char *spec, int priority)
{
	json_t *p = parse("{'metadata':{'uid':'%s','namespace':'%.*s','labels':{%s}},'spec':{'nodeName':'%s','priority':%d,"
			  "'containers':[{'resources':{'requests':{'cpu':'1'}}}]%s}}", key, (int)strcspn(key, "/"), key, labels, node, priority, spec);

	assert_int_equal(sched_cache_pod(c, key, p), 0);
	json_decref(p);
}

#define TERM(selector, more) "{'topologyKey':'zone','labelSelector':{'matchLabels':{" selector "}}" more "}"
#define WITH(terms) "'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[" terms "]}}"
#define APART(terms) "'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[" terms "]}}"
#define SPREAD(more) "'topologySpreadConstraints':[{'topologyKey':'zone','maxSkew':1,'whenUnsatisfiable':'DoNotSchedule'," \
	"'labelSelector':{'matchLabels':{'app':'web'}}" more "}]"

static const struct { const char *what, *labels, *spec, *fits; } cases[] = {
	{ "nothing asked", "", "", "a1 a2 b1 x" },
	{ "with the database", "", WITH(TERM("'app':'db'", "")), "a1 a2" },
	{ "with nobody there", "", WITH(TERM("'app':'none'", "")), "" },
	{ "first of its own group", "'app':'none'", WITH(TERM("'app':'none'", "")), "a1 a2 b1" },
	{ "all terms by one pod", "", WITH(TERM("'app':'db'", "") "," TERM("'app':'web'", "")), "" },
	{ "apart from the database", "", APART(TERM("'app':'db'", "")), "b1 x" },
	{ "the other namespace by name", "", APART(TERM("'app':'far'", ",'namespaces':['other']")), "a1 a2 x" },
	{ "the other namespace by label", "", APART(TERM("'app':'far'", ",'namespaceSelector':{'matchLabels':{'team':'red'}}")), "a1 a2 x" },
	{ "not in its own namespace", "", APART(TERM("'app':'far'", "")), "a1 a2 b1 x" },
	{ "unwanted by the shy one", "'loud':'yes'", "", "a1 a2 x" },
	{ "spread: one in a, none in b", "'app':'web'", SPREAD(""), "b1" },
	{ "spread that does not count itself", "", SPREAD(""), "a1 a2 b1" },
	{ "spread with more domains than there are", "'app':'web'", SPREAD(",'minDomains':3"), "b1" },
	{ "spread over its own kind of nodes", "'app':'web'", SPREAD("") ",'nodeSelector':{'zone':'a'}", "a1 a2 b1" },
};

static void test_fits(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static const char *const names[] = { "a1", "a2", "b1", "x" };
		struct sched_cache c;
		struct sched_together *t;
		char fit[64] = "";
		json_t *pod = parse("{'metadata':{'namespace':'d','labels':{%s}},'spec':{%s}}", cases[i].labels, cases[i].spec);

		setup(&c);
		put(&c, "d/db", "a1", "'app':'db'", "", 0);
		put(&c, "d/web", "a2", "'app':'web'", "", 0);
		put(&c, "other/far", "b1", "'app':'far'", "", 0);
		put(&c, "d/shy", "b1", "'app':'shy'", "," APART(TERM("'loud':'yes'", "")), 0);
		assert_int_equal(sched_together_new(&c, pod, &t), 0);
		for (size_t n = 0; n < 4; n++) {
			char why[SCHED_WHY_MAX];
			if (sched_together_fits(t, map_get(&c.nodes, names[n]), why))
				sprintf(fit + strlen(fit), "%s%s", *fit ? " " : "", names[n]);
		}
		if (strcmp(fit, cases[i].fits))
			fail_msg("%s: fits \"%s\", not \"%s\"", cases[i].what, fit, cases[i].fits);
		sched_together_free(t);
		sched_cache_fini(&c);
		json_decref(pod);
	}
}

static void test_scores(void **state)
{
	json_t *with = parse("{'metadata':{'namespace':'d'},'spec':{'affinity':{'podAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':["
			     "{'weight':10,'podAffinityTerm':" TERM("'app':'db'", "") "}]}}}}");
	json_t *sibling = parse("{'metadata':{'namespace':'d','ownerReferences':[{'uid':'rs','controller':true}]},'spec':{}}");
	json_t *there = parse("{'metadata':{'uid':'s','ownerReferences':[{'uid':'rs','controller':true}]},'spec':{'nodeName':'b1'}}");
	struct sched_together *t;
	struct sched_cache c;

	(void)state;
	setup(&c);
	put(&c, "d/db", "a1", "'app':'db'", "", 0);
	sched_cache_pod(&c, "d/s", there);
	assert_int_equal(sched_together_new(&c, with, &t), 0);
	assert_true(sched_together_score(t, map_get(&c.nodes, "a2")) > sched_together_score(t, map_get(&c.nodes, "b1")));
	sched_together_free(t);
	assert_int_equal(sched_together_new(&c, sibling, &t), 0);
	assert_true(sched_together_score(t, map_get(&c.nodes, "a2")) > sched_together_score(t, map_get(&c.nodes, "b1")));
	sched_together_free(t);
	sched_cache_fini(&c);
	json_decref(with);
	json_decref(sibling);
	json_decref(there);
}

/* Each node has room for two pods of one CPU. */
static void check_preempt(struct sched_cache *c, const char *spec, const char *budgets_text, const char *node, const char *victims)
{
	json_t *pod = parse("{'metadata':{'namespace':'d','uid':'new'},'spec':{'priority':100,%s}}", spec), *budgets = parse("%s", budgets_text);
	struct sched_victims v;
	struct sched_need need;
	char names[256] = "";

	assert_int_equal(sched_need_parse(pod, &need), 0);
	if (!node) {
		assert_int_equal(sched_preempt(c, pod, &need, budgets, &v), 0);
	} else {
		assert_int_equal(sched_preempt(c, pod, &need, budgets, &v), 1);
		assert_string_equal(v.node->name, node);
		for (size_t i = 0; i < v.count; i++)
			sprintf(names + strlen(names), "%s%s", i ? " " : "", v.pods[i]->key);
		assert_string_equal(names, victims);
		sched_victims_fini(&v);
	}
	for (struct { struct sched_pod *p; size_t pos; } i = { 0 }; (i.p = map_next(&c->pods, &i.pos, NULL)); )
		assert_false(i.p->hidden);
	sched_need_fini(&need);
	json_decref(pod);
	json_decref(budgets);
}

#define CPU(n) "'containers':[{'resources':{'requests':{'cpu':'" n "'}}}]"

static void test_preempt(void **state)
{
	struct sched_cache c;

	(void)state;
	setup(&c);
	put(&c, "d/a1-low", "a1", "'app':'low'", "", 1);
	put(&c, "d/a1-mid", "a1", "", "", 50);
	put(&c, "d/a2-mid", "a2", "", "", 50);
	put(&c, "d/a2-mid2", "a2", "", "", 50);
	put(&c, "d/b1-high", "b1", "", "", 200);
	put(&c, "d/b1-high2", "b1", "", "", 200);
	put(&c, "d/x-low", "x", "", "", 0);
	put(&c, "d/x-low2", "x", "", "", 2);
	check_preempt(&c, CPU("1"), "[]", "x", "d/x-low");                      // the cheapest of all
	check_preempt(&c, CPU("1") ",'nodeSelector':{'host':'a1'}", "[]", "a1", "d/a1-low");
	check_preempt(&c, CPU("2"), "[]", "x", "d/x-low2 d/x-low");
	check_preempt(&c, CPU("1") ",'nodeSelector':{'host':'b1'}", "[]", NULL, NULL);
	check_preempt(&c, CPU("3"), "[]", NULL, NULL);
	// A budget that allows nothing: rather the other one.
	check_preempt(&c, CPU("1") ",'nodeSelector':{'host':'a1'}",
		      "[{'metadata':{'namespace':'d'},'spec':{'selector':{'matchLabels':{'app':'low'}}},'status':{'disruptionsAllowed':0}}]", "a1", "d/a1-mid");
	sched_cache_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fits), cmocka_unit_test(test_scores), cmocka_unit_test(test_preempt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
