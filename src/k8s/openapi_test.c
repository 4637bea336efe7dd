// SPDX-License-Identifier: Apache-2.0
// OpenAPI documents: every reference leads somewhere, kinds are found by group, version and kind, the protobuf form
// decodes to the same names.
#include "descriptions.h"
#include "openapi.h"
#include "schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "kind.h"

#define GVK "x-kubernetes-group-version-kind"

static size_t references;

static void check_references(const json_t *v, const json_t *definitions, const char *prefix)
{
	const char *key;
	json_t *child;
	size_t i;
	json_object_foreach((json_t *)v, key, child) {
		if (!strcmp(key, "$ref") && json_is_string(child)) {
			const char *ref = json_string_value(child);
			assert_int_equal(strncmp(ref, prefix, strlen(prefix)), 0);
			if (!json_object_get(definitions, ref + strlen(prefix)))
				fail_msg("%s leads nowhere", ref);
			references++;
		}
		check_references(child, definitions, prefix);
	}
	json_array_foreach(v, i, child)
		check_references(child, definitions, prefix);
}

static const json_t *find_gvk(const json_t *definitions, const struct k8s_kind *k)
{
	const char *name;
	json_t *d, *gvk;
	size_t i;
	json_object_foreach((json_t *)definitions, name, d)
		json_array_foreach(json_object_get(d, GVK), i, gvk)
			if (!strcmp(jpath_str(gvk, "group", ""), k->group) && !strcmp(jpath_str(gvk, "version", ""), k->version) &&
			    !strcmp(jpath_str(gvk, "kind", ""), k->kind))
				return d;
	return NULL;
}

static void test_v2(void **state)
{
	(void)state;
	json_t *doc = k8s_openapi_v2(), *definitions = jpath_get(doc, "definitions");
	size_t n;
	const struct k8s_kind *rows = k8s_kinds(&n);
	check_references(doc, definitions, "#/definitions/");
	assert_true(references > 500);
	for (size_t i = 0; i < n; i++)
		assert_non_null(find_gvk(definitions, &rows[i]));
	json_t *spec = json_object_get(definitions, "io.k8s.api.core.v1.PodSpec");
	json_t *containers = jpath_get(spec, "properties.containers");
	assert_string_equal(jpath_str(containers, "x-kubernetes-patch-merge-key", ""), "name");
	assert_string_equal(jpath_str(containers, "x-kubernetes-patch-strategy", ""), "merge");
	assert_string_equal(jpath_str(containers, "items.$ref", ""), "#/definitions/io.k8s.api.core.v1.Container");
	assert_string_equal(jpath_str(jpath_get(spec, "properties.volumes"), "x-kubernetes-patch-strategy", ""), "merge,retainKeys");
	json_t *patch = jpath_get(json_object_get(json_object_get(doc, "paths"), "/api/v1/namespaces/{namespace}/pods/{name}"), "patch");
	bool found = false;
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(patch, "parameters"), i, p)
		found |= !strcmp(jpath_str(p, "name", ""), "fieldValidation");
	assert_true(found);
	assert_string_equal(jpath_str(json_object_get(patch, GVK), "kind", ""), "Pod");
	json_decref(doc);
}

static void test_v3(void **state)
{
	(void)state;
	json_t *index = k8s_openapi_v3_index(), *entry;
	const char *path;
	json_object_foreach(jpath_get(index, "paths"), path, entry) {
		char group[128] = "", version[64];
		if (sscanf(path, "apis/%127[^/]/%63s", group, version) != 2)
			assert_int_equal(sscanf(path, "api/%63s", version), 1);
		json_t *doc = k8s_openapi_v3(group, version);
		assert_non_null(doc);
		assert_int_equal(strncmp(jpath_str(entry, "serverRelativeURL", ""), "/openapi/v3/", 12), 0);
		check_references(doc, jpath_get(doc, "components.schemas"), "#/components/schemas/");
		json_decref(doc);
	}
	json_decref(index);
	assert_null(k8s_openapi_v3("nothing", "v1"));
}

/* A length-delimited field of a message: its bytes. NULL: none left. */
static const unsigned char *next_field(const unsigned char **p, const unsigned char *end, unsigned *field, size_t *len)
{
	while (*p < end) {
		uint64_t v[2] = {0, 0};
		for (int i = 0; i < 2; i++)
			for (int shift = 0;; shift += 7) {
				assert_true(*p < end && shift < 64);
				v[i] |= (uint64_t)(**p & 0x7f) << shift;
				if (!(*(*p)++ & 0x80))
					break;
			}
		if ((v[0] & 7) == 0)
			continue;   // a varint: its value has been read
		assert_int_equal(v[0] & 7, 2);
		assert_true(v[1] <= (uint64_t)(end - *p));
		const unsigned char *data = *p;
		*field = (unsigned)(v[0] >> 3);
		*len = v[1];
		*p += v[1];
		return data;
	}
	return NULL;
}

static void test_protobuf(void **state)
{
	(void)state;
	json_t *doc = k8s_openapi_v2();
	struct buf out = BUF_INIT;
	assert_int_equal(k8s_openapi_v2_protobuf(doc, &out), 0);
	const unsigned char *p = (const unsigned char *)out.data, *end = p + out.len, *data;
	unsigned field;
	size_t len, definitions = 0, inner_len;
	bool swagger = false;
	while ((data = next_field(&p, end, &field, &len))) {
		if (field == 1)
			swagger = len == 3 && !memcmp(data, "2.0", 3);
		if (field != 9)
			continue;
		const unsigned char *at = data, *inner;
		while ((inner = next_field(&at, data + len, &field, &inner_len))) {
			const unsigned char *named = inner, *name;
			size_t name_len;
			name = next_field(&named, inner + inner_len, &field, &name_len);
			assert_int_equal(field, 1);
			char text[256];
			snprintf(text, sizeof(text), "%.*s", (int)name_len, (const char *)name);
			assert_non_null(json_object_get(jpath_get(doc, "definitions"), text));
			definitions++;
		}
	}
	assert_true(swagger);
	assert_int_equal(definitions, json_object_size(jpath_get(doc, "definitions")));
	buf_fini(&out);
	json_decref(doc);
}

static void test_descriptions(void **state)
{
	size_t count, said = 0, fields = 0;
	const struct k8s_kind *all = k8s_kinds(&count);
	(void)state;
	for (size_t i = 0; i < count; i++) {
		if (!k8s_description(all[i].schema->name, NULL))
			fail_msg("%s: nobody says what it is", all[i].schema->name);
		const struct k8s_field *spec = k8s_schema_field(all[i].schema, "spec");
		for (size_t f = 0; spec && spec->of && f < spec->of->count; f++) {
			fields++;
			said += k8s_description(spec->of->name, spec->of->fields[f].name) != NULL;
		}
	}
	assert_true(said * 10 >= fields * 6);      // the rest: volumes of other makers and the like
	assert_string_equal(k8s_description("io.k8s.api.core.v1.PodSpec", "nodeName"),
			    "The node it runs on; set by the scheduler, unless you choose.");
	assert_string_equal(k8s_description("io.k8s.api.core.v1.Pod", "spec"), "What is wanted.");
	assert_null(k8s_description("io.k8s.api.core.v1.PodSpec", "nothing"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_v2), cmocka_unit_test(test_v3), cmocka_unit_test(test_protobuf), cmocka_unit_test(test_descriptions)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
