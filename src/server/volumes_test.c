// SPDX-License-Identifier: Apache-2.0
// Which volume may be bound to which claim.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "server/volumes.h"

#define CLAIM "{'metadata':{'name':'c','namespace':'n','uid':'u'},'spec':{'storageClassName':'s','accessModes':['ReadWriteOnce']," \
	      "'resources':{'requests':{'storage':'1Gi'}}%s}}"

static json_t *parse(const char *text, const char *more)
{
	char json[2000];
	size_t n = (size_t)snprintf(json, sizeof json, text, more);

	for (size_t i = 0; i < n; i++)
		if (json[i] == '\'')
			json[i] = '"';
	json_t *j = json_loads(json, 0, NULL);
	assert_non_null(j);
	return j;
}

static bool satisfies(const char *pv_spec, const char *claim_more)
{
	char text[1000];

	snprintf(text, sizeof text, "{'metadata':{'name':'v','labels':{'disk':'fast'}},'spec':{%s}%%s}", pv_spec);
	own_json json_t *claim = parse(CLAIM, claim_more), *volume = parse(text, "");
	return volume_satisfies(volume, claim);
}

#define PV "'storageClassName':'s','accessModes':['ReadWriteOnce','ReadOnlyMany'],'capacity':{'storage':'2Gi'}"

static void test_satisfies(void **state)
{
	(void)state;
	assert_true(satisfies(PV, ""));
	assert_true(satisfies(PV, ",'selector':{'matchLabels':{'disk':'fast'}}"));
	assert_false(satisfies(PV, ",'selector':{'matchLabels':{'disk':'slow'}}"));
	assert_false(satisfies(PV, ",'volumeMode':'Block'"));
	assert_true(satisfies(PV ",'volumeMode':'Block'", ",'volumeMode':'Block'"));
	assert_true(satisfies(PV ",'claimRef':{'namespace':'n','name':'c'}", ""));
	assert_true(satisfies(PV ",'claimRef':{'namespace':'n','name':'c','uid':'u'}", ""));
	assert_false(satisfies(PV ",'claimRef':{'namespace':'n','name':'c','uid':'earlier'}", ""));
	assert_false(satisfies(PV ",'claimRef':{'namespace':'n','name':'other'}", ""));
	assert_false(satisfies("'storageClassName':'t','accessModes':['ReadWriteOnce'],'capacity':{'storage':'2Gi'}", ""));
	assert_false(satisfies("'storageClassName':'s','accessModes':['ReadOnlyMany'],'capacity':{'storage':'2Gi'}", ""));
	assert_false(satisfies("'storageClassName':'s','accessModes':['ReadWriteOnce'],'capacity':{'storage':'1023Mi'}", ""));
}

static void test_node(void **state)
{
	(void)state;
	own_json json_t *here = parse("{'spec':{'nodeAffinity':{'required':{'nodeSelectorTerms':[{'matchExpressions':[{'key':"
				      "'kubernetes.io/hostname','operator':'In','values':['%s']}]}]}}}}", "n1");
	own_json json_t *anywhere = parse("{'spec':{}%s}", "");
	assert_string_equal(volume_node(here), "n1");
	assert_string_equal(volume_node(anywhere), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_satisfies), cmocka_unit_test(test_node) };
	return cmocka_run_group_tests_name("server/volumes", tests, NULL, NULL);
}
