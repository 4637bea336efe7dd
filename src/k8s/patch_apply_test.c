// SPDX-License-Identifier: Apache-2.0
// Server-side apply: sequences of applies and updates by several managers.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "golden.h"
#include "managed_fields.h"
#include "patch.h"

#define HEAD "'apiVersion':'v1','kind':'Pod','metadata':{'name':'x'"

/* Apply and check: the new object; live is consumed. want: the object without managedFields. */
static json_t *apply(json_t *live, const char *manager, int force, const char *text, const char *want)
{
	json_t *applied = golden_parse(text), *out = NULL, *conflicts = NULL;
	struct err e = ERR_INIT;
	struct k8s_apply how = {.manager = manager, .force = force};
	if (k8s_patch_apply(golden_kind("Pod"), live, applied, &how, &out, &conflicts, &e))
		fail_msg("%s: %s", text, e.text);
	assert_null(conflicts);
	json_t *shown = json_deep_copy(out), *w = golden_parse(want);
	json_object_del(json_object_get(shown, "metadata"), "managedFields");
	if (!json_equal(shown, w)) {
		own_free char *got = json_dumps(shown, 0);
		fail_msg("%s\n gives %s\n want %s", text, got, want);
	}
	json_decref(shown);
	json_decref(w);
	json_decref(applied);
	json_decref(live);
	return out;
}

/* want: "message: field" of each, a line each. */
static void conflict(const json_t *live, const char *manager, const char *text, const char *want)
{
	json_t *applied = golden_parse(text), *out = NULL, *conflicts = NULL, *c;
	struct k8s_apply how = {.manager = manager};
	own_buf struct buf found = BUF_INIT;
	struct err e = ERR_INIT;
	size_t i;
	assert_int_equal(k8s_patch_apply(golden_kind("Pod"), live, applied, &how, &out, &conflicts, &e), -EEXIST);
	json_array_foreach(conflicts, i, c)
		buf_printf(&found, "%s%s: %s", i ? "\n" : "", jpath_str(c, "message", ""), jpath_str(c, "field", ""));
	assert_string_equal(found.data ? found.data : "", want);
	assert_null(out);
	json_decref(conflicts);
	json_decref(applied);
}

static void expect_fields(const json_t *obj, const char *manager, const char *operation, const char *want)
{
	json_t *entry = k8s_managed_entry(jpath_get(obj, "metadata.managedFields"), manager, operation, NULL, NULL);
	json_t *w = want ? golden_parse(want) : NULL;
	own_free char *text = json_dumps(k8s_managed_entry_set(entry), JSON_SORT_KEYS);
	if (want ? !entry || !json_equal(k8s_managed_entry_set(entry), w) : entry != NULL)
		fail_msg("%s owns %s", manager, text ? text : "nothing");
	json_decref(w);
}

static void test_apply(void **state)
{
	(void)state;
	json_t *obj = apply(NULL, "a", 0, "{" HEAD ",'labels':{'l':'1','m':'2'}},'spec':{'containers':[{'name':'c','image':'i','ports':[{"
			    "'containerPort':80}]}]}}",
			    "{" HEAD ",'labels':{'l':'1','m':'2'}},'spec':{'containers':[{'name':'c','image':'i','ports':[{'containerPort':80}]}]}}");
	assert_int_equal(json_array_size(jpath_get(obj, "metadata.managedFields")), 1);
	json_t *fields = golden_parse("{'f:metadata':{'f:labels':{'f:l':{},'f:m':{}}},'f:spec':{'f:containers':{'K':{'.':{},'f:name':{},"
				      "'f:image':{},'f:ports':{'P':{'.':{},'f:containerPort':{}}}}}}}");
	json_t *containers = jpath_get(fields, "f:spec.f:containers"), *c = json_object_get(containers, "K"), *ports = json_object_get(c, "f:ports");
	json_object_set(ports, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}", json_object_get(ports, "P"));
	json_object_del(ports, "P");
	json_object_set(containers, "k:{\"name\":\"c\"}", c);
	json_object_del(containers, "K");
	assert_true(json_equal(k8s_managed_entry_set(json_array_get(jpath_get(obj, "metadata.managedFields"), 0)), fields));
	json_decref(fields);
	/* The same again changes nothing. */
	json_t *before = json_deep_copy(obj);
	obj = apply(obj, "a", 0, "{" HEAD ",'labels':{'l':'1','m':'2'}},'spec':{'containers':[{'name':'c','image':'i','ports':[{"
		    "'containerPort':80}]}]}}",
		    "{" HEAD ",'labels':{'l':'1','m':'2'}},'spec':{'containers':[{'name':'c','image':'i','ports':[{'containerPort':80}]}]}}");
	assert_true(json_equal(obj, before));
	json_decref(before);
	/* Another manager adds; the first leaves a label out; both own 'l'. */
	obj = apply(obj, "b", 0, "{" HEAD ",'labels':{'l':'1','n':'3'}},'spec':{'containers':[{'name':'d','image':'j'}]}}",
		    "{" HEAD ",'labels':{'l':'1','m':'2','n':'3'}},'spec':{'containers':[{'name':'c','image':'i','ports':[{'containerPort':80}]},"
		    "{'name':'d','image':'j'}]}}");
	obj = apply(obj, "a", 0, "{" HEAD "},'spec':{'containers':[{'name':'c','image':'i'}]}}",
		    "{" HEAD ",'labels':{'l':'1','n':'3'}},'spec':{'containers':[{'name':'c','image':'i'},{'name':'d','image':'j'}]}}");
	json_decref(obj);
}

static void test_conflicts(void **state)
{
	(void)state;
	json_t *obj = apply(NULL, "a", 0, "{" HEAD ",'labels':{'l':'1'}},'spec':{'containers':[{'name':'c','image':'i'}],'nodeName':'n'}}",
			    "{" HEAD ",'labels':{'l':'1'}},'spec':{'containers':[{'name':'c','image':'i'}],'nodeName':'n'}}");
	conflict(obj, "b", "{" HEAD "},'spec':{'containers':[{'name':'c','image':'j'}]}}",
		 "conflict with \"a\": .spec.containers[name=\"c\"].image");
	conflict(obj, "b", "{" HEAD ",'labels':{'l':'2'}},'spec':{'nodeName':'m'}}",
		 "conflict with \"a\": .metadata.labels.l\nconflict with \"a\": .spec.nodeName");
	obj = apply(obj, "b", 1, "{" HEAD ",'labels':{'l':'2'}}}",
		    "{" HEAD ",'labels':{'l':'2'}},'spec':{'containers':[{'name':'c','image':'i'}],'nodeName':'n'}}");
	expect_fields(obj, "b", "Apply", "{'f:metadata':{'f:labels':{'f:l':{}}}}");
	conflict(obj, "a", "{" HEAD ",'labels':{'l':'1'}},'spec':{'containers':[{'name':'c','image':'i'}],'nodeName':'n'}}",
		 "conflict with \"b\": .metadata.labels.l");
	/* Removed by its owner. */
	obj = apply(obj, "b", 0, "{" HEAD "}}", "{" HEAD "},'spec':{'containers':[{'name':'c','image':'i'}],'nodeName':'n'}}");
	expect_fields(obj, "b", "Apply", NULL);
	json_decref(obj);
}

static void test_updates(void **state)
{
	(void)state;
	const struct k8s_kind *k = golden_kind("Pod");
	struct err e = ERR_INIT;
	json_t *obj = apply(NULL, "a", 0, "{" HEAD ",'labels':{'l':'1','m':'1'}}}", "{" HEAD ",'labels':{'l':'1','m':'1'}}}");
	json_t *edited = json_deep_copy(obj);
	json_object_set_new(jpath_get(edited, "metadata.labels"), "l", json_string("9"));
	json_object_del(jpath_get(edited, "metadata.labels"), "m");
	assert_int_equal(k8s_managed_fields_update(k, obj, edited, "kubectl-edit", NULL, &e), 0);
	expect_fields(edited, "a", "Apply", NULL);
	expect_fields(edited, "kubectl-edit", "Update", "{'f:metadata':{'f:labels':{'f:l':{}}}}");
	conflict(edited, "a", "{" HEAD ",'labels':{'l':'1'}}}",
		 "conflict with \"kubectl-edit\" using v1: .metadata.labels.l");
	json_decref(edited);
	json_decref(obj);
	/* Never applied before. */
	json_t *plain = golden_parse("{" HEAD ",'labels':{'l':'1'}},'spec':{'nodeName':'n'}}");
	conflict(plain, "a", "{" HEAD ",'labels':{'l':'2'}}}",
		 "conflict with \"before-first-apply\" using v1: .metadata.labels.l");
	plain = apply(plain, "a", 0, "{" HEAD ",'labels':{'l':'1','k':'1'}}}", "{" HEAD ",'labels':{'l':'1','k':'1'}},'spec':{'nodeName':'n'}}");
	plain = apply(plain, "a", 0, "{" HEAD ",'labels':{}}}", "{" HEAD ",'labels':{'l':'1'}},'spec':{'nodeName':'n'}}");
	json_decref(plain);
}

#define LAST "'kubectl.kubernetes.io/last-applied-configuration':"

/* What client-side apply stated and nobody changed since is kubectl's to change, nobody else's. */
static void test_after_client_side_apply(void **state)
{
	(void)state;
	json_t *live = golden_parse("{" HEAD ",'labels':{'l':'1','m':'9'},'annotations':{" LAST "'{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":"
				    "\\\"Pod\\\",\\\"metadata\\\":{\\\"name\\\":\\\"x\\\",\\\"labels\\\":{\\\"l\\\":\\\"1\\\",\\\"m\\\":\\\"1\\\"}}}'}}}");
	conflict(live, "a", "{" HEAD ",'labels':{'l':'2'}}}", "conflict with \"before-first-apply\" using v1: .metadata.labels.l");
	conflict(live, "kubectl", "{" HEAD ",'labels':{'l':'2','m':'2'}}}",
		 "conflict with \"before-first-apply\" using v1: .metadata.labels.m");
	json_t *obj = apply(live, "kubectl", 0, "{" HEAD ",'labels':{'l':'2'}}}",
			    "{" HEAD ",'labels':{'l':'2','m':'9'},'annotations':{" LAST "'{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":"
			    "\\\"Pod\\\",\\\"metadata\\\":{\\\"name\\\":\\\"x\\\",\\\"labels\\\":{\\\"l\\\":\\\"2\\\"}}}\\n'}}}");
	expect_fields(obj, "kubectl", "Apply", "{'f:metadata':{'f:labels':{'f:l':{}}}}");
	json_decref(obj);
}

/* An apply of a subresource is an owner of its own. */
static void test_subresource(void **state)
{
	(void)state;
	json_t *obj = apply(NULL, "a", 0, "{" HEAD ",'labels':{'l':'1'}}}", "{" HEAD ",'labels':{'l':'1'}}}");
	json_t *applied = golden_parse("{" HEAD "},'status':{'phase':'Running'}}"), *out = NULL, *conflicts = NULL;
	struct k8s_apply how = {.manager = "a", .subresource = "status"};
	struct err e = ERR_INIT;
	assert_int_equal(k8s_patch_apply(golden_kind("Pod"), obj, applied, &how, &out, &conflicts, &e), 0);
	expect_fields(out, "a", "Apply", "{'f:metadata':{'f:labels':{'f:l':{}}}}");
	conflict(out, "b", "{" HEAD "},'status':{'phase':'Failed'}}", "conflict with \"a\" with subresource \"status\": .status.phase");
	json_decref(applied);
	json_decref(out);
	json_decref(obj);
}

/* A client may hand fields from one owner to another; what is not whole counts as not said. */
static void test_said_by_client(void **state)
{
	(void)state;
	static const char *const wrong[] = {"[{'manager':'z','operation':'Update','apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f':{}}}]",
		"[{'manager':'z','operation':'Jump','apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{}}]", "[{'manager':'z'}]",
		"[{'manager':'z','operation':'Update','apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:a':5}}]", "[5]", "5"};
	const struct k8s_kind *k = golden_kind("Pod");
	struct err e = ERR_INIT;
	json_t *obj = apply(NULL, "a", 0, "{" HEAD ",'labels':{'l':'1'}}}", "{" HEAD ",'labels':{'l':'1'}}}");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		json_t *said = json_deep_copy(obj);
		jpath_set(said, "metadata.managedFields", golden_parse(wrong[i]));
		assert_int_equal(k8s_managed_fields_update(k, obj, said, "kubectl-patch", NULL, &e), 0);
		expect_fields(said, "a", "Apply", "{'f:metadata':{'f:labels':{'f:l':{}}}}");
		json_decref(said);
	}
	json_t *moved = json_deep_copy(obj);
	json_object_set_new(json_array_get(jpath_get(moved, "metadata.managedFields"), 0), "manager", json_string("b"));
	assert_int_equal(k8s_managed_fields_update(k, obj, moved, "kubectl-patch", NULL, &e), 0);
	expect_fields(moved, "a", "Apply", NULL);
	expect_fields(moved, "b", "Apply", "{'f:metadata':{'f:labels':{'f:l':{}}}}");
	jpath_set(moved, "metadata.managedFields", golden_parse("[{}]"));
	assert_int_equal(k8s_managed_fields_update(k, obj, moved, "kubectl-patch", NULL, &e), 0);
	assert_null(jpath_get(moved, "metadata.managedFields"));
	json_decref(moved);
	json_decref(obj);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"[]", "an apply patch must be an object"}, {"{" HEAD ",'managedFields':[]}}", "metadata.managedFields must be nil"},
		{"{'apiVersion':'v2','kind':'Pod'}", "the applied object must have apiVersion v1 and kind Pod"},
		{"{" HEAD "},'spec':{'containers':[{'image':'x'}]}}", "element of list containers: associative list with keys has an element "
			"that omits key field \"name\""},
		{"{" HEAD "},'spec':{'containers':[{'name':'x'},{'name':'x'}]}}", "list containers: duplicate entries for key {\"name\":\"x\"}"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *applied = golden_parse(cases[i][0]), *out = NULL, *conflicts = NULL;
		struct err e = ERR_INIT;
		struct k8s_apply how = {.manager = "a"};
		assert_int_equal(k8s_patch_apply(golden_kind("Pod"), NULL, applied, &how, &out, &conflicts, &e), -EINVAL);
		assert_string_equal(e.text, cases[i][1]);
		json_decref(applied);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_apply), cmocka_unit_test(test_conflicts), cmocka_unit_test(test_updates),
		cmocka_unit_test(test_after_client_side_apply), cmocka_unit_test(test_subresource), cmocka_unit_test(test_said_by_client),
		cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
