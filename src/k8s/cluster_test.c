// SPDX-License-Identifier: Apache-2.0
// Storage, network, access and the other groups: defaults and validation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "golden.h"

#define CLAIM "'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}"

static void test_storage(void **state)
{
	(void)state;
	golden_defaults("PersistentVolumeClaim", "{'spec':{" CLAIM "}}", "{'spec':{" CLAIM ",'volumeMode':'Filesystem'},'status':{'phase':'Pending'}}");
	golden_message("PersistentVolumeClaim", "{'spec':{}}", NULL, "[spec.accessModes: Required value: at least 1 access mode is required, "
		       "spec.resources.requests[storage]: Required value]");
	golden_message("PersistentVolumeClaim", "{'spec':{'volumeName':'v'," CLAIM "}}", "{'spec':{" CLAIM "}}", "");
	golden_message("PersistentVolumeClaim", "{'spec':{'volumeName':'v'," CLAIM "}}", "{'spec':{'volumeName':'w'," CLAIM "}}",
		       "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
	golden_message("PersistentVolume", "{'spec':{}}", NULL, "[spec.accessModes: Required value, spec.capacity: Required value, spec: Required "
		       "value: must specify a volume type]");
	golden_message("PersistentVolume", "{'spec':{'capacity':{'storage':'1Gi'},'accessModes':['X'],'hostPath':{'path':'/x'}}}", NULL,
		       "spec.accessModes: Unsupported value: \"X\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", "
		       "\"ReadWriteOncePod\"");
	golden_defaults("storage.k8s.io/v1 StorageClass", "{'provisioner':'p'}",
			"{'provisioner':'p','reclaimPolicy':'Delete','volumeBindingMode':'Immediate'}");
	golden_message("storage.k8s.io/v1 StorageClass", "{'provisioner':'p'}", "{'provisioner':'q'}",
		       "provisioner: Forbidden: updates to provisioner are forbidden.");
}

static void test_access(void **state)
{
	(void)state;
	golden_message("rbac.authorization.k8s.io/v1 Role", "{'rules':[{}]}", NULL,
		       "[rules[0].verbs: Required value: verbs must contain at least one value, rules[0].apiGroups: Required value: resource rules "
		       "must supply at least one api group, rules[0].resources: Required value: resource rules must supply at least one resource]");
	golden_message("rbac.authorization.k8s.io/v1 ClusterRole", "{'rules':[{'verbs':['get'],'nonResourceURLs':['/x']}]}", NULL, "");
	golden_defaults("rbac.authorization.k8s.io/v1 RoleBinding", "{'roleRef':{'kind':'Role','name':'r'},'subjects':[{'kind':'User','name':'u'},"
			"{'kind':'ServiceAccount','name':'s','namespace':'n'}]}",
			"{'roleRef':{'kind':'Role','name':'r','apiGroup':'rbac.authorization.k8s.io'},'subjects':[{'kind':'User','name':'u',"
			"'apiGroup':'rbac.authorization.k8s.io'},{'kind':'ServiceAccount','name':'s','namespace':'n'}]}");
	golden_message("rbac.authorization.k8s.io/v1 ClusterRoleBinding", "{'roleRef':{'kind':'Role','name':'r'},'subjects':[{'kind':"
		       "'ServiceAccount','name':'s'}]}", NULL, "[roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\", "
		       "subjects[0].namespace: Required value]");
	golden_message("rbac.authorization.k8s.io/v1 RoleBinding", "{'roleRef':{'kind':'Role','name':'r'}}",
		       "{'roleRef':{'kind':'Role','name':'q'}}", "roleRef: Invalid value: {\"kind\":\"Role\",\"name\":\"r\",\"apiGroup\":"
		       "\"rbac.authorization.k8s.io\"}: cannot change roleRef");
	golden_message("certificates.k8s.io/v1 CertificateSigningRequest", "{'spec':{'request':'','signerName':'x'}}", NULL,
		       "[spec.request: Invalid value: \"\": PEM block type must be CERTIFICATE REQUEST, spec.usages: Required value, "
		       "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name']");
}

static void test_network(void **state)
{
	(void)state;
	golden_message("networking.k8s.io/v1 Ingress", "{'spec':{}}", NULL,
		       "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified");
	golden_message("networking.k8s.io/v1 Ingress", "{'spec':{'rules':[{'host':'1.2.3.4','http':{'paths':[{'path':'x','pathType':'Prefix',"
		       "'backend':{'service':{'name':'s'}}},{'path':'/','backend':{'service':{'name':'s','port':{'number':80}}}}]}}]}}", NULL,
		       "[spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address, spec.rules[0].http.paths[0].path: "
		       "Invalid value: \"x\": must be an absolute path, spec.rules[0].http.paths[0].backend: Required value: port name or number "
		       "is required, spec.rules[0].http.paths[1].pathType: Required value: pathType must be specified]");
	golden_defaults("networking.k8s.io/v1 NetworkPolicy", "{'spec':{'podSelector':{},'egress':[{'ports':[{'port':53}]}]}}",
			"{'spec':{'podSelector':{},'egress':[{'ports':[{'port':53,'protocol':'TCP'}]}],'policyTypes':['Ingress','Egress']}}");
	golden_message("networking.k8s.io/v1 NetworkPolicy", "{'spec':{'ingress':[{'from':[{},{'ipBlock':{'cidr':'10.0.0.0/33'}}]}]}}", NULL,
		       "[spec.ingress[0].from[0]: Required value: must specify a peer, spec.ingress[0].from[1].ipBlock.cidr: Invalid value: "
		       "\"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)]");
	golden_message("discovery.k8s.io/v1 EndpointSlice", "{'addressType':'IPv4','endpoints':[{'addresses':['x']},{}]}", NULL,
		       "[endpoints[0].addresses[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), "
		       "endpoints[1].addresses: Required value: must contain at least 1 address]");
}

static void test_policy(void **state)
{
	(void)state;
	golden_message("scheduling.k8s.io/v1 PriorityClass", "{'value':2000000000}", NULL,
		       "value: Forbidden: maximum allowed value of a user defined priority is 1000000000");
	golden_message("scheduling.k8s.io/v1 PriorityClass", "{'value':2}", "{'value':1}", "value: Forbidden: may not be changed in an update.");
	golden_message("ResourceQuota", "{'spec':{'hard':{'pods':'-1'}}}", NULL,
		       "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0");
	golden_defaults("LimitRange", "{'spec':{'limits':[{'type':'Container','max':{'cpu':'2'},'min':{'memory':'1Mi'}}]}}",
			"{'spec':{'limits':[{'type':'Container','max':{'cpu':'2'},'min':{'memory':'1Mi'},'default':{'cpu':'2'},'defaultRequest':{"
			"'cpu':'2','memory':'1Mi'}}]}}");
	golden_message("LimitRange", "{'spec':{'limits':[{'type':'Pod','max':{'cpu':'1'},'min':{'cpu':'2'}}]}}", NULL,
		       "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_storage), cmocka_unit_test(test_access), cmocka_unit_test(test_network),
		cmocka_unit_test(test_policy)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
