// SPDX-License-Identifier: Apache-2.0
// Printer columns: object in, cells out. Times are given as seconds before now: '@5' is five seconds ago.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "kind.h"

/* Single quotes become double ones, '@N' a time. */
static json_t *parse(const char *text)
{
	struct buf b = BUF_INIT;
	for (const char *c = text; *c; c++) {
		char time[CLOCK_TEXT_MAX];
		if (*c == '@' && c[-1] == '\'') {
			char *end;
			uint64_t ago = strtoull(c + 1, &end, 10);
			buf_puts(&b, clock_text(clock_real_ns() - ago * NS_PER_S, 0, time));
			c = end - 1;
		} else {
			buf_printf(&b, "%c", *c == '\'' ? '"' : *c);
		}
	}
	json_error_t where;
	json_t *j = json_loads(b.data, 0, &where);
	if (!j)
		fail_msg("%s: %s", where.text, b.data);
	buf_fini(&b);
	return j;
}

static void expect(const char *group, const char *plural, const char *object, const char *want)
{
	const struct k8s_kind *k = NULL;
	size_t n, i;
	const struct k8s_kind *rows = k8s_kinds(&n);
	for (i = 0; i < n && !k; i++)
		if ((rows[i].storage || rows[i].verbs) && !strcmp(rows[i].group, group) && !strcmp(rows[i].plural, plural))
			k = &rows[i];
	assert_non_null(k);
	json_t *list = json_array(), *v;
	json_array_append_new(list, parse(object));
	json_t *table = k8s_table(k, list, "None", NULL, NULL);
	json_t *cells = jpath_get(json_array_get(jpath_get(table, "rows"), 0), "cells");
	assert_int_equal(json_array_size(cells), json_array_size(jpath_get(table, "columnDefinitions")));
	struct buf b = BUF_INIT;
	json_array_foreach(cells, i, v) {
		char *text = json_is_string(v) ? strdup(json_string_value(v)) : json_dumps(v, JSON_ENCODE_ANY);
		buf_printf(&b, "%s%s", i ? "|" : "", text);
		free(text);
	}
	assert_string_equal(b.data, want);
	buf_fini(&b);
	json_decref(table);
	json_decref(list);
}

#define META "'metadata':{'name':'x','creationTimestamp':'@300'}"

static void test_pod(void **state)
{
	(void)state;
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Pending'}}",
	       "x|0/1|Pending|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'nodeName':'n','containers':[{'name':'a'},{'name':'b'}]},'status':{'phase':'Running',"
	       "'podIP':'10.0.0.1','podIPs':[{'ip':'10.0.0.1'}],'containerStatuses':[{'name':'a','ready':true,'restartCount':1,"
	       "'state':{'running':{}},'lastState':{'terminated':{'finishedAt':'@65','exitCode':1}}},{'name':'b','ready':false,"
	       "'restartCount':0,'state':{'running':{}}}]}}", "x|1/2|Running|1 (65s ago)|5m|10.0.0.1|n|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Pending','containerStatuses':[{'name':'a',"
	       "'state':{'waiting':{'reason':'ContainerCreating'}}}]}}", "x|0/1|ContainerCreating|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Running','containerStatuses':[{'name':'a',"
	       "'restartCount':7,'state':{'waiting':{'reason':'CrashLoopBackOff'}},'lastState':{'terminated':{'finishedAt':'@3600'}}}]}}",
	       "x|0/1|CrashLoopBackOff|7 (60m ago)|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Succeeded','containerStatuses':[{'name':'a',"
	       "'state':{'terminated':{'exitCode':0,'reason':'Completed'}}}]}}", "x|0/1|Completed|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed','containerStatuses':[{'name':'a',"
	       "'state':{'terminated':{'exitCode':3,'reason':'Error'}}}]}}", "x|0/1|Error|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed','containerStatuses':[{'name':'a',"
	       "'state':{'terminated':{'exitCode':3}}}]}}", "x|0/1|ExitCode:3|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed','containerStatuses':[{'name':'a',"
	       "'state':{'terminated':{'exitCode':137,'signal':9}}}]}}", "x|0/1|Signal:9|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'},{'name':'b'}]},'status':{'phase':'Running','containerStatuses':["
	       "{'name':'a','state':{'terminated':{'exitCode':0,'reason':'Completed'}}},{'name':'b','ready':true,'state':{'running':{}}}],"
	       "'conditions':[{'type':'Ready','status':'False'}]}}", "x|1/2|NotReady|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'i'},{'name':'j'}]},'status':{'phase':"
	       "'Pending','initContainerStatuses':[{'name':'i','state':{'terminated':{'exitCode':0}}},{'name':'j','state':{'running':{}}}]}}",
	       "x|0/1|Init:1/2|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'i'}]},'status':{'phase':'Pending',"
	       "'initContainerStatuses':[{'name':'i','restartCount':2,'state':{'waiting':{'reason':'CrashLoopBackOff'}}}]}}",
	       "x|0/1|Init:CrashLoopBackOff|2|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}],'initContainers':[{'name':'i','restartPolicy':'Always'}]},'status':{"
	       "'phase':'Running','initContainerStatuses':[{'name':'i','started':true,'ready':true,'state':{'running':{}}}],"
	       "'containerStatuses':[{'name':'a','ready':true,'state':{'running':{}}}]}}", "x|2/2|Running|0|5m|<none>|<none>|<none>|<none>");
	expect("", "pods", "{'metadata':{'name':'x','creationTimestamp':'@10','deletionTimestamp':'@0'},'spec':{'containers':[{'name':'a'}],"
	       "'readinessGates':[{'conditionType':'g'}]},'status':{'phase':'Running','conditions':[{'type':'g','status':'True'}]}}",
	       "x|0/1|Terminating|0|10s|<none>|<none>|<none>|1/1");
	expect("", "pods", "{" META ",'spec':{'containers':[{'name':'a'}]},'status':{'phase':'Failed','reason':'Evicted'}}",
	       "x|0/1|Evicted|0|5m|<none>|<none>|<none>|<none>");
}

static void test_core(void **state)
{
	(void)state;
	expect("", "nodes", "{'metadata':{'name':'n','creationTimestamp':'@86400','labels':{'node-role.kubernetes.io/worker':'',"
	       "'node-role.kubernetes.io/control-plane':''}},'spec':{'unschedulable':true},'status':{'conditions':[{'type':'Ready','status':"
	       "'True'}],'addresses':[{'type':'InternalIP','address':'10.1.1.1'}],'nodeInfo':{'kubeletVersion':'v1','osImage':'Debian',"
	       "'kernelVersion':'6.1','containerRuntimeVersion':'crun://1'}}}",
	       "n|Ready,SchedulingDisabled|control-plane,worker|24h|v1|10.1.1.1|<none>|Debian|6.1|crun://1");
	expect("", "nodes", "{" META "}", "x|Unknown|<none>|5m||<none>|<none>|<unknown>|<unknown>|<unknown>");
	expect("", "namespaces", "{" META ",'status':{'phase':'Active'}}", "x|Active|5m");
	expect("", "events", "{'metadata':{'name':'e'},'type':'Warning','reason':'BackOff','message':' m \\n','count':4,'firstTimestamp':'@600',"
	       "'lastTimestamp':'@30','involvedObject':{'kind':'Pod','name':'p','fieldPath':'spec.x'},'source':{'component':'kubelet',"
	       "'host':'n'}}", "30s|Warning|BackOff|pod/p|spec.x|kubelet, n|m|10m|4|e");
	expect("", "services", "{" META ",'spec':{'type':'NodePort','clusterIP':'10.0.0.9','ports':[{'port':80,'nodePort':30080,'protocol':'TCP'},"
	       "{'port':53,'protocol':'UDP'}],'selector':{'b':'2','a':'1'}}}", "x|NodePort|10.0.0.9|<none>|80:30080/TCP,53/UDP|5m|a=1,b=2");
	expect("", "services", "{" META ",'spec':{'type':'ExternalName','externalName':'e.org'}}", "x|ExternalName|<none>|e.org|<none>|5m|<none>");
	expect("", "services", "{" META ",'spec':{'type':'LoadBalancer','clusterIP':'1.1.1.1'}}",
	       "x|LoadBalancer|1.1.1.1|<pending>|<none>|5m|<none>");
	expect("", "endpoints", "{" META ",'subsets':[{'addresses':[{'ip':'10.0.0.1'},{'ip':'fd::1'},{'ip':'3'},{'ip':'4'}],'ports':[{'port':80}]"
	       "}]}", "x|10.0.0.1:80,[fd::1]:80,3:80 + 1 more...|5m");
	expect("", "configmaps", "{" META ",'data':{'a':'b'},'binaryData':{'c':''}}", "x|2|5m");
	expect("", "secrets", "{" META ",'type':'Opaque','data':{'a':''}}", "x|Opaque|1|5m");
	expect("", "serviceaccounts", "{" META "}", "x|0|5m");
}

/* What the node says of VMs beside what `kubectl top` shows; a node of another make says nothing of them. */
static void test_metrics(void **state)
{
	(void)state;
	static const char vm[] = "'annotations':{'bulkhead.dev/resident':'163840Ki','bulkhead.dev/shared':'1Mi','bulkhead.dev/compressed':'0Ki',"
		"'bulkhead.dev/ballooned':'2Gi'}";
	char text[1024];
	snprintf(text, sizeof(text), "{'metadata':{'name':'p',%s},'window':'15.002s','containers':[{'name':'a','usage':{'cpu':'1500000n',"
		 "'memory':'1024Ki','swap':'4Mi'}},{'name':'b','usage':{'cpu':'2','memory':'3Mi'}}]}", vm);
	expect("metrics.k8s.io", "pods", text, "p|2002m|4Mi|160Mi|1Mi|0Mi|2048Mi|15.002s");
	expect("metrics.k8s.io", "pods", "{" META ",'containers':[]}", "x|0m|0Mi|<none>|<none>|<none>|<none>|");
	snprintf(text, sizeof(text), "{'metadata':{'name':'n',%s},'window':'9s','usage':{'cpu':'250m','memory':'1Gi'}}", vm);
	expect("metrics.k8s.io", "nodes", text, "n|250m|1024Mi|160Mi|1Mi|0Mi|2048Mi|9s");
}

static void test_workloads(void **state)
{
	(void)state;
	static const char template[] = "'selector':{'matchLabels':{'a':'b'},'matchExpressions':[{'key':'c','operator':'In','values':['d','e']},"
		"{'key':'f','operator':'DoesNotExist'}]},'template':{'spec':{'containers':[{'name':'c','image':'i'},{'name':'d','image':'j'}]}}";
	char text[1024];
	snprintf(text, sizeof(text), "{" META ",'spec':{'replicas':3,%s},'status':{'readyReplicas':1,'updatedReplicas':2,'availableReplicas':1}}",
		 template);
	expect("apps", "deployments", text, "x|1/3|2|1|5m|c,d|i,j|a=b,c in (d,e),!f");
	snprintf(text, sizeof(text), "{" META ",'spec':{'replicas':3,%s},'status':{'replicas':3,'readyReplicas':1}}", template);
	expect("apps", "replicasets", text, "x|3|3|1|5m|c,d|i,j|a=b,c in (d,e),!f");
	snprintf(text, sizeof(text), "{" META ",'spec':{%s},'status':{'desiredNumberScheduled':2,'numberReady':1}}", template);
	expect("apps", "daemonsets", text, "x|2|0|1|0|0|<none>|5m|c,d|i,j|a=b,c in (d,e),!f");
	expect("batch", "jobs", "{" META ",'spec':{'completions':5},'status':{'succeeded':5,'startTime':'@300','completionTime':'@270',"
	       "'conditions':[{'type':'Complete','status':'True'}]}}", "x|Complete|5/5|30s|5m|||<none>");
	expect("batch", "jobs", "{" META ",'spec':{'parallelism':3}}", "x|Running|0/1 of 3||5m|||<none>");
	expect("batch", "cronjobs", "{" META ",'spec':{'schedule':'* * * * *','suspend':true}}",
	       "x|* * * * *|<none>|True|0|<none>|5m|||<none>");
	expect("autoscaling", "horizontalpodautoscalers", "{" META ",'spec':{'scaleTargetRef':{'kind':'Deployment','name':'d'},'maxReplicas':9,"
	       "'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':80}}}]}}",
	       "x|Deployment/d|cpu: <unknown>/80%|<unset>|9|0|5m");
	expect("policy", "poddisruptionbudgets", "{" META ",'spec':{'minAvailable':'50%'}}", "x|50%|N/A|0|5m");
}

static void test_others(void **state)
{
	(void)state;
	expect("", "persistentvolumes", "{" META ",'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteMany','ReadWriteOnce'],"
	       "'persistentVolumeReclaimPolicy':'Retain','claimRef':{'namespace':'d','name':'c'},'storageClassName':'s','volumeMode':'Block'},"
	       "'status':{'phase':'Bound'}}", "x|1Gi|RWO,RWX|Retain|Bound|d/c|s|<unset>||5m|Block");
	expect("", "persistentvolumeclaims", "{" META ",'spec':{'accessModes':['ReadWriteOnce']},'status':{'phase':'Pending'}}",
	       "x|Pending|||||<unset>|5m|<unset>");
	expect("storage.k8s.io", "storageclasses", "{'metadata':{'name':'s','annotations':{'storageclass.kubernetes.io/is-default-class':'true'}},"
	       "'provisioner':'p'}", "s (default)|p|Delete|Immediate|false|<unknown>");
	expect("networking.k8s.io", "ingresses", "{" META ",'spec':{'ingressClassName':'c','rules':[{'host':'a.b'}],'tls':[{}]}}",
	       "x|c|a.b||80, 443|5m");
	expect("networking.k8s.io", "networkpolicies", "{" META ",'spec':{'podSelector':{}}}", "x|<none>|5m");
	expect("rbac.authorization.k8s.io", "rolebindings", "{" META ",'roleRef':{'kind':'Role','name':'r'},'subjects':[{'kind':'User','name':'u'},"
	       "{'kind':'ServiceAccount','namespace':'n','name':'s'}]}", "x|Role/r|5m|u||n/s");
	expect("certificates.k8s.io", "certificatesigningrequests", "{" META ",'spec':{'signerName':'s','username':'u'},'status':{'conditions':"
	       "[{'type':'Approved'}],'certificate':'x'}}", "x|5m|s|u|<none>|Approved,Issued");
	expect("coordination.k8s.io", "leases", "{" META ",'spec':{'holderIdentity':'h'}}", "x|h|5m");
	expect("scheduling.k8s.io", "priorityclasses", "{" META ",'value':5}", "x|5|false|5m|PreemptLowerPriority");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pod), cmocka_unit_test(test_core), cmocka_unit_test(test_metrics), cmocka_unit_test(test_workloads),
		cmocka_unit_test(test_others)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
