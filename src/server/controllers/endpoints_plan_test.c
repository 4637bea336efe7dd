// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "server/controllers/endpoints_plan.h"
#include "server/controllers/propagation.h"
#include "server/controllers/template.h"

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	return j;
}

static json_t *pod(const char *name, const char *ip, const char *ready)
{
	return json_pack("{s:{s:s},s:{s:s,s:[{s:[{s:s,s:i}]}]},s:{s:s,s:[{s:s,s:s}]}}", "metadata", "name", name, "spec", "nodeName", "n",
			 "containers", "ports", "name", "http", "containerPort", 8080, "status", "podIP", ip, "conditions", "type", "Ready",
			 "status", ready);
}

static void ready_and_unready_pods_are_told_apart(void **state)
{
	own_json json_t *svc = parse("{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":\"http\"}]}}");
	own_json json_t *pods = json_array(), *slices = NULL, *subsets = NULL;

	(void)state;
	json_array_append_new(pods, pod("a", "10.0.0.1", "True"));
	json_array_append_new(pods, pod("b", "10.0.0.2", "False"));
	json_array_append_new(pods, pod("c", "", "False"));
	slices = endpoints_slices(svc, pods);
	assert_int_equal(json_array_size(slices), 1);
	const json_t *s = json_array_get(slices, 0);
	assert_int_equal(json_array_size(jpath_get(s, "endpoints")), 2);
	assert_int_equal(jpath_int(json_array_get(jpath_get(s, "ports"), 0), "port", 0), 8080);
	assert_true(jpath_bool(json_array_get(jpath_get(s, "endpoints"), 0), "conditions.ready", false));
	assert_false(jpath_bool(json_array_get(jpath_get(s, "endpoints"), 1), "conditions.ready", true));
	subsets = endpoints_subsets(svc, pods);
	assert_int_equal(json_array_size(subsets), 1);
	assert_string_equal(jpath_str(json_array_get(jpath_get(json_array_get(subsets, 0), "addresses"), 0), "ip", ""), "10.0.0.1");
	assert_string_equal(jpath_str(json_array_get(jpath_get(json_array_get(subsets, 0), "notReadyAddresses"), 0), "ip", ""), "10.0.0.2");
}

static void slices_have_a_limit_and_are_never_none(void **state)
{
	own_json json_t *svc = parse("{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}]}}");
	own_json json_t *pods = json_array(), *many = NULL, *none = NULL;

	(void)state;
	none = endpoints_slices(svc, pods);
	assert_int_equal(json_array_size(none), 1);
	for (int i = 0; i < 2 * ENDPOINTS_PER_SLICE + 1; i++)
		json_array_append_new(pods, pod("a", "10.0.0.1", "True"));
	many = endpoints_slices(svc, pods);
	assert_int_equal(json_array_size(many), 3);
}

static void a_deletion_says_what_becomes_of_dependents(void **state)
{
	own_json json_t *rs = parse("{\"kind\":\"ReplicaSet\",\"metadata\":{}}"), *job = parse("{\"kind\":\"Job\",\"metadata\":{}}");
	own_json json_t *fore = parse("{\"propagationPolicy\":\"Foreground\"}");
	own_json json_t *back = parse("{\"propagationPolicy\":\"Background\"}"), *orphan = parse("{\"orphanDependents\":true}");

	(void)state;
	propagation_apply(rs, NULL);
	assert_null(json_object_get(json_object_get(rs, "metadata"), "finalizers"));
	propagation_apply(rs, fore);
	assert_true(finalizer_has(rs, FINALIZER_FOREGROUND));
	propagation_apply(rs, orphan);
	assert_true(finalizer_has(rs, FINALIZER_ORPHAN) && !finalizer_has(rs, FINALIZER_FOREGROUND));
	propagation_apply(rs, back);
	assert_false(finalizer_has(rs, FINALIZER_ORPHAN));
	propagation_apply(job, NULL);
	assert_true(finalizer_has(job, FINALIZER_ORPHAN));
}

static void templates_are_the_same_but_for_empty_fields(void **state)
{
	own_json json_t *a = parse("{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"image\":\"i\"}]}}");
	own_json json_t *b = parse("{\"metadata\":{\"creationTimestamp\":null,\"labels\":{\"a\":\"b\",\"pod-template-hash\":\"x\"}},"
				   "\"spec\":{\"containers\":[{\"image\":\"i\",\"resources\":{}}]}}");
	own_json json_t *c = parse("{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"image\":\"j\"}]}}");
	char x[TEMPLATE_HASH_MAX], y[TEMPLATE_HASH_MAX];

	(void)state;
	assert_true(template_equal(a, b));
	assert_false(template_equal(a, c));
	assert_string_not_equal(template_hash(a, 0, x), template_hash(c, 0, y));
	assert_string_not_equal(template_hash(a, 0, x), template_hash(a, 1, y));
	assert_string_equal(template_hash(a, 0, x), template_hash(a, 0, y));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_and_unready_pods_are_told_apart), cmocka_unit_test(slices_have_a_limit_and_are_never_none),
		cmocka_unit_test(a_deletion_says_what_becomes_of_dependents), cmocka_unit_test(templates_are_the_same_but_for_empty_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
