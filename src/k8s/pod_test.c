// SPDX-License-Identifier: Apache-2.0
// Pods: defaults, validation, updates, QoS class.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "golden.h"
#include "hooks.h"

static void test_defaults(void **state)
{
	(void)state;
	golden_defaults("Pod", "{'spec':{'containers':[{'name':'a','image':'nginx'}]}}",
			"{'spec':{'containers':[{'name':'a','image':'nginx','imagePullPolicy':'Always','resources':{},"
			"'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File'}],'dnsPolicy':'ClusterFirst',"
			"'enableServiceLinks':true,'restartPolicy':'Always','schedulerName':'default-scheduler','securityContext':{},"
			"'terminationGracePeriodSeconds':30}}");
	golden_defaults("Pod",
			"{'spec':{'serviceAccountName':'s','terminationGracePeriodSeconds':0,'hostNetwork':true,'enableServiceLinks':false,"
			"'containers':[{'name':'a','image':'r:5000/n:1.2','ports':[{'containerPort':80}],'resources':{'limits':{'cpu':'1','memory':"
			"'1Gi'},'requests':{'cpu':'500m'}},'livenessProbe':{'httpGet':{'port':80}},'env':[{'name':'E','valueFrom':{'fieldRef':{"
			"'fieldPath':'metadata.name'}}}]}],'volumes':[{'name':'v'},{'name':'c','configMap':{'name':'m'}},{'name':'h','hostPath':{"
			"'path':'/x'}}]}}",
			"{'spec':{'serviceAccountName':'s','serviceAccount':'s','terminationGracePeriodSeconds':0,'hostNetwork':true,"
			"'enableServiceLinks':false,'containers':[{'name':'a','image':'r:5000/n:1.2','imagePullPolicy':'IfNotPresent',"
			"'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File','ports':[{'containerPort':80,"
			"'hostPort':80,'protocol':'TCP'}],'resources':{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'500m','memory':"
			"'1Gi'}},'livenessProbe':{'httpGet':{'port':80,'path':'/','scheme':'HTTP'},'timeoutSeconds':1,'periodSeconds':10,"
			"'successThreshold':1,'failureThreshold':3},'env':[{'name':'E','valueFrom':{'fieldRef':{'fieldPath':'metadata.name',"
			"'apiVersion':'v1'}}}]}],'volumes':[{'name':'v','emptyDir':{}},{'name':'c','configMap':{'name':'m','defaultMode':420}},"
			"{'name':'h','hostPath':{'path':'/x','type':''}}],'dnsPolicy':'ClusterFirst','restartPolicy':'Always',"
			"'schedulerName':'default-scheduler','securityContext':{}}}");
}

static void test_pull_policy(void **state)
{
	(void)state;
	static const char *const cases[][2] = {{"a", "Always"}, {"a:latest", "Always"}, {"a:1", "IfNotPresent"}, {"r:5000/a", "Always"},
		{"r:5000/a:2", "IfNotPresent"}, {"a@sha256:00", "IfNotPresent"}, {"a:latest@sha256:00", "Always"}, {"a:1@sha256:0", "IfNotPresent"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *pod = json_pack("{s:{s:[{s:s}]}}", "spec", "containers", "image", cases[i][0]);
		k8s_defaults_pod(pod);
		assert_string_equal(jpath_str(json_array_get(jpath_get(pod, "spec.containers"), 0), "imagePullPolicy", ""), cases[i][1]);
		json_decref(pod);
	}
}

#define LABEL_RULE "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " \
	"alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define POD(more) "{'spec':{" more "'containers':[{'name':'a','image':'i'}]}}"
#define CONTAINER(more) "{'spec':{'volumes':[{'name':'v'}],'containers':[{'name':'a','image':'i'," more "}]}}"

static void test_containers(void **state)
{
	(void)state;
	golden_message("Pod", POD(""), NULL, "");
	golden_message("Pod", "{'spec':{}}", NULL, "spec.containers: Required value");
	golden_message("Pod", "{'spec':{'containers':[{}]}}", NULL,
		       "[spec.containers[0].name: Required value, spec.containers[0].image: Required value]");
	golden_message("Pod", "{'spec':{'containers':[{'name':'A_b','image':'i '}]}}", NULL,
		       "[spec.containers[0].name: Invalid value: \"A_b\": " LABEL_RULE ", spec.containers[0].image: Invalid value: \"i \": must not "
		       "have leading or trailing whitespace]");
	golden_message("Pod", "{'spec':{'containers':[{'name':'a','image':'i'},{'name':'a','image':'i'}]}}", NULL,
		       "spec.containers[1].name: Duplicate value: \"a\"");
	golden_message("Pod", "{'spec':{'containers':[{'name':'a','image':'i'}],'initContainers':[{'name':'a','image':'i'}]}}", NULL,
		       "spec.initContainers[0].name: Duplicate value: \"a\"");
	golden_message("Pod", CONTAINER("'imagePullPolicy':'Sometimes'"), NULL, "spec.containers[0].imagePullPolicy: Unsupported value: "
		       "\"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"");
	golden_message("Pod", CONTAINER("'resizePolicy':[{'resourceName':'cpu','restartPolicy':'NotRequired'},"
					 "{'resourceName':'memory','restartPolicy':'RestartContainer'}]"), NULL, "");
	golden_message("Pod", CONTAINER("'resizePolicy':[{'resourceName':'cpu','restartPolicy':'x'},{'resourceName':'cpu','restartPolicy':'NotRequired'},"
					 "{'resourceName':'gpu','restartPolicy':'NotRequired'}]"), NULL,
		       "[spec.containers[0].resizePolicy: Unsupported value: \"x\": supported values: \"NotRequired\", \"RestartContainer\", "
		       "spec.containers[0].resizePolicy: Duplicate value: \"cpu\", "
		       "spec.containers[0].resizePolicy: Unsupported value: \"gpu\": supported values: \"cpu\", \"memory\"]");
	golden_message("Pod", "{'spec':{'restartPolicy':'Never','containers':[{'name':'a','image':'i',"
			      "'resizePolicy':[{'resourceName':'memory','restartPolicy':'RestartContainer'}]}]}}", NULL,
		       "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'");
	golden_message("Pod", CONTAINER("'ports':[{'containerPort':70000},{'name':'x'},{'containerPort':1,'protocol':'X'}]"), NULL,
		       "[spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive, "
		       "spec.containers[0].ports[1].containerPort: Required value, spec.containers[0].ports[2].protocol: Unsupported value: "
		       "\"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"]");
	golden_message("Pod", CONTAINER("'ports':[{'containerPort':1,'hostPort':8,'name':'p'},{'containerPort':2,'hostPort':8,'name':'p'}]"), NULL,
		       "[spec.containers[0].ports[1].name: Duplicate value: \"p\", spec.containers[0].ports[1].hostPort: Duplicate value: "
		       "\"TCP//8\"]");
	golden_message("Pod", CONTAINER("'volumeMounts':[{'name':'w','mountPath':'/a'},{'name':'v','mountPath':'/a','subPath':'../x'}]"), NULL,
		       "[spec.containers[0].volumeMounts[0].name: Not found: \"w\", spec.containers[0].volumeMounts[1].mountPath: Invalid "
		       "value: \"/a\": must be unique, spec.containers[0].volumeMounts[1].subPath: Invalid value: \"../x\": must not contain '..']");
	golden_message("Pod", CONTAINER("'env':[{'name':'a=b'},{'value':'x'},{'name':'F','valueFrom':{}},{'name':'G','valueFrom':{'fieldRef':"
					"{'fieldPath':'spec.x'}}}]"), NULL,
		       "[spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of "
		       "printable ASCII characters other than '=', spec.containers[0].env[1].name: Required value, "
		       "spec.containers[0].env[2].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, "
		       "`configMapKeyRef` or `secretKeyRef`, spec.containers[0].env[3].valueFrom.fieldRef.fieldPath: Unsupported value: "
		       "\"spec.x\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
		       "\"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"]");
	golden_message("Pod", CONTAINER("'resources':{'requests':{'cpu':'2','memory':'-1'},'limits':{'cpu':'1','disk':'1'}}"), NULL,
		       "[spec.containers[0].resources.limits[disk]: Invalid value: \"disk\": must be a standard resource for containers, "
		       "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0, "
		       "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for containers, "
		       "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1]");
	golden_message("Pod", CONTAINER("'livenessProbe':{'successThreshold':2},'readinessProbe':{'exec':{},'tcpSocket':{'port':1}}"), NULL,
		       "[spec.containers[0].livenessProbe: Required value: must specify a handler type, "
		       "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1, "
		       "spec.containers[0].readinessProbe.exec.command: Required value, "
		       "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type]");
	golden_message("Pod", CONTAINER("'securityContext':{'runAsUser':-1}"), NULL, "spec.containers[0].securityContext.runAsUser: Invalid "
		       "value: -1: must be between 0 and 2147483647, inclusive");
}

static void test_spec(void **state)
{
	(void)state;
	golden_message("Pod", POD("'restartPolicy':'Sometimes',"), NULL, "spec.restartPolicy: Unsupported value: \"Sometimes\": supported "
		       "values: \"Always\", \"Never\", \"OnFailure\"");
	golden_message("Pod", POD("'dnsPolicy':'None',"), NULL, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is "
		       "None");
	golden_message("Pod", POD("'hostname':'A',"), NULL, "spec.hostname: Invalid value: \"A\": " LABEL_RULE);
	golden_message("Pod", POD("'activeDeadlineSeconds':0,"), NULL, "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and "
		       "2147483647, inclusive");
	golden_message("Pod", POD("'volumes':[{'name':'v'},{'name':'v','emptyDir':{},'secret':{}},{'name':'s','secret':{'defaultMode':9999}}],"),
		       NULL, "[spec.volumes[1].secret: Forbidden: may not specify more than 1 volume type, spec.volumes[1].name: Duplicate "
		       "value: \"v\", spec.volumes[2].secret.secretName: Required value, spec.volumes[2].secret.defaultMode: Invalid value: "
		       "9999: must be a number between 0 and 0777 (octal), both inclusive]");
	golden_message("Pod", POD("'tolerations':[{'operator':'Equal'},{'key':'a','operator':'Exists','value':'b'},{'key':'a','effect':'X'}],"),
		       NULL, "[spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means "
		       "\"match all values and all keys\", spec.tolerations[1].operator: Invalid value: \"b\": value must be empty when "
		       "`operator` is 'Exists', spec.tolerations[2].effect: Unsupported value: \"X\": supported values: \"NoExecute\", "
		       "\"NoSchedule\", \"PreferNoSchedule\"]");
	golden_message("Pod", POD("'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'nodeSelectorTerms':[]}},"
				  "'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{}]}},"), NULL,
		       "[spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have "
		       "at least one node selector term, spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]."
		       "topologyKey: Required value: can not be empty]");
	golden_message("Pod", POD("'topologySpreadConstraints':[{'whenUnsatisfiable':'X'}],"), NULL,
		       "[spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero, "
		       "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty, "
		       "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"X\": supported values: \"DoNotSchedule\", "
		       "\"ScheduleAnyway\"]");
	golden_message("Pod", POD("'hostAliases':[{'ip':'x'}],"), NULL, "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP "
		       "address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

static void test_update(void **state)
{
	(void)state;
	golden_message("Pod", POD(""), POD(""), "");
	golden_message("Pod", "{'spec':{'containers':[{'name':'a','image':'j','imagePullPolicy':'Always'}]}}", POD(""), "");
	golden_message("Pod", POD("'nodeName':'n',"), POD(""), "spec: Forbidden: pod updates may not change fields other than "
		       "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
		       "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
		       "negative)\n  changed: spec.nodeName");
	golden_message("Pod", "{'spec':{'containers':[{'name':'a','image':'i'},{'name':'b','image':'i'}]}}", POD(""),
		       "spec.containers: Forbidden: pod updates may not add or remove containers");
	golden_message("Pod", POD("'activeDeadlineSeconds':5,"), POD("'activeDeadlineSeconds':9,"), "");
	golden_message("Pod", POD("'activeDeadlineSeconds':9,"), POD("'activeDeadlineSeconds':5,"),
		       "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value");
	golden_message("Pod", POD("'tolerations':[{'key':'a','operator':'Exists'}],"), POD(""), "");
	golden_message("Pod", POD(""), POD("'tolerations':[{'key':'a','operator':'Exists'}],"),
		       "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds");
	golden_message("Pod", "{'spec':{'containers':[{'name':'a'}]}}", POD(""), "spec.containers[0].image: Required value");
}

static void test_qos(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"[{}]", "BestEffort"}, {"[{'resources':{'requests':{'x/y':'1'}}}]", "BestEffort"},
		{"[{'resources':{'requests':{'cpu':'1'}}}]", "Burstable"}, {"[{'resources':{'limits':{'cpu':'1','memory':'1'}}}]", "Guaranteed"},
		{"[{'resources':{'limits':{'cpu':'1','memory':'1'},'requests':{'cpu':'500m'}}}]", "Burstable"},
		{"[{'resources':{'limits':{'cpu':'1','memory':'1'}}},{}]", "Burstable"}, {"[{'resources':{'limits':{'cpu':'0'}}}]", "BestEffort"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[512];
		snprintf(text, sizeof(text), "{'spec':{'containers':%s}}", cases[i][0]);
		json_t *pod = golden_parse(text);
		k8s_defaults_pod(pod);
		assert_string_equal(k8s_pod_qos(pod), cases[i][1]);
		k8s_create_pod(pod);
		assert_string_equal(jpath_str(pod, "status.qosClass", ""), cases[i][1]);
		json_decref(pod);
	}
}

#define WHOLE(whole, containers) "{'spec':{'resources':{" whole "},'containers':" containers "}}"

static void check_requests(const char *pod_text, const char *want)
{
	json_t *pod = golden_parse(pod_text);
	k8s_defaults_pod(pod);
	char *got = json_dumps(jpath_get(pod, "spec.resources.requests"), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(got ? got : "none", want);
	free(got);
	json_decref(pod);
}

/* What is said of the pod as a whole. */
static void test_whole(void **state)
{
	(void)state;
	check_requests(WHOLE("'limits':{'cpu':'2','memory':'1Gi'}", "[{},{}]"), "{\"cpu\":\"2\",\"memory\":\"1Gi\"}");
	check_requests(WHOLE("'limits':{'cpu':'2','memory':'1Gi'}", "[{'resources':{'requests':{'cpu':'100m'},'limits':{'memory':'64Mi'}}},"
			     "{'resources':{'requests':{'cpu':'200m'}}}]"), "{\"cpu\":\"300m\",\"memory\":\"64Mi\"}");
	check_requests(WHOLE("'limits':{'cpu':'2'},'requests':{'cpu':'1'}", "[{'resources':{'requests':{'cpu':'100m'}}}]"), "{\"cpu\":\"1\"}");
	check_requests("{'spec':{'resources':{'limits':{'cpu':'2'}},'initContainers':[{'restartPolicy':'Always','resources':{'requests':{'cpu':'200m'}}},"
		       "{'resources':{'requests':{'cpu':'1'}}}],'containers':[{'resources':{'requests':{'cpu':'100m'}}}]}}", "{\"cpu\":\"1200m\"}");
	check_requests(WHOLE("", "[{'resources':{'requests':{'cpu':'100m'}}}]"), "none");
	check_requests(WHOLE("'requests':{'cpu':'1'}", "[{'resources':{'requests':{'memory':'1Gi'}}}]"), "{\"cpu\":\"1\"}");

#define A(limits) "[{'name':'a','image':'i','resources':{'limits':{" limits "}}}]"
	golden_message("Pod", WHOLE("'limits':{'cpu':'2','memory':'1Gi'},'requests':{'cpu':'1'}", A("'cpu':'1','memory':'1Gi'")), NULL, "");
	golden_message("Pod", WHOLE("'requests':{'cpu':'500m'}", "[{'name':'a','image':'i','resources':{'requests':{'cpu':'600m'}}},"
			     "{'name':'b','image':'i','resources':{'requests':{'cpu':'400m'}}}]"), NULL,
		       "spec.resources.requests[cpu]: Invalid value: \"500m\": must be greater than or equal to aggregate container requests of 1");
	golden_message("Pod", WHOLE("'limits':{'memory':'64Mi'},'requests':{'memory':'64Mi'}", "[{'name':'a','image':'i',"
			     "'resources':{'limits':{'memory':'65Mi'},'requests':{'memory':'1Mi'}}}]"), NULL,
		       "spec.resources.containers[0][memory].limits: Invalid value: \"65Mi\": must be less than or equal to pod limits of 64Mi");
	golden_message("Pod", WHOLE("'limits':{'cpu':'1','memory':'-1','ephemeral-storage':'1Gi','x/y':'1'},'requests':{'cpu':'2'}", A("")), NULL,
		       "[spec.resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0, "
		       "spec.resources.limits[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", "
		       "\"memory\", spec.resources.limits[x/y]: Unsupported value: \"x/y\": supported values: \"cpu\", \"hugepages-\", \"memory\", "
		       "spec.resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0, "
		       "spec.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1]");
	golden_message("Pod", "{'spec':{'os':{'name':'windows'},'resources':{'limits':{'cpu':'1'}},'containers':[{'name':'a','image':'i'}]}}", NULL,
		       "spec.resources: Forbidden: may not be set for a windows pod");

	static const char *const classes[][2] = {
		{WHOLE("'limits':{'cpu':'1','memory':'1Gi'}", "[{},{}]"), "Guaranteed"},
		{WHOLE("'limits':{'cpu':'1'}", "[{}]"), "Burstable"},
		{WHOLE("'requests':{'memory':'1Gi'}", "[{'resources':{'limits':{'cpu':'1','memory':'1'}}}]"), "Burstable"},
		{WHOLE("'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'500m'}", "[{}]"), "Burstable"},
		{WHOLE("", "[{'resources':{'requests':{'cpu':'1'}}}]"), "BestEffort"},
		{WHOLE("'requests':{'hugepages-2Mi':'2Mi'}", "[{'resources':{'limits':{'cpu':'1','memory':'1'}}}]"), "BestEffort"},
	};
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		json_t *pod = golden_parse(classes[i][0]);
		k8s_defaults_pod(pod);
		assert_string_equal(k8s_pod_qos(pod), classes[i][1]);
		json_decref(pod);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_pull_policy),
		cmocka_unit_test(test_containers), cmocka_unit_test(test_spec), cmocka_unit_test(test_update), cmocka_unit_test(test_qos), cmocka_unit_test(test_whole)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
