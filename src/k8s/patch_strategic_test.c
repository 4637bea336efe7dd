// SPDX-License-Identifier: Apache-2.0
#include "patch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kind.h"

struct patch_case {
	const char *doc, *patch, *want;   // want NULL: fails with -EINVAL
};

static void test_strategic(void **state)
{
	(void)state;
	/* Of a Pod; single quotes stand for double ones. */
	static const struct patch_case cases[] = {
		{"{'metadata':{'labels':{'a':'1'}}}", "{'metadata':{'labels':{'b':'2','a':null}}}", "{'metadata':{'labels':{'b':'2'}}}"},
		{"{'spec':{'containers':[{'name':'a','image':'1'},{'name':'b','image':'2'}]}}",
		 "{'spec':{'containers':[{'name':'b','image':'3'},{'name':'c','image':'4'}]}}",
		 "{'spec':{'containers':[{'name':'a','image':'1'},{'name':'b','image':'3'},{'name':'c','image':'4'}]}}"},
		{"{'spec':{'containers':[{'name':'a','image':'1'},{'name':'b'}]}}",
		 "{'spec':{'containers':[{'name':'a','$patch':'delete'}]}}", "{'spec':{'containers':[{'name':'b'}]}}"},
		{"{'spec':{'containers':[{'name':'a'},{'name':'b'}]}}",
		 "{'spec':{'containers':[{'$patch':'replace'},{'name':'z'}]}}", "{'spec':{'containers':[{'name':'z'}]}}"},
		{"{'spec':{'containers':[{'name':'a','image':'i','tty':true}]}}",
		 "{'spec':{'containers':[{'name':'a','$patch':'replace','image':'j'}]}}",
		 "{'spec':{'containers':[{'name':'a','image':'j'}]}}"},
		{"{'spec':{'tolerations':[{'key':'a'}]}}", "{'spec':{'tolerations':[{'key':'b'}]}}", "{'spec':{'tolerations':[{'key':'b'}]}}"},
		{"{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'name':'x'}],'env':[{'name':'E','value':'1'}],"
		 "'args':['x']}]}}",
		 "{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'protocol':'UDP'}],'env':[{'name':'E','value':'2'},"
		 "{'name':'F'}],'args':['y']}]}}",
		 "{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'name':'x','protocol':'UDP'}],'env':[{'name':'E',"
		 "'value':'2'},{'name':'F'}],'args':['y']}]}}"},
		{"{'metadata':{'finalizers':['a','b']}}", "{'metadata':{'finalizers':['c','a']}}", "{'metadata':{'finalizers':['a','b','c']}}"},
		{"{'metadata':{'finalizers':['a','b','c']}}", "{'metadata':{'$deleteFromPrimitiveList/finalizers':['b']}}",
		 "{'metadata':{'finalizers':['a','c']}}"},
		{"{'metadata':{'finalizers':['a','b']}}", "{'metadata':{'$setElementOrder/finalizers':['c','b','a'],'finalizers':['c']}}",
		 "{'metadata':{'finalizers':['c','b','a']}}"},
		{"{'spec':{'containers':[{'name':'a'},{'name':'live'},{'name':'b'}]}}",
		 "{'spec':{'$setElementOrder/containers':[{'name':'b'},{'name':'n'},{'name':'a'}],'containers':[{'name':'n'}]}}",
		 "{'spec':{'containers':[{'name':'b'},{'name':'n'},{'name':'a'},{'name':'live'}]}}"},
		{"{'spec':{'volumes':[{'name':'v','emptyDir':{}}]}}",
		 "{'spec':{'volumes':[{'name':'v','$retainKeys':['name','hostPath'],'hostPath':{'path':'/x'}}]}}",
		 "{'spec':{'volumes':[{'name':'v','hostPath':{'path':'/x'}}]}}"},
		{"{'spec':{'securityContext':{'runAsUser':1,'fsGroup':2}}}", "{'spec':{'securityContext':{'$patch':'replace','runAsUser':3}}}",
		 "{'spec':{'securityContext':{'runAsUser':3}}}"},
		{"{'spec':{'securityContext':{'runAsUser':1}}}", "{'spec':{'securityContext':{'$patch':'delete'}}}",
		 "{'spec':{'securityContext':{}}}"},
		{"{'status':{'conditions':[{'type':'Ready','status':'False'}]}}",
		 "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'X'}]}}",
		 "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'X'}]}}"},
		{"{}", "{'spec':{'containers':[{'name':'a','$patch':'delete'},{'name':'b'}],'$setElementOrder/containers':[{'name':'b'}]}}",
		 "{'spec':{'containers':[{'name':'b'}]}}"},
		{"{'metadata':{'annotations':{'$patch-like':'x'}}}", "{'metadata':{'annotations':{'b':'c'}}}",
		 "{'metadata':{'annotations':{'$patch-like':'x','b':'c'}}}"},
		{"{}", "{'spec':{'containers':[{'image':'x'}]}}", NULL}, {"{}", "{'spec':{'containers':['x']}}", NULL},
		{"{}", "{'spec':{'$patch':'explode'}}", NULL}, {"{}", "{'spec':{'$retainKeys':'x'}}", NULL}, {"{}", "[]", NULL},
		{"{}", "{'spec':{'$retainKeys':['a'],'nodeName':'x'}}", NULL},
		{"{'spec':{'tolerations':[]}}", "{'spec':{'$setElementOrder/tolerations':[]}}", NULL},
	};
	const struct k8s_kind *k = k8s_kind_find("", "v1", "pods");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *j[3] = {0};
		const char *texts[] = {cases[i].doc, cases[i].patch, cases[i].want};
		for (int t = 0; t < 3 && texts[t]; t++) {
			char *copy = strdup(texts[t]);
			for (char *c = copy; *c; c++)
				if (*c == '\'')
					*c = '"';
			j[t] = json_loads(copy, 0, NULL);
			assert_non_null(j[t]);
			free(copy);
		}
		json_t *out = NULL, *before = json_deep_copy(j[0]);
		struct err e = ERR_INIT;
		int rc = k8s_patch_strategic(k, j[0], j[1], &out, &e);
		if (rc != (j[2] ? 0 : -EINVAL))
			fail_msg("%s: %d %s", cases[i].patch, rc, e.text);
		char *text = json_dumps(out, JSON_COMPACT);
		if (j[2] && !json_equal(out, j[2]))
			fail_msg("%s gives %s", cases[i].patch, text);
		assert_true(json_equal(j[0], before));
		free(text);
		json_decref(out);
		json_decref(before);
		for (int t = 0; t < 3; t++)
			json_decref(j[t]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_strategic)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
