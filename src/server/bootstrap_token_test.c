// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "server/bootstrap_token.h"
#include "server/test_place.h"

#define SECRET "abcdef0123456789"
#define TYPE "'type':'bootstrap.kubernetes.io/token'"

static void secret(struct test_place *p, const char *id, const char *type, const char *more)
{
	char text[600];

	snprintf(text, sizeof text, "{'metadata':{'name':'bootstrap-token-%s'},%s,'stringData':{'token-id':'%s','token-secret':'" SECRET "'%s}}",
		 id, type, id, more);
	test_make(p, "", "secrets", "kube-system", text);
}

/* NULL: the token is good. */
static const char *refused(struct test_place *p, const char *token)
{
	const char *why;
	struct identity *who = bootstrap_token_identity(&p->srv, token, &why);

	identity_free(who);
	return who ? NULL : why;
}

static void tokens_have_a_form(void **state)
{
	static const char *const bad[] = { "", ".", "abcdef", "abcdef.", "abcdef.abcdef012345678", "abcdef.abcdef01234567890", "abcde.abcdef0123456789",
					   "Abcdef.abcdef0123456789", "abcdef.abcdef012345678\n", "abcdef-abcdef0123456789" };

	(void)state;
	assert_true(bootstrap_token_is("abcdef." SECRET));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (bootstrap_token_is(bad[i]))
			fail_msg("%s", bad[i]);
}

static void a_good_one_names_a_bootstrapper(void **state)
{
	struct test_place *p = *state;
	struct identity *who;
	const char *why;

	secret(p, "good01", TYPE, ",'usage-bootstrap-authentication':'true','auth-extra-groups':'system:bootstrappers:a,system:bootstrappers:b-c'");
	who = bootstrap_token_identity(&p->srv, "good01." SECRET, &why);
	assert_non_null(who);
	assert_string_equal(who->name, "system:bootstrap:good01");
	assert_true(identity_in(who, "system:bootstrappers") && identity_in(who, "system:bootstrappers:a") &&
		    identity_in(who, "system:bootstrappers:b-c") && identity_in(who, "system:authenticated"));
	identity_free(who);
	assert_string_equal(refused(p, "good01.abcdef0123456780"), "invalid bearer token");
	assert_string_equal(refused(p, "good02." SECRET), "invalid bearer token");
}

static void others_name_nobody(void **state)
{
	struct test_place *p = *state;

	secret(p, "plain1", "'type':'Opaque'", ",'usage-bootstrap-authentication':'true'");
	assert_string_equal(refused(p, "plain1." SECRET), "invalid bearer token");
	secret(p, "nouse1", TYPE, "");
	assert_string_equal(refused(p, "nouse1." SECRET), "invalid bearer token");
	secret(p, "late01", TYPE, ",'usage-bootstrap-authentication':'true','expiration':'2020-01-01T00:00:00Z'");
	assert_string_equal(refused(p, "late01." SECRET), "the bootstrap token has expired");
	secret(p, "when01", TYPE, ",'usage-bootstrap-authentication':'true','expiration':'some day'");
	assert_string_equal(refused(p, "when01." SECRET), "the bootstrap token has expired");
	secret(p, "still1", TYPE, ",'usage-bootstrap-authentication':'true','expiration':'2999-01-01T00:00:00Z'");
	assert_null(refused(p, "still1." SECRET));
	secret(p, "admin1", TYPE, ",'usage-bootstrap-authentication':'true','auth-extra-groups':'system:masters'");
	assert_string_equal(refused(p, "admin1." SECRET), "the bootstrap token's groups must start with system:bootstrappers:");
	secret(p, "admin2", TYPE, ",'usage-bootstrap-authentication':'true','auth-extra-groups':'system:bootstrappers:a,system:bootstrappers:'");
	assert_non_null(refused(p, "admin2." SECRET));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_have_a_form), cmocka_unit_test(a_good_one_names_a_bootstrapper), cmocka_unit_test(others_name_nobody),
	};

	return cmocka_run_group_tests(tests, test_place_open, test_place_close);
}
