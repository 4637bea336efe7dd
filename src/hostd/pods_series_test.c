// SPDX-License-Identifier: Apache-2.0
// Whatever a guest calls its containers and interfaces, a line of metrics stays one line with the labels it should have.
#include "pods_series.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOSTILE "a\"} 1\nb\\\xff\xc3\xa9"
#define QUOTED "a\\\"} 1\\nb\\\\?\xc3\xa9"

static void check(struct buf *b, const char *want)
{
	assert_string_equal(b->data, want);
	buf_fini(b);
}

static void named(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct pods_running p = {.ns = (char *)"ns", .name = (char *)"web", .uid = (char *)"u1"};
	p.about = json_pack("{s:{s:{s:s, s:s}}}", "containers", "main", "id", "u1-a0-0", "image", "x:1");
	check(pods_series_short(&b, "m", &p, NULL), "m{namespace=\"ns\",pod=\"web\"}");
	check(pods_series_short(&b, "m", &p, "main"), "m{container=\"main\",namespace=\"ns\",pod=\"web\"}");
	check(pods_series(&b, "m", &p, "main", "k=\"v\""), "m{container=\"main\",k=\"v\",id=\"/kubepods/podu1/u1-a0-0\",image=\"x:1\","
	      "name=\"u1-a0-0\",namespace=\"ns\",pod=\"web\"}");
	check(pods_series(&b, "m", &p, NULL, ""), "m{container=\"\",id=\"/kubepods/podu1\",image=\"\",name=\"\",namespace=\"ns\",pod=\"web\"}");
	json_decref(p.about);
}

static void hostile(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct pods_running p = {.ns = (char *)"ns", .name = (char *)"web", .uid = (char *)"u1", .about = NULL};
	pods_series_label(&b, "interface", HOSTILE);
	check(&b, "interface=\"" QUOTED "\"");
	check(pods_series_short(&b, "m", &p, HOSTILE), "m{container=\"" QUOTED "\",namespace=\"ns\",pod=\"web\"}");
	check(pods_series(&b, "m", &p, HOSTILE, ""), "m{container=\"" QUOTED "\",id=\"/kubepods/podu1\",image=\"\",name=\"\",namespace=\"ns\","
	      "pod=\"web\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(named), cmocka_unit_test(hostile)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
