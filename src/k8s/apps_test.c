// SPDX-License-Identifier: Apache-2.0
// Workloads: defaults, validation, conversion.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "golden.h"

#define POD "'spec':{'containers':[{'name':'a','image':'i:1'}]}"
#define TEMPLATE "'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}}," POD "}"
#define POD_OUT "'spec':{'containers':[{'name':'a','image':'i:1','imagePullPolicy':'IfNotPresent','resources':{}," \
	"'terminationMessagePath':'/dev/termination-log','terminationMessagePolicy':'File'}],'dnsPolicy':'ClusterFirst','restartPolicy':" \
	"'Always','schedulerName':'default-scheduler','securityContext':{},'terminationGracePeriodSeconds':30}"
#define TEMPLATE_OUT "'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}}," POD_OUT "}"

static void test_defaults(void **state)
{
	(void)state;
	golden_defaults("apps/v1 Deployment", "{'spec':{" TEMPLATE "}}",
			"{'spec':{" TEMPLATE_OUT ",'replicas':1,'revisionHistoryLimit':10,'progressDeadlineSeconds':600,'strategy':{'type':"
			"'RollingUpdate','rollingUpdate':{'maxUnavailable':'25%','maxSurge':'25%'}}}}");
	golden_defaults("apps/v1 Deployment", "{'spec':{'replicas':0,'strategy':{'type':'Recreate'}," TEMPLATE "}}",
			"{'spec':{" TEMPLATE_OUT ",'replicas':0,'revisionHistoryLimit':10,'progressDeadlineSeconds':600,'strategy':{'type':"
			"'Recreate'}}}");
	golden_defaults("apps/v1 StatefulSet", "{'spec':{" TEMPLATE "}}",
			"{'spec':{" TEMPLATE_OUT ",'replicas':1,'revisionHistoryLimit':10,'podManagementPolicy':'OrderedReady',"
			"'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'Retain','whenScaled':'Retain'},'updateStrategy':{'type':"
			"'RollingUpdate','rollingUpdate':{'partition':0}}}}");
	golden_defaults("apps/v1 DaemonSet", "{'spec':{" TEMPLATE "}}",
			"{'spec':{" TEMPLATE_OUT ",'revisionHistoryLimit':10,'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{"
			"'maxUnavailable':1,'maxSurge':0}}}}");
	golden_defaults("batch/v1 Job", "{'spec':{'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'a','image':'i:1',"
			"'imagePullPolicy':'Never'}]}}}}",
			"{'spec':{'completions':1,'parallelism':1,'backoffLimit':6,'completionMode':'NonIndexed','suspend':false,"
			"'podReplacementPolicy':'TerminatingOrFailed','template':{'spec':{'restartPolicy':'Never','containers':[{'name':'a',"
			"'image':'i:1','imagePullPolicy':'Never','resources':{},'terminationMessagePath':'/dev/termination-log',"
			"'terminationMessagePolicy':'File'}],'dnsPolicy':'ClusterFirst','schedulerName':'default-scheduler','securityContext':{},"
			"'terminationGracePeriodSeconds':30}}}}");
}

static void test_messages(void **state)
{
	(void)state;
	golden_message("apps/v1 Deployment", "{'spec':{'template':{" POD "}}}", NULL, "spec.selector: Required value");
	golden_message("apps/v1 Deployment", "{'spec':{'selector':{'matchLabels':{'a':'c'}},'template':{'metadata':{'labels':{'a':'b'}}," POD
		       "}}}", NULL, "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`");
	golden_message("apps/v1 Deployment", "{'spec':{'selector':{},'template':{" POD "}}}", NULL,
		       "spec.selector: Invalid value: {}: empty selector is invalid for deployment");
	golden_message("apps/v1 Deployment", "{'spec':{'replicas':-1,'strategy':{'type':'Recreate','rollingUpdate':{}}," TEMPLATE "}}", NULL,
		       "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.strategy.rollingUpdate: Forbidden: may not be "
		       "specified when strategy `type` is 'Recreate']");
	golden_message("apps/v1 Deployment", "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':'0%'}}," TEMPLATE "}}", NULL,
		       "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0");
	golden_message("apps/v1 Deployment", "{'spec':{'strategy':{'rollingUpdate':{'maxSurge':'x'}}," TEMPLATE "}}", NULL,
		       "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric string followed by "
		       "an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
	golden_message("apps/v1 Deployment", "{'spec':{" TEMPLATE "}}", "{'spec':{'selector':{'matchLabels':{'x':'y'}},'template':{" POD "}}}",
		       "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable");
	golden_message("apps/v1 ReplicaSet", "{'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{"
		       "'restartPolicy':'Never','containers':[{'name':'a','image':'i'}]}}}}", NULL,
		       "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"");
	golden_message("apps/v1 StatefulSet", "{'spec':{'serviceName':'x'," TEMPLATE "}}", "{'spec':{'serviceName':'y'," TEMPLATE "}}",
		       "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
		       "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
	golden_message("apps/v1 StatefulSet", "{'spec':{'replicas':5," TEMPLATE "}}", "{'spec':{" TEMPLATE "}}", "");
	golden_message("batch/v1 Job", "{'spec':{'template':{" POD "}}}", NULL,
		       "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"");
#define JOB(more) "{'spec':{" more ",'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'a','image':'i'}]}}}}"
	golden_message("batch/v1 Job", JOB("'completionMode':'Indexed','completions':3,'backoffLimitPerIndex':1,'successPolicy':{'rules':[{"
					   "'succeededIndexes':'0-3'},{},{'succeededCount':4},{'succeededIndexes':'0,2'}]}"), NULL,
		       "[spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": error parsing succeededIndexes, "
		       "spec.successPolicy.rules[1]: Required value: at least one of succeededCount or succeededIndexes must be specified, "
		       "spec.successPolicy.rules[2].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified "
		       "completions)]");
	golden_message("batch/v1 Job", JOB("'maxFailedIndexes':2,'podFailurePolicy':{'rules':[{'action':'FailIndex','onPodConditions':[{'type':'X'}]},"
					   "{'action':'Count','onExitCodes':{'operator':'In','values':[0,0]}}]}"), NULL,
		       "[spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified, spec.maxFailedIndexes: Invalid value: 2: "
		       "must be less than or equal to completions, spec.podFailurePolicy.rules[0].action: Unsupported value: \"FailIndex\": "
		       "supported values: \"Count\", \"FailJob\", \"Ignore\", spec.podFailurePolicy.rules[1].onExitCodes.values[0]: Invalid value: 0: "
		       "must not be 0 for the In operator, spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Invalid value: 0: must not be 0 "
		       "for the In operator, spec.podFailurePolicy.rules[1].onExitCodes.values[1]: Duplicate value: 0]");
	golden_message("batch/v1 CronJob", "{'spec':{'schedule':'x','jobTemplate':{'spec':{'template':{'spec':{'restartPolicy':'Never',"
		       "'containers':[{'name':'a','image':'i'}]}}}}}}", NULL,
		       "spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x]");
	golden_message("ReplicationController", "{'spec':{'selector':{'z':'y'},'template':{'metadata':{'labels':{'a':'b'}}," POD "}}}", NULL,
		       "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`");
	golden_message("autoscaling/v2 HorizontalPodAutoscaler", "{'spec':{'maxReplicas':1,'minReplicas':2,'scaleTargetRef':{'kind':'D'}}}", NULL,
		       "[spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`, spec.scaleTargetRef.name: Required "
		       "value]");
#define HPA(more) "{'spec':{'maxReplicas':3,'scaleTargetRef':{'kind':'D','name':'d'}," more "}}"
	golden_message("autoscaling/v2 HorizontalPodAutoscaler", HPA("'behavior':{'scaleDown':{'policies':[{'type':'Pods','value':0,"
		       "'periodSeconds':1801}],'selectPolicy':'Most'},'scaleUp':{'stabilizationWindowSeconds':3601}}"), NULL,
		       "[spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600, "
		       "spec.behavior.scaleDown.selectPolicy: Unsupported value: \"Most\": supported values: \"Disabled\", \"Max\", \"Min\", "
		       "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero, "
		       "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800]");
	golden_message("autoscaling/v2 HorizontalPodAutoscaler", HPA("'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{"
		       "'type':'Utilization','averageUtilization':50,'averageValue':'1'}}},{'type':'Resource'}]"), NULL,
		       "[spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization, "
		       "spec.metrics[1].resource: Required value: must populate information for the given metric source]");
	golden_message("policy/v1 PodDisruptionBudget", "{'spec':{'minAvailable':'101%'}}", NULL,
		       "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%");
}

static void test_job_selector(void **state)
{
	(void)state;
	json_t *job = golden_parse("{'metadata':{'name':'j','uid':'u'},'spec':{'template':{}},'status':{'active':1}}");
	golden_kind("batch/v1 Job")->prepare_create(job);
	json_t *want = golden_parse("{'metadata':{'name':'j','uid':'u'},'spec':{'selector':{'matchLabels':{'batch.kubernetes.io/controller-uid':'u'}},"
				    "'template':{'metadata':{'labels':{'batch.kubernetes.io/controller-uid':'u','controller-uid':'u',"
				    "'batch.kubernetes.io/job-name':'j','job-name':'j'}}}}}");
	assert_true(json_equal(job, want));
	json_decref(job);
	json_decref(want);
}

static void convert(const char *from, const char *to, const char *in, const char *out)
{
	json_t *obj = golden_parse(in), *want = golden_parse(out);
	k8s_kind_convert(golden_kind(from), golden_kind(to), obj);
	if (!json_equal(obj, want)) {
		own_free char *text = json_dumps(obj, 0);
		fail_msg("%s", text);
	}
	json_decref(obj);
	json_decref(want);
}

static void test_conversions(void **state)
{
	(void)state;
	convert("events.k8s.io/v1 Event", "Event", "{'regarding':{'name':'x'},'note':'n','deprecatedCount':2,'type':'Normal'}",
		"{'apiVersion':'v1','kind':'Event','involvedObject':{'name':'x'},'message':'n','count':2,'type':'Normal'}");
	convert("Event", "events.k8s.io/v1 Event", "{'apiVersion':'v1','kind':'Event','message':'n','source':{'host':'h'}}",
		"{'apiVersion':'events.k8s.io/v1','kind':'Event','note':'n','deprecatedSource':{'host':'h'}}");
	convert("autoscaling/v1 HorizontalPodAutoscaler", "autoscaling/v2 HorizontalPodAutoscaler",
		"{'spec':{'maxReplicas':3,'targetCPUUtilizationPercentage':70}}",
		"{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','spec':{'maxReplicas':3,'metrics':[{'type':'Resource',"
		"'resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':70}}}]}}");
	convert("autoscaling/v2 HorizontalPodAutoscaler", "autoscaling/v1 HorizontalPodAutoscaler",
		"{'spec':{'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':70}}}]}}",
		"{'apiVersion':'autoscaling/v1','kind':'HorizontalPodAutoscaler','spec':{'targetCPUUtilizationPercentage':70}}");
#define MEMORY "{'type':'Resource','resource':{'name':'memory','target':{'type':'AverageValue','averageValue':'1Gi'}}}"
	const char *const v1 = "{'apiVersion':'autoscaling/v1','kind':'HorizontalPodAutoscaler','metadata':{'annotations':{"
			       "'autoscaling.alpha.kubernetes.io/metrics':'[{\\u0022type\\u0022:\\u0022Resource\\u0022,\\u0022resource\\u0022:{"
			       "\\u0022name\\u0022:\\u0022memory\\u0022,\\u0022target\\u0022:{\\u0022type\\u0022:\\u0022AverageValue\\u0022,"
			       "\\u0022averageValue\\u0022:\\u00221Gi\\u0022}}}]'}},'spec':{}}";
	const char *const v2 = "{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{},'spec':{'metrics':[" MEMORY "]}}";
	convert("autoscaling/v2 HorizontalPodAutoscaler", "autoscaling/v1 HorizontalPodAutoscaler", v2, v1);
	convert("autoscaling/v1 HorizontalPodAutoscaler", "autoscaling/v2 HorizontalPodAutoscaler", v1, v2);
	convert("autoscaling/v1 HorizontalPodAutoscaler", "autoscaling/v2 HorizontalPodAutoscaler",
		"{'metadata':{'annotations':{'autoscaling.alpha.kubernetes.io/metrics':'[5]','autoscaling.alpha.kubernetes.io/behavior':'x'}},'spec':{}}",
		"{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{},'spec':{}}");
	convert("batch/v1 CronJob", "batch/v1beta1 CronJob", "{'spec':{}}", "{'apiVersion':'batch/v1beta1','kind':'CronJob','spec':{}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_messages),
		cmocka_unit_test(test_job_selector), cmocka_unit_test(test_conversions)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
