// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "server/service_alloc.h"
#include "server/status.h"
#include "server/test_place.h"

/* What becomes of a Service: its address (heap), or the message of the Status. */
static char *alloc(struct test_place *p, const char *name, const char *spec, const json_t *old, json_t **out)
{
	char text[600];
	json_t *obj, *s;

	snprintf(text, sizeof text, "{'metadata':{'name':'%s','namespace':'default'},'spec':{%s}}", name, spec);
	obj = test_parse(text);
	s = service_alloc(&p->srv, k8s_kind_find("", "v1", "services"), obj, old);
	char *answer = strdup(s ? jpath_str(s, "message", "") : jpath_str(obj, "spec.clusterIP", ""));
	json_decref(s);
	if (out)
		*out = obj;
	else
		json_decref(obj);
	return answer;
}

static void expect(struct test_place *p, const char *name, const char *spec, const json_t *old, const char *want)
{
	own_free char *answer = alloc(p, name, spec, old, NULL);

	if (!strstr(answer, want) || (!*want && *answer))
		fail_msg("%s: %s", spec, answer);
}

static void addresses_asked_for_are_checked(void **state)
{
	struct test_place *p = *state;

	expect(p, "a", "'clusterIP':'10.96.0.5'", NULL, "10.96.0.5");
	expect(p, "b", "'clusterIP':'10.96.0.5'", NULL, "failed to allocate IP 10.96.0.5: provided IP is already allocated");   // on its way
	expect(p, "c", "'clusterIP':'10.97.0.5'", NULL, "is not in the valid range. The range of valid IPs is 10.96.0.0/28");
	expect(p, "c", "'clusterIP':'10.96.0.0'", NULL, "is not in the valid range");
	expect(p, "c", "'clusterIP':'10.96.0.15'", NULL, "is not in the valid range");
	expect(p, "d", "'clusterIP':'None'", NULL, "None");
	expect(p, "e", "'type':'ExternalName','externalName':'x'", NULL, "");
	test_make(p, "", "services", "default", "{'metadata':{'name':'stored'},'spec':{'clusterIP':'10.96.0.6','ports':[{'port':80}]}}");
	expect(p, "f", "'clusterIP':'10.96.0.6'", NULL, "already allocated");
	expect(p, "stored", "'clusterIP':'10.96.0.6'", NULL, "10.96.0.6");              // it is its own
}

static void free_ones_are_chosen_until_there_are_none(void **state)
{
	struct test_place *p = *state;
	bool seen[16] = { false };
	char name[16];

	// Of 16 addresses 11 to 14 are for whoever asks for none.
	for (int i = 0; i < 4; i++) {
		int last = -1;
		snprintf(name, sizeof name, "any%d", i);
		own_free char *answer = alloc(p, name, "'ports':[]", NULL, NULL);
		assert_int_equal(sscanf(answer, "10.96.0.%d", &last), 1);
		assert_in_range(last, 11, 14);
		assert_false(seen[last]);
		seen[last] = true;
	}
	expect(p, "any5", "'ports':[]", NULL, "range is full");
}

static void node_ports(void **state)
{
	struct test_place *p = *state;
	json_t *obj = NULL;
	own_free char *answer = alloc(p, "np", "'clusterIP':'10.96.0.2','type':'NodePort','ports':[{'port':80},{'port':81,'nodePort':30007},"
				      "{'port':80,'protocol':'UDP','nodePort':30007}]", NULL, &obj);

	assert_string_equal(answer, "10.96.0.2");
	assert_in_range(jpath_int(json_array_get(jpath_get(obj, "spec.ports"), 0), "nodePort", 0), 30000, 32767);
	expect(p, "other", "'clusterIP':'None','type':'NodePort','ports':[{'port':80,'nodePort':30007}]", NULL,
	       "spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated");
	expect(p, "other", "'clusterIP':'None','type':'NodePort','ports':[{'port':80,'nodePort':80}]", NULL,
	       "provided port is not in the valid range. The range of valid ports is 30000-32767");
	// Who does not say them again keeps them.
	json_t *again = NULL;
	own_free char *kept = alloc(p, "np", "'type':'NodePort','ports':[{'port':81}]", obj, &again);
	assert_string_equal(kept, "10.96.0.2");
	assert_int_equal(jpath_int(json_array_get(jpath_get(again, "spec.ports"), 0), "nodePort", 0), 30007);
	json_decref(again);
	// A type without them loses them.
	own_free char *lost = alloc(p, "np", "'type':'ClusterIP','ports':[{'port':81,'nodePort':30007}]", obj, &again);
	assert_string_equal(lost, "10.96.0.2");
	assert_null(json_object_get(json_array_get(jpath_get(again, "spec.ports"), 0), "nodePort"));
	json_decref(again);
	json_decref(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(addresses_asked_for_are_checked, test_place_open, test_place_close),
		cmocka_unit_test_setup_teardown(free_ones_are_chosen_until_there_are_none, test_place_open, test_place_close),
		cmocka_unit_test_setup_teardown(node_ports, test_place_open, test_place_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
