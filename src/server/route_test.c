// SPDX-License-Identifier: Apache-2.0
#include "server/route.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *method, *uri, *verb, *group, *version, *ns, *resource, *name, *subresource, *rest;
} good[] = {
	{ "GET", "/api/v1/pods", "list", "", "v1", "", "pods", "", "", "" },
	{ "GET", "/api/v1/namespaces/a/pods?watch=true", "watch", "", "v1", "a", "pods", "", "", "" },
	{ "GET", "/api/v1/namespaces/a/pods/b", "get", "", "v1", "a", "pods", "b", "", "" },
	{ "GET", "/api/v1/namespaces/a/pods/b/log?follow=1", "get", "", "v1", "a", "pods", "b", "log", "" },
	{ "POST", "/api/v1/namespaces/a/pods/b/binding", "create", "", "v1", "a", "pods", "b", "binding", "" },
	{ "PUT", "/api/v1/namespaces/a/pods/b/status", "update", "", "v1", "a", "pods", "b", "status", "" },
	{ "PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale", "patch", "apps", "v1", "a", "deployments", "d", "scale", "" },
	{ "DELETE", "/api/v1/namespaces/a/pods", "deletecollection", "", "v1", "a", "pods", "", "", "" },
	{ "DELETE", "/api/v1/nodes/n", "delete", "", "v1", "", "nodes", "n", "", "" },
	{ "GET", "/api/v1/namespaces", "list", "", "v1", "", "namespaces", "", "", "" },
	{ "GET", "/api/v1/namespaces/a", "get", "", "v1", "a", "namespaces", "a", "", "" },
	{ "PUT", "/api/v1/namespaces/a/finalize", "update", "", "v1", "a", "namespaces", "a", "finalize", "" },
	{ "PUT", "/api/v1/namespaces/a/status", "update", "", "v1", "a", "namespaces", "a", "status", "" },
	{ "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", "get", "rbac.authorization.k8s.io", "v1", "",
	  "clusterroles", "system:node", "", "" },
	{ "GET", "/api/v1/nodes/n/proxy/a/b%20c", "get", "", "v1", "", "nodes", "n", "proxy", "a/b c" },
	{ "GET", "//api//v1/pods/", "list", "", "v1", "", "pods", "", "", "" },
};

static void test_resources(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct route r;
		assert_int_equal(route_parse(good[i].method, good[i].uri, &r), 0);
		assert_true(r.is_resource);
		assert_string_equal(r.verb, good[i].verb);
		assert_string_equal(r.group, good[i].group);
		assert_string_equal(r.version, good[i].version);
		assert_string_equal(r.ns, good[i].ns);
		assert_string_equal(r.resource, good[i].resource);
		assert_string_equal(r.name, good[i].name);
		assert_string_equal(r.subresource, good[i].subresource);
		assert_string_equal(r.rest, good[i].rest);
		route_fini(&r);
	}
}

static void test_other_paths(void **state)
{
	static const char *const uris[] = { "/", "/api", "/api/v1", "/apis/apps/v1", "/healthz", "/version?x=y", "/apis" };
	struct route r;

	(void)state;
	for (size_t i = 0; i < sizeof uris / sizeof *uris; i++) {
		assert_int_equal(route_parse("GET", uris[i], &r), 0);
		assert_false(r.is_resource);
		assert_string_equal(r.verb, "get");
		route_fini(&r);
	}
}

static void test_params(void **state)
{
	struct route r;

	(void)state;
	assert_int_equal(route_parse("GET", "/x?a=1&b=two+words&a=%32&empty=&flag&c=%E2%82%AC", &r), 0);
	assert_int_equal(r.param_count, 6);
	assert_string_equal(route_param(&r, "a"), "1");
	assert_string_equal(r.params[2].value, "2");
	assert_string_equal(route_param(&r, "b"), "two words");
	assert_string_equal(route_param(&r, "empty"), "");
	assert_string_equal(route_param(&r, "flag"), "");
	assert_string_equal(route_param(&r, "c"), "\xe2\x82\xac");
	assert_null(route_param(&r, "missing"));
	assert_true(route_flag(&r, "a"));
	assert_false(route_flag(&r, "b"));
	assert_string_equal(r.raw_query, "a=1&b=two+words&a=%32&empty=&flag&c=%E2%82%AC");
	route_fini(&r);
}

static void test_malformed(void **state)
{
	static const char *const uris[] = { "/a%", "/a%2", "/a%zz", "/a%00b", "/x?a=%", "/x?%00", "relative", "" };
	char many[2048] = "/";
	struct route r;

	(void)state;
	for (size_t i = 0; i < sizeof uris / sizeof *uris; i++)
		assert_int_equal(route_parse("GET", uris[i], &r), -EINVAL);
	for (int i = 0; i < ROUTE_SEGMENTS_MAX + 1; i++)
		strcat(many, "a/");
	assert_int_equal(route_parse("GET", many, &r), -EINVAL);
	strcpy(many, "/x?");
	for (int i = 0; i < ROUTE_PARAMS_MAX + 1; i++)
		strcat(many, "a&");
	assert_int_equal(route_parse("GET", many, &r), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resources), cmocka_unit_test(test_other_paths), cmocka_unit_test(test_params),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
