// SPDX-License-Identifier: Apache-2.0
#include "server/sched_fit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, 0, &e);

	if (!j)
		fail_msg("%s: %s", text, e.text);
	return j;
}

static const char node_json[] =
	"{\"metadata\":{\"name\":\"n\",\"labels\":{\"zone\":\"z1\",\"cores\":\"4\"}},\"spec\":{%s},"
	"\"status\":{\"allocatable\":{\"cpu\":\"2\",\"memory\":\"1Gi\",\"pods\":\"3\",\"example.com/gpu\":\"1\"},"
	"\"images\":[{\"names\":[\"img:1\"]}]}}";

static const struct { const char *node_spec, *pod_spec, *why; } cases[] = {
	{ "", "\"containers\":[{}]", "" },
	{ "", "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}}}]", "" },
	{ "", "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}},{\"resources\":{\"requests\":{\"cpu\":\"1001m\"}}}]",
	  "Insufficient cpu" },
	{ "", "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"3\",\"memory\":\"2Gi\"}}}]", "Insufficient cpu\nInsufficient memory" },
	{ "", "\"containers\":[{\"resources\":{\"requests\":{\"memory\":\"1Gi\"}}}],\"overhead\":{\"memory\":\"1\"}", "Insufficient memory" },
	{ "", "\"initContainers\":[{\"resources\":{\"requests\":{\"cpu\":\"2\"}}}],\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]",
	  "" },
	{ "", "\"initContainers\":[{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"1500m\"}}}],"
	      "\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]", "Insufficient cpu" },
	{ "", "\"resources\":{\"requests\":{\"cpu\":\"3\"}},\"containers\":[{}]", "Insufficient cpu" },
	{ "", "\"resources\":{\"requests\":{\"cpu\":\"2\"}},\"containers\":[{\"resources\":{\"requests\":{\"memory\":\"2Gi\"}}}]", "Insufficient memory" },
	{ "", "\"resources\":{\"requests\":{\"memory\":\"1Gi\"}},\"containers\":[{}],\"overhead\":{\"memory\":\"1\"}", "Insufficient memory" },
	{ "", "\"containers\":[{\"resources\":{\"requests\":{\"example.com/gpu\":\"2\"}}}]", "Insufficient example.com/gpu" },
	{ "", "\"containers\":[{\"resources\":{\"requests\":{\"example.com/fpga\":\"1\"}}}]", "Insufficient example.com/fpga" },
	{ "\"unschedulable\":true", "\"containers\":[{}]", "node(s) were unschedulable" },
	{ "\"unschedulable\":true",
	  "\"containers\":[{}],\"tolerations\":[{\"key\":\"node.kubernetes.io/unschedulable\",\"operator\":\"Exists\"}]", "" },
	{ "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", "\"containers\":[{}]",
	  "node(s) had untolerated taint {k: v}" },
	{ "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"PreferNoSchedule\"}]", "\"containers\":[{}]", "" },
	{ "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]",
	  "\"containers\":[{}],\"tolerations\":[{\"key\":\"k\",\"operator\":\"Equal\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", "" },
	{ "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]",
	  "\"containers\":[{}],\"tolerations\":[{\"key\":\"k\",\"value\":\"w\"}]", "node(s) had untolerated taint {k: v}" },
	{ "", "\"containers\":[{}],\"nodeSelector\":{\"zone\":\"z1\"}", "" },
	{ "", "\"containers\":[{}],\"nodeSelector\":{\"zone\":\"z2\"}", "node(s) didn't match Pod's node affinity/selector" },
	{ "", "\"containers\":[{}],\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":["
	      "{\"matchExpressions\":[{\"key\":\"cores\",\"operator\":\"Gt\",\"values\":[\"4\"]}]},"
	      "{\"matchExpressions\":[{\"key\":\"zone\",\"operator\":\"In\",\"values\":[\"z0\",\"z1\"]}]}]}}}", "" },
	{ "", "\"containers\":[{}],\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":["
	      "{\"matchExpressions\":[{\"key\":\"cores\",\"operator\":\"Gt\",\"values\":[\"4\"]}]},{}]}}}",
	  "node(s) didn't match Pod's node affinity/selector" },
	{ "", "\"containers\":[{\"ports\":[{\"containerPort\":80,\"hostPort\":8080}]}]",
	  "node(s) didn't have free ports for the requested pod ports" },
	{ "", "\"containers\":[{\"ports\":[{\"containerPort\":80,\"hostPort\":8080,\"protocol\":\"UDP\"}]}]", "" },
};

static void test_filters(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sched_cache c = { 0 };
		struct sched_need need;
		char text[2048], why[SCHED_WHY_MAX];
		json_t *node, *pod, *other;

		snprintf(text, sizeof text, node_json, cases[i].node_spec);
		node = parse(text);
		snprintf(text, sizeof text, "{\"metadata\":{\"uid\":\"u\"},\"spec\":{%s}}", cases[i].pod_spec);
		pod = parse(text);
		other = parse("{\"metadata\":{\"uid\":\"o\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{\"ports\":[{\"hostPort\":8080}]}]}}");
		sched_cache_node(&c, node);
		assert_int_equal(sched_cache_pod(&c, "d/other", other), 0);
		assert_int_equal(sched_need_parse(pod, &need), 0);
		sched_fits(pod, &need, map_get(&c.nodes, "n"), why);
		assert_string_equal(why, cases[i].why);
		sched_need_fini(&need);
		sched_cache_fini(&c);
		json_decref(node);
		json_decref(pod);
		json_decref(other);
	}
}

/* Room is taken once, and given back. */
static void test_accounting(void **state)
{
	struct sched_cache c = { 0 };
	char text[2048];
	struct sched_node *n;
	json_t *node, *changed, *c0, *pod = parse("{\"metadata\":{\"uid\":\"u\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{\"resources\":{\"requests\":"
				   "{\"cpu\":\"1\",\"memory\":\"10Mi\",\"example.com/gpu\":\"1\"}}}]}}");

	(void)state;
	snprintf(text, sizeof text, node_json, "");
	node = parse(text);
	sched_cache_pod(&c, "d/p", pod);   // seen before its node
	sched_cache_node(&c, node);
	sched_cache_pod(&c, "d/p", pod);
	n = map_get(&c.nodes, "n");
	assert_int_equal(n->used.milli_cpu, 1000);
	assert_int_equal(n->used.memory, 10 << 20);
	assert_int_equal(n->used.extra[0].amount, 1);
	assert_int_equal(n->pod_count, 1);
	changed = json_deep_copy(pod);   // resized
	c0 = json_array_get(json_object_get(json_object_get(changed, "spec"), "containers"), 0);
	json_object_set_new(json_object_get(json_object_get(c0, "resources"), "requests"), "cpu", json_string("250m"));
	assert_int_equal(sched_cache_pod(&c, "d/p", changed), 1);
	assert_int_equal(n->used.milli_cpu, 250);
	assert_int_equal(n->used.memory, 10 << 20);
	assert_int_equal(n->pod_count, 1);
	assert_int_equal(sched_cache_pod(&c, "d/p", changed), 0);
	json_object_del(json_object_get(changed, "spec"), "containers");   // not looked at
	assert_int_equal(sched_cache_pod(&c, "d/p", changed), 0);
	assert_int_equal(n->used.milli_cpu, 250);
	json_decref(changed);
	sched_cache_node_gone(&c, "n");
	assert_false(n->known);
	sched_cache_node(&c, node);
	assert_true(sched_cache_pod_gone(&c, "d/p"));
	assert_false(sched_cache_pod_gone(&c, "d/p"));
	assert_int_equal(n->used.milli_cpu, 0);
	assert_int_equal(n->pod_count, 0);
	sched_cache_node_gone(&c, "n");
	assert_null(map_get(&c.nodes, "n"));
	sched_cache_fini(&c);
	json_decref(node);
	json_decref(pod);
}

static void test_scores(void **state)
{
	struct sched_cache c = { 0 };
	json_t *free_node = parse("{\"metadata\":{\"name\":\"a\"},\"status\":{\"allocatable\":{\"cpu\":\"2\",\"memory\":\"1Gi\",\"pods\":\"9\"}}}");
	json_t *busy = parse("{\"metadata\":{\"name\":\"b\"},\"status\":{\"allocatable\":{\"cpu\":\"2\",\"memory\":\"1Gi\",\"pods\":\"9\"}}}");
	json_t *with_image = parse("{\"metadata\":{\"name\":\"c\"},\"status\":{\"allocatable\":{\"cpu\":\"2\",\"memory\":\"1Gi\",\"pods\":\"9\"},"
				   "\"images\":[{\"names\":[\"img:1\"]}]}}");
	json_t *load = parse("{\"metadata\":{\"uid\":\"o\"},\"spec\":{\"nodeName\":\"b\",\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}");
	json_t *pod = parse("{\"spec\":{\"containers\":[{\"image\":\"img:1\"}]}}");
	struct sched_need need;

	(void)state;
	sched_cache_node(&c, free_node);
	sched_cache_node(&c, busy);
	sched_cache_node(&c, with_image);
	sched_cache_pod(&c, "d/o", load);
	assert_int_equal(sched_need_parse(pod, &need), 0);
	assert_true(sched_score(pod, &need, map_get(&c.nodes, "a")) > sched_score(pod, &need, map_get(&c.nodes, "b")));
	assert_true(sched_score(pod, &need, map_get(&c.nodes, "c")) > sched_score(pod, &need, map_get(&c.nodes, "a")));
	sched_need_fini(&need);
	sched_cache_fini(&c);
	json_decref(free_node);
	json_decref(busy);
	json_decref(with_image);
	json_decref(load);
	json_decref(pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters), cmocka_unit_test(test_accounting), cmocka_unit_test(test_scores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
