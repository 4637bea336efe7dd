// SPDX-License-Identifier: Apache-2.0
// Server-side apply: sequences of applies and updates by several managers.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "golden.h"
#include "managed_fields.h"
#include "patch.h"

#define HEAD "'apiVersion':'v1','kind':'Pod','metadata':{'name':'x'"

/* Apply and check: the new object; live is consumed. want: the object without managedFields. */
static json_t *apply(json_t *live, const char *manager, int force, const char *text, const char *want)
{
	json_t *applied = golden_parse(text), *out = NULL, *conflicts = NULL;
	struct err e = ERR_INIT;
	if (k8s_patch_apply(golden_kind("Pod"), live, applied, manager, force, &out, &conflicts, &e))
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

static void conflict(const json_t *live, const char *manager, const char *text, const char *message)
{
	json_t *applied = golden_parse(text), *out = NULL, *conflicts = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(k8s_patch_apply(golden_kind("Pod"), live, applied, manager, 0, &out, &conflicts, &e), -EEXIST);
	assert_string_equal(e.text, message);
	assert_true(json_array_size(conflicts) > 0);
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
		 "Apply failed with 1 conflict: conflict with \"a\" using v1: .spec.containers[name=\"c\"].image");
	conflict(obj, "b", "{" HEAD ",'labels':{'l':'2'}},'spec':{'nodeName':'m'}}",
		 "Apply failed with 2 conflicts: conflicts with \"a\" using v1:\n- .metadata.labels.l\n- .spec.nodeName");
	obj = apply(obj, "b", 1, "{" HEAD ",'labels':{'l':'2'}}}",
		    "{" HEAD ",'labels':{'l':'2'}},'spec':{'containers':[{'name':'c','image':'i'}],'nodeName':'n'}}");
	expect_fields(obj, "b", "Apply", "{'f:metadata':{'f:labels':{'f:l':{}}}}");
	conflict(obj, "a", "{" HEAD ",'labels':{'l':'1'}},'spec':{'containers':[{'name':'c','image':'i'}],'nodeName':'n'}}",
		 "Apply failed with 1 conflict: conflict with \"b\" using v1: .metadata.labels.l");
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
		 "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1: .metadata.labels.l");
	json_decref(edited);
	json_decref(obj);
	/* Never applied before. */
	json_t *plain = golden_parse("{" HEAD ",'labels':{'l':'1'}},'spec':{'nodeName':'n'}}");
	conflict(plain, "a", "{" HEAD ",'labels':{'l':'2'}}}",
		 "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .metadata.labels.l");
	plain = apply(plain, "a", 0, "{" HEAD ",'labels':{'l':'1','k':'1'}}}", "{" HEAD ",'labels':{'l':'1','k':'1'}},'spec':{'nodeName':'n'}}");
	plain = apply(plain, "a", 0, "{" HEAD ",'labels':{}}}", "{" HEAD ",'labels':{'l':'1'}},'spec':{'nodeName':'n'}}");
	json_decref(plain);
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
		assert_int_equal(k8s_patch_apply(golden_kind("Pod"), NULL, applied, "a", 0, &out, &conflicts, &e), -EINVAL);
		assert_string_equal(e.text, cases[i][1]);
		json_decref(applied);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_apply), cmocka_unit_test(test_conflicts), cmocka_unit_test(test_updates),
		cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
