// SPDX-License-Identifier: Apache-2.0
// Files of the manifest folder: what becomes of them, what is said about those that are wrong.
#include "static_manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"

#define HEAD "apiVersion: v1\nkind: Pod\n"
#define PLAIN HEAD "metadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: i}\n"

static json_t *read_file(const char *text)
{
	json_t *pod = NULL;
	struct err e = ERR_INIT;
	if (static_manifest_read(text, strlen(text), "web.yaml", "Node-1", &pod, &e))
		fail_msg("%s", e.text);
	return pod;
}

static void refused(const char *text, const char *why)
{
	json_t *pod = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(static_manifest_read(text, strlen(text), "web.yaml", "Node-1", &pod, &e), -EINVAL);
	assert_null(pod);
	if (!strstr(e.text, why))
		fail_msg("got \"%s\", want \"%s\"", e.text, why);
}

static void test_pod(void **state)
{
	(void)state;
	json_t *pod = read_file(PLAIN);
	assert_string_equal(jpath_str(pod, "metadata.name", ""), "web-node-1");
	assert_string_equal(jpath_str(pod, "metadata.namespace", ""), "default");
	assert_string_equal(jpath_str(pod, "spec.nodeName", ""), "Node-1");
	assert_string_equal(jpath_str(pod, "spec.restartPolicy", ""), "Always");
	assert_string_equal(static_annotation(pod, STATIC_HASH_KEY), jpath_str(pod, "metadata.uid", "-"));
	assert_string_equal(static_annotation(pod, STATIC_SOURCE_KEY), "file");
	assert_string_equal(static_annotation(pod, STATIC_FILE_KEY), "web.yaml");
	assert_string_equal(jpath_str(json_array_get(jpath_get(pod, "spec.tolerations"), 0), "effect", ""), "NoExecute");
	json_decref(pod);
}

static void test_uid_follows_content(void **state)
{
	(void)state;
	json_t *a = read_file(PLAIN), *same = read_file("{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"spec\": {\"containers\": [{\"image\": \"i\", "
							  "\"name\": \"a\"}]}, \"metadata\": {\"name\": \"web\"}}");
	json_t *other = read_file(HEAD "metadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: j}\n");
	assert_string_equal(jpath_str(a, "metadata.uid", ""), jpath_str(same, "metadata.uid", "-"));
	assert_string_not_equal(jpath_str(a, "metadata.uid", ""), jpath_str(other, "metadata.uid", ""));
	assert_int_equal(strlen(jpath_str(a, "metadata.uid", "")), 32);
	json_decref(a);
	json_decref(same);
	json_decref(other);
}

static void test_mirror(void **state)
{
	(void)state;
	json_t *pod = read_file(PLAIN), *m = static_manifest_mirror(pod, "Node-1", "n-uid");
	assert_string_equal(static_annotation(m, STATIC_MIRROR_KEY), jpath_str(pod, "metadata.uid", "-"));
	assert_null(jpath_get(m, "metadata.uid"));
	assert_string_equal(jpath_str(json_array_get(jpath_get(m, "metadata.ownerReferences"), 0), "uid", ""), "n-uid");
	assert_string_equal(static_annotation(pod, STATIC_MIRROR_KEY), "");
	json_decref(pod);
	json_decref(m);
}

static void test_priority(void **state)
{
	(void)state;
	json_t *pod = read_file(HEAD "metadata: {name: w}\nspec:\n  priorityClassName: system-node-critical\n  containers:\n  - {name: a, image: i}\n");
	assert_int_equal(jpath_int(pod, "spec.priority", 0), 2000001000);
	json_decref(pod);
}

static void test_refused(void **state)
{
	(void)state;
	refused("", "not a Pod");
	refused("a: [", "line");
	refused("apiVersion: v1\nkind: List\n", "not a Pod");
	refused(HEAD "metadata: {name: W_}\nspec: {containers: [{name: a, image: i}]}\n", "metadata.name");
	refused(HEAD "metadata: {name: w}\nspec: {containers: []}\n", "spec.containers: Required value");
	refused(HEAD "metadata: {name: w}\nspec: {serviceAccountName: x, containers: [{name: a, image: i}]}\n", "cannot use a service account");
	refused(HEAD "metadata: {name: w}\nspec: {imagePullSecrets: [{name: x}], containers: [{name: a, image: i}]}\n", "cannot use Secrets");
	refused(HEAD "metadata: {name: w}\nspec: {containers: [{name: a, image: i, envFrom: [{secretRef: {name: x}}]}]}\n", "(secretRef)");
	refused(HEAD "metadata: {name: w}\nspec: {volumes: [{name: v, configMap: {name: x}}], containers: [{name: a, image: i}]}\n",
		"spec.volumes: a pod from a file cannot use objects of the API (configMap)");
	refused(HEAD "metadata: {name: w}\nspec: {volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}], "
		"containers: [{name: a, image: i}]}\n", "(serviceAccountToken)");
	char text[600];
	snprintf(text, sizeof(text), HEAD "metadata: {name: \"w%0250d\"}\nspec: {containers: [{name: a, image: i}]}\n", 0);
	refused(text, "more than 253 characters");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pod), cmocka_unit_test(test_uid_follows_content), cmocka_unit_test(test_mirror),
					   cmocka_unit_test(test_priority), cmocka_unit_test(test_refused)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
