// SPDX-License-Identifier: Apache-2.0
// Decoding: order of the tables, unknown fields, wrong types, stored form.
#include "schema.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kind.h"

static json_t *parse(const char *text)
{
	char *copy = strdup(text);
	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json_t *j = json_loads(copy, JSON_DECODE_ANY, NULL);
	assert_non_null(j);
	free(copy);
	return j;
}

static size_t checked;

static void check_schema(const struct k8s_schema *s, int depth)
{
	assert_true(depth < 40);
	checked++;
	for (size_t i = 0; i < s->count; i++) {
		const struct k8s_field *f = &s->fields[i];
		if (i && strcmp(s->fields[i - 1].name, f->name) >= 0)
			fail_msg("%s: %s is out of order", s->name, f->name);
		assert_ptr_equal(k8s_schema_field(s, f->name), f);
		assert_int_equal(f->type == K8S_OBJECT, f->of != NULL);
		if (f->merge_key && !k8s_schema_field(f->of, f->merge_key))
			fail_msg("%s.%s: no merge key %s", s->name, f->name, f->merge_key);
		if (f->keys) {
			char *keys = strdup(f->keys);
			for (char *save, *key = strtok_r(keys, ",", &save); key; key = strtok_r(NULL, ",", &save))
				if (!k8s_schema_field(f->of, key))
					fail_msg("%s.%s: no key %s", s->name, f->name, key);
			free(keys);
		}
		if (f->of && strcmp(s->name, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps") && f->of != s)
			check_schema(f->of, depth + 1);
	}
}

static void test_tables(void **state)
{
	(void)state;
	size_t n;
	const struct k8s_kind *rows = k8s_kinds(&n);
	for (size_t i = 0; i < n; i++) {
		assert_non_null(rows[i].schema);
		check_schema(rows[i].schema, 0);
		assert_non_null(k8s_schema_field(rows[i].schema, "metadata"));
		if (rows[i].status_subresource)
			assert_non_null(k8s_schema_field(rows[i].schema, "status"));
	}
	assert_true(checked > 400);
	assert_null(k8s_schema_field(rows[0].schema, ""));
}

static void test_unknown(void **state)
{
	(void)state;
	const struct k8s_kind *k = k8s_kind_find("", "v1", "pods");
	json_t *obj = parse("{'apiVersion':'v1','kind':'Pod','foo':1,'spec':{'bar':{},'containers':[{'name':'a'},{'name':'b','ports':"
			    "[{'x':1}]}]},'metadata':{'annotations':{'anything':'y'}}}");
	json_t *unknown = json_array();
	struct err e = ERR_INIT;
	assert_int_equal(k8s_decode(k, obj, unknown, &e), 0);
	assert_int_equal(k8s_strict_error("v1", "Pod", unknown, &e), -EINVAL);
	assert_string_equal(e.text, "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"foo\", unknown "
				    "field \"spec.bar\", unknown field \"spec.containers[1].ports[0].x\"");
	json_t *want = parse("{'apiVersion':'v1','kind':'Pod','spec':{'containers':[{'name':'a'},{'name':'b','ports':[{}]}]},"
			     "'metadata':{'annotations':{'anything':'y'}}}");
	assert_true(json_equal(obj, want));
	json_decref(want);
	json_decref(unknown);
	json_decref(obj);
}

static void test_wrong_types(void **state)
{
	(void)state;
	static const struct {
		const char *group, *plural, *obj, *message;
	} cases[] = {
		{"", "pods", "{'spec':{'containers':'x'}}", "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal string "
			"into Go struct field PodSpec.spec.containers of type []v1.Container"},
		{"", "pods", "{'spec':{'containers':[{'image':5}]}}", "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal "
			"number into Go struct field Container.spec.containers.image of type string"},
		{"", "pods", "{'spec':[]}", "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal array into Go struct "
			"field Pod.spec of type v1.PodSpec"},
		{"apps", "deployments", "{'spec':{'replicas':'3'}}", "Deployment in version \"v1\" cannot be handled as a Deployment: json: "
			"cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"},
		{"apps", "deployments", "{'spec':{'replicas':3000000000}}", "Deployment in version \"v1\" cannot be handled as a Deployment: json: "
			"cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"},
		{"", "pods", "{'metadata':{'labels':['a']}}", "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal array "
			"into Go struct field ObjectMeta.metadata.labels of type map[string]string"},
		{"", "pods", "{'metadata':{'labels':{'a':1}}}", "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number "
			"into Go struct field ObjectMeta.metadata.labels.a of type string"},
		{"", "pods", "{'spec':{'containers':[{'resources':{'limits':{'cpu':'abc'}}}]}}", "Pod in version \"v1\" cannot be handled as a "
			"Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
		{"", "secrets", "{'data':{'a':'%%'}}", "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data"},
		{"", "pods", "[]", "the body must be a JSON object"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *obj = parse(cases[i].obj);
		struct err e = ERR_INIT;
		assert_int_equal(k8s_decode(k8s_kind_find(cases[i].group, "v1", cases[i].plural), obj, NULL, &e), -EINVAL);
		assert_string_equal(e.text, cases[i].message);
		json_decref(obj);
	}
}

static void test_stored_form(void **state)
{
	(void)state;
	json_t *obj = parse("{'metadata':{'name':'x','labels':{},'creationTimestamp':null,'deletionTimestamp':'2026-01-02T03:04:05.6+01:00'},"
			    "'spec':{'hostNetwork':false,'nodeName':'','automountServiceAccountToken':false,'containers':[{'name':'a','args':[],"
			    "'resources':{'requests':{'cpu':0.5,'memory':'1024Mi','x':2}},'securityContext':{}}],'priority':0,"
			    "'volumes':[{'name':'v','emptyDir':{}}]}}");
	json_t *want = parse("{'metadata':{'name':'x','deletionTimestamp':'2026-01-02T02:04:05Z'},"
			     "'spec':{'automountServiceAccountToken':false,'containers':[{'name':'a',"
			     "'resources':{'requests':{'cpu':'500m','memory':'1Gi','x':'2'}},'securityContext':{}}],'priority':0,"
			     "'volumes':[{'name':'v','emptyDir':{}}]}}");
	struct err e = ERR_INIT;
	assert_int_equal(k8s_decode(k8s_kind_find("", "v1", "pods"), obj, NULL, &e), 0);
	char *text = json_dumps(obj, 0);
	if (!json_equal(obj, want))
		fail_msg("%s", text);
	free(text);
	json_decref(obj);
	json_decref(want);
}

static void test_duplicates(void **state)
{
	(void)state;
	static const char text[] = "{\"a\":1,\"b\":{\"c\":[{\"d\":1},{\"d\":1,\"d\":\"x:{\"}]},\"a\":2,\"s\":\"\\\"a\\\":\",\"x\":\"a\"}";
	json_t *found = json_array();
	assert_int_equal(k8s_json_duplicates(text, sizeof(text) - 1, found), 0);
	assert_int_equal(json_array_size(found), 2);
	assert_string_equal(json_string_value(json_array_get(found, 0)), "duplicate field \"b.c[1].d\"");
	assert_string_equal(json_string_value(json_array_get(found, 1)), "duplicate field \"a\"");
	assert_int_equal(k8s_json_duplicates("{\"a", 3, found), -EINVAL);
	assert_int_equal(k8s_json_duplicates("{", 1, found), -EINVAL);
	assert_int_equal(k8s_json_duplicates("]", 1, found), -EINVAL);
	json_decref(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables), cmocka_unit_test(test_unknown), cmocka_unit_test(test_wrong_types),
		cmocka_unit_test(test_stored_form), cmocka_unit_test(test_duplicates)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
