// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "server/audit_log.h"
#include "server/audit_policy.h"

static struct audit_policy *policy(const char *rules)
{
	struct audit_policy *p = NULL;
	struct err e = ERR_INIT;
	char text[2048];

	snprintf(text, sizeof text, "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n%s", rules);
	if (audit_policy_parse(text, strlen(text), &p, &e))
		fail_msg("%s", e.text);
	return p;
}

static enum audit_level level(const struct audit_policy *p, const char *user, const char *method, const char *uri)
{
	static const char *const groups[] = { "testers", NULL };
	struct identity *who = user ? identity_new(user, "", groups) : NULL;
	struct audit_choice c;
	struct route t;

	assert_int_equal(route_parse(method, uri, &t), 0);
	c = audit_policy_choose(p, who, &t);
	route_fini(&t);
	identity_free(who);
	return c.level;
}

static void the_first_rule_decides(void **state)
{
	struct audit_policy *p = policy(
		"- {level: None, users: [quiet]}\n"
		"- {level: None, nonResourceURLs: ['/healthz*', /metrics]}\n"
		"- {level: Request, userGroups: [testers], verbs: [create], resources: [{group: '', resources: [pods, 'nodes/*']}]}\n"
		"- {level: RequestResponse, namespaces: [open], resources: [{group: apps}]}\n"
		"- {level: None, resources: [{group: '', resources: [configmaps], resourceNames: [noise]}]}\n"
		"- {level: Metadata, resources: [{group: '', resources: ['*']}]}\n");

	(void)state;
	assert_int_equal(level(p, "quiet", "POST", "/api/v1/namespaces/d/pods"), AUDIT_NONE);
	assert_int_equal(level(p, "u", "POST", "/api/v1/namespaces/d/pods"), AUDIT_REQUEST);
	assert_int_equal(level(p, "u", "GET", "/api/v1/namespaces/d/pods"), AUDIT_METADATA);
	assert_int_equal(level(p, NULL, "POST", "/api/v1/namespaces/d/pods"), AUDIT_METADATA);
	assert_int_equal(level(p, "u", "GET", "/healthz/etcd"), AUDIT_NONE);
	assert_int_equal(level(p, "u", "GET", "/apis/apps/v1/namespaces/open/deployments"), AUDIT_REQUEST_RESPONSE);
	assert_int_equal(level(p, "u", "GET", "/apis/apps/v1/namespaces/other/deployments"), AUDIT_NONE);
	assert_int_equal(level(p, "u", "GET", "/api/v1/namespaces/d/configmaps/noise"), AUDIT_NONE);
	assert_int_equal(level(p, "u", "GET", "/api/v1/namespaces/d/configmaps/other"), AUDIT_METADATA);
	audit_policy_free(p);
}

static void secrets_only_when_named(void **state)
{
	struct audit_policy *all = policy("- {level: RequestResponse}\n"), *core = policy("- {level: Request, resources: [{group: ''}]}\n");
	struct audit_policy *named = policy("- {level: Request, resources: [{group: '', resources: [secrets]}]}\n");

	(void)state;
	assert_int_equal(level(all, "u", "POST", "/api/v1/namespaces/d/secrets"), AUDIT_METADATA);
	assert_int_equal(level(all, "u", "POST", "/api/v1/namespaces/d/serviceaccounts/x/token"), AUDIT_METADATA);
	assert_int_equal(level(all, "u", "POST", "/apis/authentication.k8s.io/v1/tokenreviews"), AUDIT_METADATA);
	assert_int_equal(level(all, "u", "POST", "/api/v1/namespaces/d/pods"), AUDIT_REQUEST_RESPONSE);
	assert_int_equal(level(core, "u", "POST", "/api/v1/namespaces/d/secrets"), AUDIT_METADATA);
	assert_int_equal(level(named, "u", "POST", "/api/v1/namespaces/d/secrets"), AUDIT_REQUEST);
	audit_policy_free(all);
	audit_policy_free(core);
	audit_policy_free(named);
}

static void the_standard_one(void **state)
{
	struct audit_policy *p = NULL;

	(void)state;
	assert_int_equal(audit_policy_open(NULL, &p, NULL), 0);
	assert_int_equal(level(p, "u", "GET", "/livez"), AUDIT_NONE);
	assert_int_equal(level(p, "u", "GET", "/apis/apps/v1"), AUDIT_NONE);
	assert_int_equal(level(p, "u", "GET", "/apis/apps/v1/deployments"), AUDIT_METADATA);
	assert_int_equal(level(p, NULL, "DELETE", "/api/v1/nodes/n"), AUDIT_METADATA);
	audit_policy_free(p);
}

static void what_is_wrong_is_said(void **state)
{
	static const struct { const char *text, *says; } bad[] = {
		{ "{", "line" },
		{ "[]", "the policy must be an object" },
		{ "{kind: Policy, rules: [{level: None}]}", "apiVersion audit.k8s.io/v1" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy}", "list of rules" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [5]}", "rules[0] must be an object" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Some}]}", "rules[0].level" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, user: [a]}]}", "no field \"user\"" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, verbs: get}]}", "rules[0].verbs must be a list" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, resources: [{resources: [5]}]}]}", "rules[0].resources[0]" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, nonResourceURLs: ['/a*b']}]}", "one * at its end" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]}", "not for both" },
		{ "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [Begun], rules: [{level: None}]}", "omitStages" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct audit_policy *p = NULL;
		struct err e = ERR_INIT;
		assert_int_equal(audit_policy_parse(bad[i].text, strlen(bad[i].text), &p, &e), -22);
		if (!strstr(e.text, bad[i].says))
			fail_msg("%s: %s", bad[i].text, e.text);
	}
}

static size_t size_of(const char *path)
{
	own_buf struct buf b = BUF_INIT;

	return file_read(path, 1 << 20, &b, NULL) ? 0 : b.len;
}

static void files_are_turned_over(void **state)
{
	char dir[] = "/tmp/bulkhead-audit-test.XXXXXX", path[64], old[80];
	struct audit_log *l;
	struct audit_counts c;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/log", dir);
	assert_int_equal(audit_log_open(path, 100, 2, &l, NULL), 0);
	for (int i = 0; i < 50; i++)
		audit_log_line(l, "123456789012345678901234567890123456789\n", 40);    // two fit
	audit_log_counts(l, &c);
	assert_int_equal(c.lines, 50);
	assert_int_equal(c.lost, 0);
	audit_log_close(l);
	assert_int_equal(size_of(path), 80);
	for (int i = 1; i <= 2; i++) {
		snprintf(old, sizeof old, "%s.%d", path, i);
		assert_int_equal(size_of(old), 80);
	}
	snprintf(old, sizeof old, "%s.3", path);
	assert_int_equal(access(old, F_OK), -1);
	assert_int_equal(dir_remove(dir, NULL), 0);
}

/* The disk takes so many bytes of a file. */
static void set_room(rlim_t bytes)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes < l.rlim_max ? bytes : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void a_line_cut_short_goes_on_in_its_file(void **state)
{
	char dir[] = "/tmp/bulkhead-audit-test.XXXXXX", path[64], old[80], line[151];
	struct audit_log *l;

	(void)state;
	memset(line, 'x', 149);
	strcpy(line + 149, "\n");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/log", dir);
	snprintf(old, sizeof old, "%s.1", path);
	assert_int_equal(audit_log_open(path, 60, 3, &l, NULL), 0);    // longer than a file is to be
	signal(SIGXFSZ, SIG_IGN);
	set_room(100);
	audit_log_line(l, line, 150);
	audit_log_line(l, "next\n", 5);
	for (int i = 0; i < 10000 && size_of(path) < 100; i++)
		usleep(1000);
	assert_int_equal(size_of(path), 100);
	set_room(RLIM_INFINITY);
	audit_log_close(l);
	assert_int_equal(size_of(old), 150);
	assert_int_equal(size_of(path), 5);
	assert_int_equal(dir_remove(dir, NULL), 0);
}

static void a_line_that_was_never_finished_spoils_no_other(void **state)
{
	char dir[] = "/tmp/bulkhead-audit-test.XXXXXX", path[64];
	own_buf struct buf b = BUF_INIT;
	struct audit_log *l;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/log", dir);
	assert_int_equal(file_write_atomic(path, "whole\nhal", 9, 0600, NULL), 0);
	assert_int_equal(audit_log_open(path, 1000, 1, &l, NULL), 0);
	audit_log_line(l, "next\n", 5);
	audit_log_close(l);
	assert_int_equal(file_read(path, 1000, &b, NULL), 0);
	assert_string_equal(b.data, "whole\nhal\nnext\n");
	assert_int_equal(dir_remove(dir, NULL), 0);
}

static void a_full_disk_loses_no_more_than_it_must(void **state)
{
	struct audit_log *l;
	struct audit_counts c;
	static char line[65536];

	(void)state;
	memset(line, 'x', sizeof line);
	line[sizeof line - 1] = '\n';
	if (access("/dev/full", W_OK))
		skip();
	assert_int_equal(audit_log_open("/dev/full", 1 << 20, 2, &l, NULL), 0);
	for (int i = 0; i < 300; i++)
		audit_log_line(l, line, sizeof line);        // 16 MiB wait, the rest is lost and counted
	audit_log_counts(l, &c);
	assert_int_equal(c.lines, 256);
	assert_int_equal(c.lost, 44);
	audit_log_close(l);
	assert_int_equal(audit_log_open("/nowhere/log", 100, 2, &l, NULL), -2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_rule_decides), cmocka_unit_test(secrets_only_when_named), cmocka_unit_test(the_standard_one),
		cmocka_unit_test(what_is_wrong_is_said), cmocka_unit_test(files_are_turned_over),
		cmocka_unit_test(a_line_cut_short_goes_on_in_its_file),
		cmocka_unit_test(a_line_that_was_never_finished_spoils_no_other),
		cmocka_unit_test(a_full_disk_loses_no_more_than_it_must),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
