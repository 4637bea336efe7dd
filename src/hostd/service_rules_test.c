// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "base/own.h"
#include "service_rules.h"

static struct service_model *model(const char *services, const char *slices)
{
	own_json json_t *s = json_loads(services, 0, NULL), *e = json_loads(slices, 0, NULL);
	assert_non_null(s);
	assert_non_null(e);
	struct service_model *m = service_model_new(s, e, "here");
	assert_non_null(m);
	return m;
}

static char *script(const char *services, const char *slices)
{
	struct service_rules_config c = {.table = "t", .dns_addr = 0x0a80000a, .dns_local = 0x0a580001};
	struct service_model *m = model(services, slices);
	char *text = service_rules_script(&c, m);
	assert_non_null(text);
	service_model_free(m);
	return text;
}

#define WEB "{\"metadata\":{\"namespace\":\"default\",\"name\":\"web\"},\"spec\":{\"clusterIP\":\"10.128.0.9\",\"type\":\"NodePort\"," \
	    "\"ports\":[{\"port\":80,\"nodePort\":30080,\"protocol\":\"TCP\"}]%s}}"
#define EP(addr, node, conditions) "{\"addresses\":[\"" addr "\"],\"nodeName\":\"" node "\",\"conditions\":" conditions "}"
#define SLICE(endpoints) "[{\"metadata\":{\"namespace\":\"default\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}}," \
	"\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":[" endpoints "]}]"
#define READY "{\"ready\":true,\"serving\":true,\"terminating\":false}"
#define ENDING "{\"ready\":false,\"serving\":true,\"terminating\":true}"
#define DEAD "{\"ready\":false,\"serving\":false,\"terminating\":true}"

static char *web(const char *more, const char *slices)
{
	char services[1024];
	snprintf(services, sizeof(services), "[" WEB "]", more);
	return script(services, slices);
}

static void a_service_leads_to_its_endpoints(void **state)
{
	own_free char *text = web("", SLICE(EP("10.88.0.5", "here", READY) "," EP("10.88.1.5", "there", READY) "," EP("10.88.1.6", "there", DEAD)));
	(void)state;
	assert_non_null(strstr(text, "10.128.0.9 . tcp . 80 : goto s-"));
	assert_non_null(strstr(text, "tcp . 30080 : goto s-"));
	assert_non_null(strstr(text, "numgen random mod 2 map { 0 : 10.88.0.5 . 8080, 1 : 10.88.1.5 . 8080 }"));
	assert_null(strstr(text, "10.88.1.6"));
	assert_non_null(strstr(text, "10.128.0.10 . udp . 53 : goto s-"));
	assert_non_null(strstr(text, "0 : 10.88.0.1 . 53"));
}

static void ending_pods_serve_only_when_nobody_else_does(void **state)
{
	(void)state;
	own_free char *both = web("", SLICE(EP("10.88.0.5", "here", ENDING) "," EP("10.88.1.5", "there", READY)));
	assert_null(strstr(both, "10.88.0.5"));
	own_free char *ending = web("", SLICE(EP("10.88.0.5", "here", ENDING) "," EP("10.88.0.6", "here", ENDING)));
	assert_non_null(strstr(ending, "mod 2 map { 0 : 10.88.0.5 . 8080, 1 : 10.88.0.6 . 8080 }"));
}

static void without_endpoints_connections_are_refused(void **state)
{
	own_free char *text = web("", "[]");
	(void)state;
	assert_non_null(strstr(text, "10.128.0.9 . tcp . 80,\n"));
	assert_non_null(strstr(text, "tcp . 30080,\n"));
	assert_null(strstr(text, "10.128.0.9 . tcp . 80 :"));
}

static void local_policies_stay_on_the_host(void **state)
{
	own_free char *text = web(",\"externalTrafficPolicy\":\"Local\"", SLICE(EP("10.88.0.5", "here", READY) "," EP("10.88.1.5", "there", READY)));
	(void)state;
	assert_non_null(strstr(text, "mod 2 map"));                              // from inside
	assert_non_null(strstr(text, "mod 1 map { 0 : 10.88.0.5 . 8080 }"));     // from outside
	assert_null(strstr(text, "meta mark set"));
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;
	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void sticky_clients_move_only_when_their_endpoint_goes(void **state)
{
	(void)state;
	own_free char *two = web(",\"sessionAffinity\":\"ClientIP\",\"internalTrafficPolicy\":\"Cluster\"",
				 SLICE(EP("10.88.0.5", "here", READY) "," EP("10.88.1.5", "there", READY)));
	own_free char *three = web(",\"sessionAffinity\":\"ClientIP\"",
				   SLICE(EP("10.88.0.5", "here", READY) "," EP("10.88.1.5", "there", READY) "," EP("10.88.2.5", "third", READY)));
	unsigned kept = 0, moved = 0;
	assert_true(count(two, "jhash ip saddr mod 64") == 2);
	for (int i = 0; i < 64; i++) {
		char a[64], b[64], c[64];
		snprintf(a, sizeof(a), " %d : 10.88.0.5 . 8080", i);
		snprintf(b, sizeof(b), " %d : 10.88.1.5 . 8080", i);
		snprintf(c, sizeof(c), " %d : 10.88.2.5 . 8080", i);
		if (strstr(three, c))
			moved++;
		else if (!strstr(two, a) == !strstr(three, a) && !strstr(two, b) == !strstr(three, b))
			kept++;
	}
	assert_int_equal(kept + moved, 64);
	assert_in_range(moved, 8, 40);
}

static void nobody_takes_an_address_twice(void **state)
{
	char services[2048];
	snprintf(services, sizeof(services), "[" WEB ",{\"metadata\":{\"namespace\":\"bad\",\"name\":\"thief\"},\"spec\":{\"clusterIP\":"
		 "\"10.128.0.11\",\"externalIPs\":[\"10.128.0.9\",\"1.2.3.4\"],\"ports\":[{\"port\":80}]}}]", "");
	own_free char *text = script(services, SLICE(EP("10.88.0.5", "here", READY)));
	(void)state;
	assert_int_equal(count(text, "10.128.0.9 . tcp . 80"), 1);
	assert_non_null(strstr(text, "10.128.0.9 . tcp . 80 : goto"));
	assert_non_null(strstr(text, "1.2.3.4 . tcp . 80,"));
}

static void what_is_not_understood_is_left_out(void **state)
{
	own_free char *text = script("[{},{\"metadata\":{\"namespace\":\"a\",\"name\":\"b\"},\"spec\":{\"clusterIP\":\"x; drop\",\"ports\":"
				     "[{\"port\":70000},{\"port\":-1},{\"port\":1,\"protocol\":\"SCTP\"},7]}},3]",
				     "[{\"metadata\":{\"namespace\":\"a\",\"labels\":{\"kubernetes.io/service-name\":\"b\"}},\"addressType\":\"IPv4\","
				     "\"endpoints\":[{\"addresses\":[\"fe80::1\",\"1.2.3.4.5\",7]},4]},null]");
	(void)state;
	assert_null(strstr(text, "drop"));
	assert_null(strstr(text, "fe80"));
}

static void services_are_found_by_name(void **state)
{
	struct service_model *m = model("[{\"metadata\":{\"namespace\":\"b\",\"name\":\"x\"},\"spec\":{}},{\"metadata\":{\"namespace\":\"a\","
					"\"name\":\"xy\"},\"spec\":{}},{\"metadata\":{\"namespace\":\"ab\",\"name\":\"x\"},\"spec\":{}}]", "[]");
	(void)state;
	assert_string_equal(service_model_find(m, "a.", 1, "xy.", 2)->ns, "a");
	assert_string_equal(service_model_find(m, "ab", 2, "x", 1)->ns, "ab");
	assert_null(service_model_find(m, "a", 1, "x", 1));
	assert_null(service_model_find(m, "abc", 3, "x", 1));
	assert_null(service_model_find(m, "", 0, "", 0));
	service_model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_service_leads_to_its_endpoints),
		cmocka_unit_test(ending_pods_serve_only_when_nobody_else_does),
		cmocka_unit_test(without_endpoints_connections_are_refused),
		cmocka_unit_test(local_policies_stay_on_the_host),
		cmocka_unit_test(sticky_clients_move_only_when_their_endpoint_goes),
		cmocka_unit_test(nobody_takes_an_address_twice),
		cmocka_unit_test(what_is_not_understood_is_left_out),
		cmocka_unit_test(services_are_found_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
