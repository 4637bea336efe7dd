// SPDX-License-Identifier: Apache-2.0
#include "server/binding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "base/own.h"

#define FAILED "Operation cannot be fulfilled on pods \"p\": "

static const struct { const char *node, *metadata, *target; long long code; const char *message; } cases[] = {
	{ NULL, "{}", "{\"name\":\"n\"}", 0, "" },
	{ NULL, "{\"uid\":\"u1\",\"resourceVersion\":\"7\"}", "{\"kind\":\"Node\",\"name\":\"n\"}", 0, "" },
	{ NULL, "{\"uid\":\"u2\"}", "{\"name\":\"n\"}", 409,
	  FAILED "Precondition failed: UID in precondition: u2, UID in object meta: u1" },
	{ NULL, "{\"uid\":\"u1\",\"resourceVersion\":\"6\"}", "{\"name\":\"n\"}", 409,
	  FAILED "Precondition failed: ResourceVersion in precondition: 6, ResourceVersion in object meta: 7" },
	{ "m", "{}", "{\"name\":\"n\"}", 409, FAILED "pod p is already assigned to node \"m\"" },
	{ NULL, "{}", "{}", 422, "Binding \"p\" is invalid: target.name: Required value" },
	{ NULL, "{}", "{\"kind\":\"Pod\",\"name\":\"n\"}", 422,
	  "Binding \"p\" is invalid: target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\"" },
};

static void bindings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		own_json json_t *pod = json_pack("{s:{s:s,s:s,s:s},s:{s:s*}}", "metadata", "name", "p", "uid", "u1", "resourceVersion", "7", "spec",
						 "nodeName", cases[i].node);
		own_json json_t *binding = json_pack("{s:o,s:o}", "metadata", json_loads(cases[i].metadata, 0, NULL), "target",
						     json_loads(cases[i].target, 0, NULL));
		own_json json_t *next = NULL, *s = binding_apply(k8s_kind_find("", "v1", "pods"), pod, binding, &next);
		const char *message = jpath_str(s, "message", "");
		if (strcmp(message, cases[i].message) || jpath_int(s, "code", 0) != cases[i].code)
			fail_msg("case %zu: %lld %s", i, jpath_int(s, "code", 0), message);
		assert_string_equal(jpath_str(next, "spec.nodeName", ""), s ? "" : "n");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bindings) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
