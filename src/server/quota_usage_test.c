// SPDX-License-Identifier: Apache-2.0
#include "server/quota_usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/jpath.h"

static const struct k8s_kind pods = { .group = "", .plural = "pods" };

static void check_unstated(const char *spec, const char *want)
{
	own_json json_t *quota = json_pack("{s:{s:{s:s,s:s,s:s}}}", "spec", "hard", "limits.cpu", "2", "requests.memory", "1Gi", "pods", "9");
	own_json json_t *pod = json_pack("{s:o}", "spec", json_loads(spec, 0, NULL));
	char *got = quota_unstated(quota, &pods, pod);

	assert_non_null(pod);
	assert_string_equal(got ? got : "all stated", want);
	free(got);
}

/* A pod that says anything of itself as a whole need not say it of each container. */
static void what_must_be_stated(void **state)
{
	(void)state;
	check_unstated("{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\",\"resources\":{\"limits\":{\"cpu\":\"1\"}}},{\"name\":\"c\"}]}",
		       "limits.cpu for: a,c; requests.memory for: a,b,c");
	check_unstated("{\"resources\":{},\"containers\":[{\"name\":\"a\"}]}", "limits.cpu for: a; requests.memory for: a");
	check_unstated("{\"resources\":{\"requests\":{\"cpu\":\"1\"}},\"containers\":[{\"name\":\"a\"}]}", "all stated");
	check_unstated("{\"resources\":{\"limits\":{\"hugepages-2Mi\":\"2Mi\"}},\"containers\":[{\"name\":\"a\"}]}", "all stated");
	check_unstated("{\"containers\":[{\"name\":\"a\",\"resources\":{\"limits\":{\"cpu\":\"1\"},\"requests\":{\"memory\":\"1Mi\"}}}]}",
		       "all stated");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_must_be_stated) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
