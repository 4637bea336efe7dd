// SPDX-License-Identifier: Apache-2.0
// The core group besides pods: defaults and validation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "golden.h"

static void test_data(void **state)
{
	(void)state;
	golden_defaults("Secret", "{'stringData':{'a':'foo'},'data':{'a':'eA==','b':''}}", "{'type':'Opaque','data':{'a':'Zm9v','b':''}}");
	golden_message("Secret", "{'type':'kubernetes.io/tls','data':{'tls.crt':''}}", NULL, "data[tls.key]: Required value");
	golden_message("Secret", "{'type':'a'}", "{'type':'b'}", "type: Invalid value: \"a\": field is immutable");
	golden_message("Secret", "{'data':{'a':'eA=='},'immutable':true}", "{'immutable':true}",
		       "data: Forbidden: field is immutable when `immutable` is set");
	golden_message("Secret", "{}", "{'immutable':true}", "immutable: Forbidden: field is immutable when `immutable` is set");
	golden_message("ConfigMap", "{'data':{'a':'x'},'immutable':true}", "{'data':{'a':'x'}}", "");
	golden_message("ConfigMap", "{'data':{'a':'x','b/c':''},'binaryData':{'a':''}}", NULL,
		       "[data[b/c]: Invalid value: \"b/c\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
		       "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+'), data[a]: Invalid value: "
		       "\"a\": duplicate of key present in data]");
}

static void test_service(void **state)
{
	(void)state;
	golden_defaults("Service", "{'spec':{'ports':[{'port':80}]}}",
			"{'spec':{'ports':[{'port':80,'protocol':'TCP','targetPort':80}],'sessionAffinity':'None','type':'ClusterIP',"
			"'internalTrafficPolicy':'Cluster'}}");
	golden_message("Service", "{'spec':{}}", NULL, "spec.ports: Required value");
	golden_message("Service", "{'spec':{'clusterIP':'None'}}", NULL, "");
	golden_message("Service", "{'spec':{'type':'ExternalName'}}", NULL, "spec.externalName: Required value");
	golden_message("Service", "{'spec':{'ports':[{'port':0},{'port':80}]}}", NULL,
		       "[spec.ports[0].name: Required value, spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, "
		       "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive, "
		       "spec.ports[1].name: Required value]");
	golden_message("Service", "{'spec':{'type':'X','ports':[{'port':80}]}}", NULL, "spec.type: Unsupported value: \"X\": supported values: "
		       "\"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"");
	golden_message("Service", "{'spec':{'clusterIP':'1.1.1.2','ports':[{'port':80}]}}", "{'spec':{'clusterIP':'1.1.1.1','ports':[{'port':80}]}}",
		       "spec.clusterIPs[0]: Invalid value: \"1.1.1.2\": may not change once set");
}

static void test_others(void **state)
{
	(void)state;
	json_t *ns = golden_parse("{'metadata':{'name':'n'}}");
	golden_kind("Namespace")->set_defaults(ns);
	golden_kind("Namespace")->prepare_create(ns);
	json_t *want = golden_parse("{'metadata':{'name':'n','labels':{'kubernetes.io/metadata.name':'n'}},'spec':{'finalizers':['kubernetes']},"
				    "'status':{'phase':'Active'}}");
	assert_true(json_equal(ns, want));
	json_decref(ns);
	json_decref(want);
	golden_message("Node", "{'spec':{'taints':[{'key':'a','effect':'NoSchedule'},{'key':'b'}]}}", NULL,
		       "spec.taints[1].effect: Required value");
	golden_message("Node", "{'spec':{'podCIDR':'10.0.1.0/24'}}", "{'spec':{'podCIDR':'10.0.0.0/24'}}",
		       "spec.podCIDR: Forbidden: node updates may not change podCIDR except from \"\" to valid");
	golden_message("Event", "{'metadata':{'namespace':'a'},'involvedObject':{'namespace':'b'}}", NULL,
		       "involvedObject.namespace: Invalid value: \"b\": does not match event.namespace");
	golden_message("Event", "{'metadata':{'namespace':'default'},'involvedObject':{}}", NULL, "");
	golden_message("coordination.k8s.io/v1 Lease", "{'spec':{'leaseDurationSeconds':0}}", NULL,
		       "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_data), cmocka_unit_test(test_service), cmocka_unit_test(test_others)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
