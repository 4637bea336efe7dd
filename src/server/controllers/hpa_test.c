// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "server/controllers/hpa_limits.h"
#include "server/controllers/hpa_measure.h"
#include "server/controllers/hpa_plan.h"

#define POD(v) { HPA_COUNTED, (v), 1000 }
#define STATE(s) { HPA_##s, 0, 1000 }

static const struct hpa_target half = { .utilization = true, .value = 50, .down = 0.1, .up = 0.1 };
static const struct hpa_target each = { .value = 200, .down = 0.1, .up = 0.1 };

static long long plan(const struct hpa_target *t, struct hpa_pod *pods, size_t n, struct hpa_result *out)
{
	assert_int_equal(hpa_plan(t, pods, n, (long long)n, out), 0);
	return out->replicas;
}

static void in_proportion_to_the_load(void **state)
{
	struct hpa_pod busy[] = { POD(900), POD(700), POD(800) }, idle[] = { POD(100), POD(150), POD(100) };
	struct hpa_pod near[] = { POD(540), POD(520) }, raw[] = { POD(400), POD(500) };
	struct hpa_result r;

	(void)state;
	assert_int_equal(plan(&half, busy, 3, &r), 5);          // 80 % of 50 %: 3 * 1.6
	assert_int_equal(r.percent, 80);
	assert_int_equal(r.average, 800);
	assert_int_equal(plan(&half, idle, 3, &r), 1);
	assert_int_equal(plan(&half, near, 2, &r), 2);          // within the tolerance
	assert_int_equal(plan(&each, raw, 2, &r), 5);
	assert_int_equal(r.average, 450);
}

static void what_is_not_known_holds_back(void **state)
{
	struct hpa_pod up[] = { POD(1000), STATE(MISSING) }, down[] = { POD(100), STATE(MISSING), STATE(MISSING) };
	struct hpa_pod young[] = { POD(1000), STATE(UNREADY) }, calm[] = { POD(100), POD(100), STATE(UNREADY) };
	struct hpa_pod gone[] = { POD(1000), POD(1000), STATE(IGNORED) }, none[] = { STATE(MISSING), STATE(UNREADY) };
	struct hpa_result r;

	(void)state;
	assert_int_equal(plan(&half, up, 2, &r), 2);            // 100 % and 0 %: as wanted
	assert_int_equal(plan(&half, down, 3, &r), 3);          // 10 %, 100 %, 100 %: too much, which must not turn it around
	assert_int_equal(plan(&half, young, 2, &r), 2);
	assert_int_equal(plan(&half, calm, 3, &r), 1);          // the unready one is no reason to stay
	assert_int_equal(plan(&half, gone, 3, &r), 4);
	assert_int_equal(hpa_plan(&half, none, 2, 2, &r), -61);
}

static void nothing_is_divided_by(void **state)
{
	struct hpa_pod free_[] = { { HPA_COUNTED, 5, 0 } };
	const struct hpa_target zero = { .value = 0 };
	struct hpa_result r;

	(void)state;
	assert_int_equal(hpa_plan(&half, free_, 1, 1, &r), -61);
	assert_int_equal(hpa_plan(&zero, free_, 1, 1, &r), -61);
	assert_int_equal(hpa_plan(&half, NULL, 0, 1, &r), -61);
}

static void the_plain_rules(void **state)
{
	struct hpa_history h = { 0 };
	struct hpa_bounds b = { .now = 3, .min = 2, .max = 20, .time = 1000000 * NS_PER_S };
	struct hpa_verdict v;

	(void)state;
	hpa_limit(&b, &h, 50, &v);
	assert_int_equal(v.replicas, 6);                        // twice as many at a time
	assert_string_equal(v.limit_reason, "ScaleUpLimit");
	b.now = 20;
	b.time += 15 * NS_PER_S;
	hpa_limit(&b, &h, 50, &v);
	assert_int_equal(v.replicas, 20);
	assert_string_equal(v.limit_reason, "TooManyReplicas");
	b.time += 290 * NS_PER_S;
	hpa_limit(&b, &h, 1, &v);
	assert_int_equal(v.replicas, 20);                       // what was wanted within five minutes still counts
	assert_string_equal(v.able_reason, "ScaleDownStabilized");
	b.time += 15 * NS_PER_S;
	hpa_limit(&b, &h, 1, &v);
	assert_int_equal(v.replicas, 2);
	assert_string_equal(v.limit_reason, "TooFewReplicas");
	hpa_history_fini(&h);
}

static json_t *behavior(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

static void the_users_policies(void **state)
{
	own_json json_t *rules = behavior(
		"{\"scaleUp\":{\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Max\",\"policies\":[{\"type\":\"Pods\",\"value\":2,"
		"\"periodSeconds\":60},{\"type\":\"Percent\",\"value\":10,\"periodSeconds\":60}]},\"scaleDown\":{"
		"\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Min\",\"policies\":[{\"type\":\"Pods\",\"value\":4,\"periodSeconds\":60},"
		"{\"type\":\"Percent\",\"value\":10,\"periodSeconds\":60}]}}");
	struct hpa_history h = { 0 };
	struct hpa_bounds b = { .now = 5, .min = 1, .max = 100, .time = 1000000 * NS_PER_S, .behavior = rules };
	struct hpa_verdict v;

	(void)state;
	hpa_limit(&b, &h, 50, &v);
	assert_int_equal(v.replicas, 7);                        // 2 pods are more than 10 %
	assert_string_equal(v.limit_reason, "ScaleUpLimit");
	hpa_changed(&b, &h, 7);
	b.now = 7;
	b.time += 30 * NS_PER_S;
	hpa_limit(&b, &h, 50, &v);
	assert_int_equal(v.replicas, 7);                        // this minute's are used up
	b.time += 31 * NS_PER_S;
	hpa_limit(&b, &h, 50, &v);
	assert_int_equal(v.replicas, 9);
	b.now = 40;
	b.time += 600 * NS_PER_S;
	hpa_limit(&b, &h, 1, &v);
	assert_int_equal(v.replicas, 36);                       // Min: the slower of 4 pods and 10 %
	assert_string_equal(v.limit_reason, "ScaleDownLimit");
	jpath_set(rules, "scaleDown.selectPolicy", json_string("Disabled"));
	b.time += 600 * NS_PER_S;
	hpa_limit(&b, &h, 1, &v);
	assert_int_equal(v.replicas, 40);
	hpa_history_fini(&h);
}

static void a_window_on_the_way_up(void **state)
{
	own_json json_t *rules = behavior("{\"scaleUp\":{\"stabilizationWindowSeconds\":60,\"policies\":[{\"type\":\"Pods\",\"value\":100,"
					  "\"periodSeconds\":15}]}}");
	struct hpa_history h = { 0 };
	struct hpa_bounds b = { .now = 2, .min = 1, .max = 100, .time = 1000000 * NS_PER_S, .behavior = rules };
	struct hpa_verdict v;

	(void)state;
	hpa_limit(&b, &h, 3, &v);
	b.time += 30 * NS_PER_S;
	hpa_limit(&b, &h, 10, &v);
	assert_int_equal(v.replicas, 3);                        // the least of the window
	assert_string_equal(v.able_reason, "ScaleUpStabilized");
	b.time += 40 * NS_PER_S;
	hpa_limit(&b, &h, 10, &v);
	assert_int_equal(v.replicas, 10);
	hpa_history_fini(&h);
}

static const char pods[] =
	"[{\"metadata\":{\"namespace\":\"n\",\"name\":\"web\"},\"status\":{\"phase\":\"Running\"},\"spec\":{\"resources\":{\"requests\":"
	"{\"memory\":\"100Mi\"}},\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"resources\":{\"requests\":{\"memory\":\"50Mi\"}}}]}}]";
static const char known[] =
	"{\"pods\":{\"n/web\":{\"timestamp\":\"2026-01-01T00:00:00Z\",\"window\":\"15s\",\"containers\":["
	"{\"name\":\"a\",\"usage\":{\"memory\":\"10Mi\",\"cpu\":\"5m\"}},{\"name\":\"b\",\"usage\":{\"memory\":\"30Mi\",\"cpu\":\"5m\"}}]}}}";

/* Utilization of "web" against 50 %; -1 and *e: it cannot be told. */
static long long percent_of(const char *type, const char *key, const char *resource, const char *container, struct err *e)
{
	own_json json_t *p = behavior(pods), *k = behavior(known), *status = NULL;
	own_json json_t *metric = json_pack("{s:s,s:{s:s,s:s*,s:{s:i}}}", "type", type, key, "name", resource, "container", container, "target",
					    "averageUtilization", 50);
	struct hpa_view view = { .pods = p, .known = k, .now = 1, .down = 0.1, .up = 0.1, .time = 1767225605 * NS_PER_S };
	struct hpa_measured out = { 0 };
	const char *reason = NULL;

	if (hpa_measure(&view, metric, &out, &reason, e))
		return -1;
	status = out.status;
	return out.result.percent;
}

static void of_the_pod_as_a_whole(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(percent_of("Resource", "resource", "memory", NULL, &e), 40);
	assert_int_equal(percent_of("ContainerResource", "containerResource", "memory", "b", &e), 60);
	assert_int_equal(percent_of("ContainerResource", "containerResource", "memory", "a", &e), -1);
	assert_string_equal(e.text, "failed to get memory utilization: missing request for memory in container a of Pod web");
	assert_int_equal(percent_of("Resource", "resource", "cpu", NULL, &e), -1);
	assert_string_equal(e.text, "failed to get cpu utilization: missing pod-level request for cpu in Pod web");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_proportion_to_the_load), cmocka_unit_test(what_is_not_known_holds_back),
		cmocka_unit_test(nothing_is_divided_by), cmocka_unit_test(the_plain_rules), cmocka_unit_test(the_users_policies),
		cmocka_unit_test(a_window_on_the_way_up), cmocka_unit_test(of_the_pod_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
