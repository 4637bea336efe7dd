// SPDX-License-Identifier: Apache-2.0
#include "server/write_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "base/own.h"

/* The message of a refused deletion; "" when it is taken. */
static void expect_deletion(const char *options, int code, const char *want)
{
	own_json json_t *j = json_loads(options, 0, NULL), *s = delete_options_check(j);
	const char *got = jpath_str(s, "message", "");

	if (strcmp(got, want) || jpath_int(s, "code", 0) != code)
		fail_msg("%s\n  got  %s\n  want %s", options, got, want);
}

static void deletions(void **state)
{
#define BAD "DeleteOptions.meta.k8s.io \"\" is invalid: "
	(void)state;
	expect_deletion("{}", 0, "");
	expect_deletion("{\"kind\":\"DeleteOptions\",\"apiVersion\":\"policy/v1\",\"propagationPolicy\":\"Orphan\",\"dryRun\":[\"All\"]}", 0, "");
	expect_deletion("{\"propagationPolicy\":\"x\"}", 422, BAD "propagationPolicy: Unsupported value: \"x\": supported values: "
			"\"Foreground\", \"Background\", \"Orphan\", \"nil\"");
	expect_deletion("{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":false}", 422, BAD "propagationPolicy: Invalid value: "
			"\"Orphan\": orphanDependents and deletionPropagation cannot be both set");
	expect_deletion("{\"dryRun\":[\"All\",\"x\"]}", 422, BAD "dryRun: Unsupported value: []string{\"x\"}: supported values: \"All\"");
	expect_deletion("{\"kind\":\"Pod\"}", 400, "no kind \"Pod\" can be the options of a deletion: it must be DeleteOptions");
	expect_deletion("{\"preconditions\":5}", 400, "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: cannot "
			"unmarshal number into Go struct field DeleteOptions.preconditions of type v1.Preconditions");
}

static void expect_write(const char *uri, const char *kind, bool apply, const char *want)
{
	struct route r;
	own_json json_t *s = NULL;

	assert_int_equal(route_parse("PATCH", uri, &r), 0);
	s = write_options_check(&r, kind, apply);
	if (strcmp(jpath_str(s, "message", ""), want))
		fail_msg("%s\n  got  %s\n  want %s", uri, jpath_str(s, "message", ""), want);
	route_fini(&r);
}

static void writes(void **state)
{
#define P "/api/v1/namespaces/a/pods/b?"
	char uri[512];

	(void)state;
	expect_write(P "dryRun=All&fieldManager=a&fieldValidation=Warn", "PatchOptions", true, "");
	expect_write(P "force=true&fieldManager=a", "PatchOptions", true, "");
	expect_write(P "force=false", "PatchOptions", false, "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be "
		     "specified for non-apply patch");
	expect_write(P "x=y", "PatchOptions", true, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required "
		     "for apply patch");
	expect_write(P "dryRun=", "UpdateOptions", false, "UpdateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: "
		     "[]string{\"\"}: supported values: \"All\"");
	expect_write(P "fieldManager=a%07b", "CreateOptions", false, "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid "
		     "value: \"a\\u0007b\": invalid character U+0007 (at position 1)");
	expect_write(P "fieldManager=b%20%C3%A9%E2%82%AC%F0%9F%98%80", "CreateOptions", false, "");
	expect_write(P "fieldManager=%C3%A9%E2%80%8Bx%C2%A0", "CreateOptions", false, "CreateOptions.meta.k8s.io \"\" is invalid: "
		     "[fieldManager: Invalid value: \"\xc3\xa9\xe2\x80\x8bx\xc2\xa0\": invalid character U+200B (at position 2), "
		     "fieldManager: Invalid value: \"\xc3\xa9\xe2\x80\x8bx\xc2\xa0\": invalid character U+00A0 (at position 6)]");
	snprintf(uri, sizeof uri, P "fieldManager=%%07%0200d", 0);
	expect_write(uri, "CreateOptions", false, "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes");
	expect_write(P "fieldValidation=", "CreateOptions", false, "");
	expect_write(P "fieldValidation=x", "CreateOptions", false, "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: "
		     "Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
}

static void dry_runs(void **state)
{
	own_json json_t *all = json_loads("{\"dryRun\":[\"All\"]}", 0, NULL), *none = json_loads("{\"dryRun\":[]}", 0, NULL);
	struct route r;

	(void)state;
	assert_int_equal(route_parse("DELETE", "/api/v1/namespaces/a/pods/b", &r), 0);
	assert_true(options_dry_run(&r, all));
	assert_false(options_dry_run(&r, none));
	assert_false(options_dry_run(&r, NULL));
	route_fini(&r);
	assert_int_equal(route_parse("DELETE", "/api/v1/namespaces/a/pods/b?dryRun=All", &r), 0);
	assert_true(options_dry_run(&r, NULL));
	route_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(deletions), cmocka_unit_test(writes), cmocka_unit_test(dry_runs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
