// SPDX-License-Identifier: Apache-2.0
// Custom resources: definitions in, rows, pruning, defaults, validation, columns and OpenAPI out.
#include "custom.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "golden.h"
#include "json_path.h"
#include "openapi.h"

#define NAMES "'names':{'plural':'foos','kind':'Foo','shortNames':['fo']}"
#define SCHEMA "{'type':'object','properties':{'spec':{'type':'object','required':['size'],'properties':{'size':{'type':'integer','minimum':1," \
	"'maximum':5},'color':{'type':'string','enum':['red','blue'],'default':'red'},'name':{'type':'string','pattern':'^\\\\d+-[a-z]+$'}," \
	"'any':{'type':'object','x-kubernetes-preserve-unknown-fields':true},'port':{'x-kubernetes-int-or-string':true},'list':{'type':'array'," \
	"'maxItems':2,'items':{'type':'object','properties':{'x':{'type':'string','default':'dx'}}}},'map':{'type':'object'," \
	"'additionalProperties':{'type':'integer'}},'one':{'type':'object','properties':{'a':{'type':'integer'},'b':{'type':'integer'}}," \
	"'oneOf':[{'required':['a']},{'required':['b']}]}}},'status':{'type':'object','properties':{'ready':{'type':'boolean'}}}}}"
#define CRD(more) "{'metadata':{'name':'foos.example.com'},'spec':{'group':'example.com','scope':'Namespaced'," NAMES ",'versions':[{'name':'v1'," \
	"'served':true,'storage':true,'schema':{'openAPIV3Schema':" SCHEMA "},'subresources':{'status':{},'scale':{'specReplicasPath':" \
	"'.spec.size','statusReplicasPath':'.status.n'}},'additionalPrinterColumns':[{'name':'Size','type':'integer','jsonPath':'.spec.size'}," \
	"{'name':'Color','type':'string','jsonPath':'.spec.color'}]}" more "]}}"

static const struct k8s_kind *install(void)
{
	json_t *crd = golden_parse(CRD(",{'name':'v2','served':true,'storage':false,'schema':{'openAPIV3Schema':{'type':'object'}}}"));
	struct err e = ERR_INIT;
	golden_kind("apiextensions.k8s.io/v1 CustomResourceDefinition")->set_defaults(crd);
	assert_int_equal(k8s_custom_register(crd, &e), 0);
	json_decref(crd);
	return k8s_kind_find("example.com", "v1", "foos");
}

static void test_rows(void **state)
{
	(void)state;
	unsigned long before = k8s_kinds_generation();
	const struct k8s_kind *k = install();
	assert_non_null(k);
	assert_true(k8s_kinds_generation() > before);
	assert_ptr_equal(k8s_kind_by_name("example.com/v1", "Foo"), k);
	assert_string_equal(k->list_kind, "FooList");
	assert_string_equal(k->singular, "foo");
	assert_string_equal(k->short_names[0], "fo");
	assert_true(k->namespaced && k->status_subresource && k8s_kind_has_subresource(k, "scale"));
	const struct k8s_kind *v2 = k8s_kind_find("example.com", "v2", "foos");
	assert_ptr_equal(k8s_kind_stored(v2), k);
	json_t *obj = golden_parse("{'apiVersion':'example.com/v2','kind':'Foo'}");
	k8s_kind_convert(v2, k, obj);
	assert_string_equal(jpath_str(obj, "apiVersion", ""), "example.com/v1");
	json_decref(obj);
	assert_string_equal(k8s_custom_definition(k), "foos.example.com");
	/* A retired row stays readable until it is collected. */
	k8s_custom_unregister("foos.example.com");
	assert_null(k8s_kind_find("example.com", "v1", "foos"));
	assert_string_equal(k->kind, "Foo");
	k8s_custom_collect(0);
}

static void expect(const char *in, const char *out, const char *unknown_want, const char *message)
{
	const struct k8s_kind *k = k8s_kind_find("example.com", "v1", "foos");
	json_t *obj = golden_parse(in), *unknown = json_array(), *want = golden_parse(out);
	struct k8s_errors *errors = k8s_errors_new();
	struct err e = ERR_INIT;
	assert_int_equal(k8s_decode(k, obj, unknown, &e), 0);
	own_free char *text = json_dumps(obj, JSON_SORT_KEYS), *names = json_dumps(unknown, JSON_COMPACT);
	if (!json_equal(obj, want))
		fail_msg("%s gives %s", in, text);
	if (unknown_want && strcmp(names, unknown_want))
		fail_msg("%s: unknown %s", in, names);
	k8s_validate(k, obj, NULL, errors);
	json_t *status = k8s_errors_status(errors, k, "x");
	const char *got = k8s_errors_count(errors) ? jpath_str(status, "message", "") + strlen("Foo.example.com \"x\" is invalid: ") : "";
	if (strcmp(got, message))
		fail_msg("%s\n  got  %s\n  want %s", in, got, message);
	json_decref(status);
	k8s_errors_free(errors);
	json_decref(obj);
	json_decref(unknown);
	json_decref(want);
}

#define META "'metadata':{'name':'x','namespace':'d'}"

static void test_objects(void **state)
{
	(void)state;
	install();
	expect("{" META ",'spec':{'size':2}}", "{" META ",'spec':{'size':2,'color':'red'}}", "[]", "");
	expect("{" META ",'extra':1,'spec':{'size':2,'zzz':1,'color':null,'any':{'deep':{'x':1}},'port':'http','list':[{'y':1}],'map':{'k':1}}}",
	       "{" META ",'spec':{'size':2,'color':'red','any':{'deep':{'x':1}},'port':'http','list':[{'x':'dx'}],'map':{'k':1}}}",
	       "[\"unknown field \\\"extra\\\"\",\"unknown field \\\"spec.zzz\\\"\",\"unknown field \\\"spec.list[0].y\\\"\"]", "");
	expect("{" META ",'spec':{}}", "{" META ",'spec':{'color':'red'}}", NULL, "spec.size: Required value");
	expect("{" META ",'spec':{'size':'2'}}", "{" META ",'spec':{'size':'2','color':'red'}}", NULL,
	       "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"");
	expect("{" META ",'spec':{'size':0,'color':'green','name':'x','list':[{},{},{}],'map':{'a':'b'},'one':{}}}",
	       "{" META ",'spec':{'size':0,'color':'green','name':'x','list':[{'x':'dx'},{'x':'dx'},{'x':'dx'}],'map':{'a':'b'},'one':{}}}", NULL,
	       "[spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1, spec.color: Unsupported value: \"green\": "
	       "supported values: \"blue\", \"red\", spec.name: Invalid value: \"x\": spec.name in body should match '^\\d+-[a-z]+$', "
	       "spec.list: Too many: 3: must have at most 2 items, spec.map.a: Invalid value: \"string\": spec.map.a in body must be of type "
	       "integer: \"string\", spec.one: Invalid value: {}: spec.one in body must validate one and only one schema (oneOf). Found none "
	       "valid]");
	expect("{" META ",'spec':{'size':1,'name':'12-ab','one':{'a':1}}}", "{" META ",'spec':{'size':1,'color':'red','name':'12-ab','one':{'a':1}}}", NULL,
	       "");
	k8s_custom_unregister("foos.example.com");
	k8s_custom_collect(0);
}

static void test_output(void **state)
{
	(void)state;
	const struct k8s_kind *k = install();
	json_t *list = golden_parse("[{" META ",'spec':{'size':2}}]"), *table = k8s_table(k, list, "None", NULL, NULL);
	own_free char *cells = json_dumps(jpath_get(json_array_get(jpath_get(table, "rows"), 0), "cells"), JSON_COMPACT);
	assert_string_equal(cells, "[\"x\",2,null]");
	assert_string_equal(jpath_str(json_array_get(jpath_get(table, "columnDefinitions"), 1), "name", ""), "Size");
	json_decref(table);
	json_decref(list);
	json_t *v3 = k8s_openapi_v3("example.com", "v1"), *v2 = k8s_openapi_v2();
	json_t *schema = json_object_get(jpath_get(v3, "components.schemas"), "com.example.v1.Foo");
	assert_string_equal(jpath_str(schema, "properties.metadata.$ref", ""), "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
	assert_non_null(jpath_get(schema, "properties.spec.properties.one.oneOf"));
	schema = json_object_get(jpath_get(v2, "definitions"), "com.example.v1.Foo");
	assert_string_equal(jpath_str(schema, "properties.spec.properties.size.type", ""), "integer");
	assert_null(jpath_get(schema, "properties.spec.properties.one.oneOf"));
	assert_non_null(json_object_get(jpath_get(v3, "paths"), "/apis/example.com/v1/namespaces/{namespace}/foos/{name}"));
	json_decref(v3);
	json_decref(v2);
	k8s_custom_unregister("foos.example.com");
	k8s_custom_collect(0);
}

static void test_definitions(void **state)
{
	(void)state;
	static const char kind[] = "apiextensions.k8s.io/v1 CustomResourceDefinition";
	golden_message(kind, CRD(""), NULL, "");
	golden_message(kind, CRD(",{'name':'v2','served':true,'storage':false}"), NULL,
		       "spec.versions[1].schema.openAPIV3Schema: Required value: schemas are required");
	golden_message(kind, "{'metadata':{'name':'x'},'spec':{'group':'example.com','scope':'Galaxy'," NAMES "}}", NULL,
		       "[metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group, spec.scope: Unsupported value: \"Galaxy\": "
		       "supported values: \"Cluster\", \"Namespaced\", spec.versions: Required value: must have at least one version]");
	golden_message(kind, "{'metadata':{'name':'foos.example.com'},'spec':{'group':'example.com','scope':'Cluster'," NAMES ",'versions':[{'name':"
		       "'v1','storage':true,'served':true,'schema':{'openAPIV3Schema':{'type':'object','properties':{'a':{},'b':{'type':'array'}}}},"
		       "'additionalPrinterColumns':[{'name':'A','type':'string','jsonPath':'spec'}]}]}}", NULL,
		       "[spec.versions[0].schema.openAPIV3Schema.properties[a].type: Required value, "
		       "spec.versions[0].schema.openAPIV3Schema.properties[b].items: Required value: must be specified, "
		       "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"spec\": must be a simple json path starting with .]");
}

static void test_paths(void **state)
{
	(void)state;
	json_t *obj = golden_parse("{'a':{'b.c':1,'l':[{'t':'x','v':1},{'t':'y','v':2}]}}");
	static const struct {
		const char *path;
		json_int_t want;   // -1: nothing
	} cases[] = {{".a['b.c']", 1}, {".a.b\\.c", 1}, {".a.l[1].v", 2}, {".a.l[-1].v", 2}, {".a.l[*].v", 1}, {".a.l[?(@.t==\"y\")].v", 2},
		{".a.l[?(@.t == 'z')].v", -1}, {".a.l[9].v", -1}, {".x", -1}, {"a", -1}, {".a.l[", -1}, {".a.l[?(@.t)]", -1}, {"..a", -1}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const json_t *v = json_path_first(obj, cases[i].path);
		if (cases[i].want < 0 ? v != NULL : json_integer_value(v) != cases[i].want)
			fail_msg("%s", cases[i].path);
	}
	assert_true(json_path_valid(".a.l[?(@.t==\"y\")].v"));
	assert_false(json_path_valid("a"));
	json_decref(obj);
}

static void test_held(void **state)
{
	(void)state;
	install();
	const struct k8s_kind *k = k8s_custom_hold(k8s_kind_find("example.com", "v1", "foos"));
	install();   // the same definition again: its rows stay
	assert_ptr_equal(k8s_kind_find("example.com", "v1", "foos"), k);
	k8s_custom_unregister("foos.example.com");
	k8s_custom_collect(0);
	assert_null(k8s_kind_find("example.com", "v1", "foos"));
	assert_string_equal(k->kind, "Foo");   // under AddressSanitizer: still there
	k8s_custom_release(k);
	k8s_custom_collect(0);
}

static void *churn(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		install();
		k8s_custom_unregister("foos.example.com");
	}
	return NULL;
}

static void *look(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		const struct k8s_kind *k = k8s_kind_find("example.com", "v1", "foos");
		if (k && strcmp(k->kind, "Foo"))
			return (void *)1;
	}
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	pthread_t threads[3];
	void *result;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, i ? look : churn, NULL), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
	k8s_custom_collect(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_objects), cmocka_unit_test(test_output),
		cmocka_unit_test(test_definitions), cmocka_unit_test(test_paths), cmocka_unit_test(test_held), cmocka_unit_test(test_threads)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
