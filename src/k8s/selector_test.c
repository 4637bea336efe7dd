// SPDX-License-Identifier: Apache-2.0
#include "selector.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_labels(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool match;
	} cases[] = {
		{"", true}, {NULL, true}, {" ", true}, {"app=web", true}, {"app==web", true}, {"app = web", true}, {"app=db", false},
		{"app!=db", true}, {"app!=web", false}, {"none!=x", true}, {"app in (web,db)", true}, {"app in (db)", false},
		{"app notin (db, x)", true}, {"app notin (web)", false}, {"none notin (a)", true}, {"app", true}, {"none", false},
		{"!none", true}, {"!app", false}, {"! none", true}, {"app=web,tier in (front),!none", true}, {"n>4", true}, {"n<4", false},
		{"n>5", false}, {"app>3", false}, {"none>3", false}, {"empty=", true}, {"empty in ()", true}, {"empty in (a,)", true},
		{"example.com/x=1", true}, {"in in (in,notin)", true}, {"app=,tier=front", false}, {"empty=,tier=front", true},
	};
	json_t *labels = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "app", "web", "tier", "front", "n", "5", "empty", "",
				   "example.com/x", "1", "in", "in");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct k8s_selector *s = NULL;
		struct err e = ERR_INIT;
		if (k8s_label_selector_parse(cases[i].text, &s, &e))
			fail_msg("'%s': %s", cases[i].text, e.text);
		if (k8s_label_selector_match(s, labels) != cases[i].match)
			fail_msg("'%s' should %smatch", cases[i].text, cases[i].match ? "" : "not ");
		k8s_selector_free(s);
	}
	json_decref(labels);
}

static void test_labels_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
		{",", "found ',', expected: !, identifier, or 'end of string'"},
		{"a,", "found '', expected: identifier after ','"},
		{"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
		{"a=b c", "found 'c', expected: ',' or 'end of string'"},
		{"a in b", "unable to parse requirement: found 'b', expected: '('"},
		{"a in (b", "unable to parse requirement: found '', expected: ',' or ')'"},
		{"a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"},
		{"a=(", "unable to parse requirement: found '(', expected: identifier"},
		{"!", "unable to parse requirement: found '', expected: identifier"},
		{"a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an "
			"integer"},
		{"/a", "unable to parse requirement: key: Invalid value: \"/a\": prefix part must be non-empty"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct k8s_selector *s = (void *)1;
		struct err e = ERR_INIT;
		assert_int_equal(k8s_label_selector_parse(cases[i].text, &s, &e), -EINVAL);
		assert_string_equal(e.text, cases[i].message);
		assert_ptr_equal(s, (void *)1);
	}
	struct k8s_selector *s;
	struct err e = ERR_INIT;
	assert_int_equal(k8s_label_selector_parse("a=-x", &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "values[0][a]: Invalid value: \"-x\": a valid label must be an empty string"));
}

static bool object_matches(const char *selector, const char *labels, int want_rc)
{
	json_t *j = selector ? json_loads(selector, 0, NULL) : NULL, *l = json_loads(labels, 0, NULL);
	struct k8s_selector *s = NULL;
	struct err e = ERR_INIT;
	bool match = false;
	assert_int_equal(k8s_label_selector_from_json(j, &s, &e), want_rc);
	if (!want_rc)
		match = k8s_label_selector_match(s, l);
	k8s_selector_free(s);
	json_decref(j);
	json_decref(l);
	return match;
}

static void test_object(void **state)
{
	(void)state;
	assert_false(object_matches(NULL, "{\"a\":\"b\"}", 0));
	assert_true(object_matches("{}", "{\"a\":\"b\"}", 0));
	assert_true(object_matches("{\"matchLabels\":{\"a\":\"b\"}}", "{\"a\":\"b\"}", 0));
	assert_false(object_matches("{\"matchLabels\":{\"a\":\"b\"}}", "{}", 0));
	assert_true(object_matches("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"b\"]},"
				   "{\"key\":\"z\",\"operator\":\"DoesNotExist\"}]}", "{\"a\":\"b\"}", 0));
	object_matches("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}", "{}", -EINVAL);
	object_matches("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Like\"}]}", "{}", -EINVAL);
	object_matches("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\",\"values\":[\"x\"]}]}", "{}", -EINVAL);
	object_matches("[]", "{}", -EINVAL);
}

static void test_fields(void **state)
{
	(void)state;
	json_t *pod = json_loads("{\"metadata\":{\"name\":\"x=1,y\"},\"spec\":{\"nodeName\":\"n1\",\"hostNetwork\":true},"
				 "\"status\":{\"phase\":\"Running\"}}", 0, NULL);
	static const struct {
		const char *text;
		bool match;
	} cases[] = {
		{"", true}, {"metadata.name=x\\=1\\,y", true}, {"spec.nodeName=n1", true}, {"spec.nodeName==n2", false},
		{"spec.nodeName!=n2,status.phase=Running", true}, {"spec.nodeName=", false}, {"spec.schedulerName=", true},
		{"spec.hostNetwork=true", true}, {"spec.unschedulable=false", true}, {"status.replicas=0", true}, {"status.phase!=Running,", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct k8s_selector *s = NULL;
		struct err e = ERR_INIT;
		if (k8s_field_selector_parse(cases[i].text, &s, &e))
			fail_msg("'%s': %s", cases[i].text, e.text);
		if (k8s_field_selector_match(s, pod) != cases[i].match)
			fail_msg("'%s'", cases[i].text);
		k8s_selector_free(s);
	}
	struct k8s_selector *s = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(k8s_field_selector_parse("a.b!=c,spec.nodeName=n1", &s, &e), 0);
	assert_string_equal(k8s_field_selector_value(s, "spec.nodeName"), "n1");
	assert_null(k8s_field_selector_value(s, "a.b"));
	assert_int_equal(k8s_field_selector_count(s), 2);
	assert_string_equal(k8s_field_selector_field(s, 0), "a.b");
	assert_null(k8s_field_selector_field(s, 2));
	k8s_selector_free(s);
	assert_int_equal(k8s_field_selector_parse("abc", &s, &e), -EINVAL);
	assert_string_equal(e.text, "invalid selector: 'abc'; can't understand 'abc'");
	assert_int_equal(k8s_field_selector_parse("a=b=c", &s, &e), -EINVAL);
	assert_int_equal(k8s_field_selector_parse("a=b\\x", &s, &e), -EINVAL);
	json_decref(pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_labels), cmocka_unit_test(test_labels_refused),
		cmocka_unit_test(test_object), cmocka_unit_test(test_fields)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
