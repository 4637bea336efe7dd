// SPDX-License-Identifier: Apache-2.0
// The table of kinds, metadata, Status of failures, tables.
#include "kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "table.h"

static void test_rows(void **state)
{
	(void)state;
	size_t n;
	const struct k8s_kind *rows = k8s_kinds(&n);
	assert_true(n > 50);
	for (size_t i = 0; i < n; i++) {
		const struct k8s_kind *k = &rows[i];
		char api_version[128];
		assert_ptr_equal(k8s_kind_find(k->group, k->version, k->plural), k);
		snprintf(api_version, sizeof(api_version), "%s%s%s", k->group, *k->group ? "/" : "", k->version);
		assert_ptr_equal(k8s_kind_by_name(api_version, k->kind), k);
		if (k8s_kind_has_verb(k, "get") && strcmp(k->group, "metrics.k8s.io"))   // measured, not stored
			assert_true(k8s_kind_stored(k)->storage);
		for (const char *const *s = k->subresources; s && *s; s++)
			assert_non_null(k8s_subresource_find(*s));
		assert_int_equal(k->status_subresource, k8s_kind_has_subresource(k, "status"));
	}
	assert_null(k8s_kind_find("", "v1", "nothing"));
	assert_null(k8s_kind_by_name("v2", "Pod"));
	assert_null(k8s_kind_by_name("apps/", "Deployment"));
	const struct k8s_kind *events = k8s_kind_find("events.k8s.io", "v1", "events");
	assert_ptr_equal(k8s_kind_stored(events), k8s_kind_find("", "v1", "events"));
	assert_true(k8s_kind_field_selectable(k8s_kind_find("", "v1", "pods"), "spec.nodeName"));
	assert_false(k8s_kind_field_selectable(k8s_kind_find("", "v1", "nodes"), "metadata.namespace"));
}

static void expect(const char *plural, const char *object, const char *message)
{
	const struct k8s_kind *k = k8s_kind_find("", "v1", plural);
	json_t *obj = json_loads(object, 0, NULL);
	struct k8s_errors *e = k8s_errors_new();
	assert_non_null(obj);
	k8s_validate_metadata(k, obj, e);
	json_t *status = k8s_errors_status(e, k, jpath_str(obj, "metadata.name", ""));
	if (message)
		assert_string_equal(jpath_str(status, "message", ""), message);
	else if (k8s_errors_count(e))
		fail_msg("%s", jpath_str(status, "message", ""));
	json_decref(status);
	k8s_errors_free(e);
	json_decref(obj);
}

static void test_metadata(void **state)
{
	(void)state;
	expect("pods", "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}}", NULL);
	expect("pods", "{\"metadata\":{\"generateName\":\"x-\",\"namespace\":\"d\",\"finalizers\":[\"a.b/c\",\"orphan\"],"
		       "\"labels\":{\"a.b/c\":\"d\",\"e\":\"\"},\"annotations\":{\"A.b/C\":\"any {}\"}}}", NULL);
	expect("nodes", "{\"metadata\":{\"name\":\"x\"}}", NULL);
	expect("pods", "{\"metadata\":{\"namespace\":\"d\"}}",
	       "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required");
	expect("pods", "{\"metadata\":{\"name\":\"x\"}}", "Pod \"x\" is invalid: metadata.namespace: Required value");
	expect("nodes", "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}}",
	       "Node \"x\" is invalid: metadata.namespace: Forbidden: not allowed on this type");
	expect("pods", "{\"metadata\":{\"name\":\"X_\",\"namespace\":\"d\",\"labels\":{\"a\":\"-\"}}}",
	       "Pod \"X_\" is invalid: [metadata.name: Invalid value: \"X_\": a lowercase RFC 1123 subdomain must consist of lower "
	       "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
	       "'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), "
	       "metadata.labels: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric "
	       "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
	       "'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')]");
	expect("pods", "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"finalizers\":[\"zz\"]}}",
	       "Pod \"x\" is invalid: metadata.finalizers[0]: Invalid value: \"zz\": name is neither a standard finalizer name nor "
	       "is it fully qualified");
	expect("pods", "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
		       "\"name\":\"y\"}]}}",
	       "Pod \"x\" is invalid: metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty");
}

static void test_update(void **state)
{
	(void)state;
	const struct k8s_kind *k = k8s_kind_find("", "v1", "configmaps");
	json_t *old = json_loads("{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"uid\":\"1\"}}", 0, NULL);
	json_t *now = json_loads("{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"uid\":\"2\"}}", 0, NULL);
	struct k8s_errors *e = k8s_errors_new();
	k8s_validate_metadata_update(k, now, old, e);
	json_t *status = k8s_errors_status(e, k, "x");
	assert_string_equal(jpath_str(status, "message", ""),
			    "ConfigMap \"x\" is invalid: metadata.uid: Invalid value: \"2\": field is immutable");
	assert_int_equal(jpath_int(status, "code", 0), 422);
	json_t *cause = json_array_get(jpath_get(status, "details.causes"), 0);
	assert_string_equal(jpath_str(cause, "reason", ""), "FieldValueInvalid");
	assert_string_equal(jpath_str(cause, "field", ""), "metadata.uid");
	json_decref(status);
	k8s_errors_free(e);
	json_decref(old);
	json_decref(now);
}

static void test_many_failures(void **state)
{
	(void)state;
	struct k8s_errors *e = k8s_errors_new();
	for (int i = 0; i < 100000; i++)
		k8s_errors_add(e, "FieldValueInvalid", "a.b", "Invalid value: %d", i);
	assert_int_equal(k8s_errors_count(e), 100000);
	json_t *status = k8s_errors_status(e, k8s_kind_find("", "v1", "pods"), "x");
	assert_true(json_array_size(jpath_get(status, "details.causes")) < 1000);
	json_decref(status);
	k8s_errors_free(e);
}

static void test_duration(void **state)
{
	(void)state;
	static const struct {
		int64_t s;
		const char *text;
	} cases[] = {{0, "0s"}, {119, "119s"}, {120, "2m"}, {125, "2m5s"}, {599, "9m59s"}, {600, "10m"}, {601, "10m"}, {10799, "179m"},
		{10800, "3h"}, {10860, "3h1m"}, {28800, "8h"}, {172799, "47h"}, {172800, "2d"}, {176400, "2d1h"}, {691200, "8d"},
		{63072000, "2y"}, {63158400, "2y1d"}, {283824000, "9y"}, {-1, "0s"}, {-5, "<invalid>"}};
	char out[K8S_AGE_MAX];
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(k8s_duration_text(cases[i].s, out), cases[i].text);
	assert_string_equal(k8s_age_text(NULL, out), "<unknown>");
}

static void test_plain_table(void **state)
{
	(void)state;
	json_t *list = json_loads("[{\"metadata\":{\"name\":\"x\"},\"spec\":{}}]", 0, NULL);
	json_t *t = k8s_table(k8s_kind_find("", "v1", "podtemplates"), list, NULL, "17", "more");
	assert_string_equal(jpath_str(t, "kind", ""), "Table");
	assert_string_equal(jpath_str(t, "metadata.resourceVersion", ""), "17");
	assert_string_equal(jpath_str(t, "metadata.continue", ""), "more");
	json_t *row = json_array_get(json_object_get(t, "rows"), 0);
	assert_string_equal(json_string_value(json_array_get(json_object_get(row, "cells"), 0)), "x");
	assert_string_equal(jpath_str(row, "object.kind", ""), "PartialObjectMetadata");
	assert_null(jpath_get(row, "object.spec"));
	json_decref(t);
	t = k8s_table(k8s_kind_find("", "v1", "podtemplates"), list, "Object", NULL, NULL);
	assert_non_null(jpath_get(json_array_get(json_object_get(t, "rows"), 0), "object.spec"));
	json_decref(t);
	t = k8s_table(k8s_kind_find("", "v1", "podtemplates"), list, "None", NULL, NULL);
	assert_null(jpath_get(json_array_get(json_object_get(t, "rows"), 0), "object"));
	json_decref(t);
	json_decref(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_metadata), cmocka_unit_test(test_update),
		cmocka_unit_test(test_many_failures), cmocka_unit_test(test_duration), cmocka_unit_test(test_plain_table)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
