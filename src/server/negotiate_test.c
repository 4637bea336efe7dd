// SPDX-License-Identifier: Apache-2.0
#include "server/negotiate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/status.h"

static const struct { const char *header; int result; enum accept_form form; const char *version; } accepts[] = {
	{ NULL, 0, ACCEPT_OBJECT, "" },
	{ "", 0, ACCEPT_OBJECT, "" },
	{ "*/*", 0, ACCEPT_OBJECT, "" },
	{ "application/json", 0, ACCEPT_OBJECT, "" },
	{ "application/json;stream=watch", 0, ACCEPT_OBJECT, "" },
	{ "application/vnd.kubernetes.protobuf,application/json", 0, ACCEPT_OBJECT, "" },
	{ "application/vnd.kubernetes.protobuf", -ENOTSUP, 0, "" },
	{ "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", 0,
	  ACCEPT_TABLE, "v1" },
	{ "application/json;as=Table;g=meta.k8s.io;v=v1beta1", 0, ACCEPT_TABLE, "v1beta1" },
	{ "application/json; as=PartialObjectMetadata; g=meta.k8s.io; v=v1", 0, ACCEPT_PARTIAL, "v1" },
	{ "application/json;as=Table;v=v2;g=meta.k8s.io, application/json", 0, ACCEPT_OBJECT, "" },
	{ ", ,text/html", -ENOTSUP, 0, "" },
};

static void test_accept(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof accepts / sizeof *accepts; i++) {
		struct accept a;
		assert_int_equal(accept_parse(accepts[i].header, &a), accepts[i].result);
		if (accepts[i].result)
			continue;
		assert_int_equal(a.form, accepts[i].form);
		assert_string_equal(a.version, accepts[i].version);
	}
}

static void test_names(void **state)
{
	(void)state;
	assert_true(accept_names("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
				 "application/json", "as=APIGroupDiscoveryList"));
	assert_false(accept_names("application/json,application/json;as=APIGroupDiscoveryList", "application/json",
				  "as=APIGroupDiscoveryList"));
	assert_false(accept_names(NULL, "application/json", NULL));
}

static int parse(const char *type, const char *text)
{
	json_t *j = NULL, *s = body_parse(type, text, strlen(text), &j, NULL);
	int code = s ? status_code(s) : 0;

	json_decref(s);
	json_decref(j);
	return code;
}

static void test_bodies(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL, "{\"a\":1}"), 0);
	assert_int_equal(parse("application/json; charset=utf-8", "{\"a\":1}"), 0);
	assert_int_equal(parse("application/yaml", "a: 1\nb: [x, y]\n"), 0);
	assert_int_equal(parse("application/json", "{\"a\":"), 400);
	assert_int_equal(parse("application/json", ""), 400);
	assert_int_equal(parse("application/yaml", "a: [1"), 400);
	assert_int_equal(parse("application/vnd.kubernetes.protobuf", "k8s"), 400);   // no such message
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_accept), cmocka_unit_test(test_names), cmocka_unit_test(test_bodies) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
