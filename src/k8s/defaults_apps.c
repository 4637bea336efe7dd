// SPDX-License-Identifier: Apache-2.0
// Defaults and preparation of the workloads: groups apps, batch, autoscaling; ReplicationController.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"

/* obj.key as an object; made when it is not there. */
static json_t *object_at(json_t *obj, const char *key)
{
	if (!json_is_object(json_object_get(obj, key)))
		json_object_set_new(obj, key, json_object());
	return json_object_get(obj, key);
}

/* The spec, with its template's pod spec defaulted. NULL: the object has none. */
static json_t *workload_spec(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec");
	if (!json_is_object(spec))
		return NULL;
	k8s_default_pod_spec(object_at(object_at(spec, "template"), "spec"));
	return spec;
}

void k8s_defaults_deployment(json_t *obj)
{
	json_t *spec = workload_spec(obj);
	if (!spec)
		return;
	json_t *strategy = object_at(spec, "strategy");
	k8s_default(spec, "replicas", json_integer(1));
	k8s_default(spec, "revisionHistoryLimit", json_integer(10));
	k8s_default(spec, "progressDeadlineSeconds", json_integer(600));
	k8s_default(strategy, "type", json_string("RollingUpdate"));
	if (strcmp(jpath_str(strategy, "type", ""), "RollingUpdate"))
		return;
	json_t *rolling = object_at(strategy, "rollingUpdate");
	k8s_default(rolling, "maxUnavailable", json_string("25%"));
	k8s_default(rolling, "maxSurge", json_string("25%"));
}

void k8s_defaults_replicaset(json_t *obj)
{
	json_t *spec = workload_spec(obj);
	if (spec)
		k8s_default(spec, "replicas", json_integer(1));
}

void k8s_defaults_replicationcontroller(json_t *obj)
{
	json_t *spec = workload_spec(obj), *labels = jpath_get(spec, "template.metadata.labels"), *meta = json_object_get(obj, "metadata");
	if (!spec)
		return;
	k8s_default(spec, "replicas", json_integer(1));
	if (labels) {
		k8s_default(spec, "selector", json_deep_copy(labels));
		if (json_is_object(meta) && !json_object_size(json_object_get(meta, "labels")))
			json_object_set_new(meta, "labels", json_deep_copy(labels));
	}
}

void k8s_defaults_statefulset(json_t *obj)
{
	json_t *spec = workload_spec(obj), *claim;
	size_t i;
	if (!spec)
		return;
	json_t *strategy = object_at(spec, "updateStrategy"), *retention = object_at(spec, "persistentVolumeClaimRetentionPolicy");
	k8s_default(spec, "podManagementPolicy", json_string("OrderedReady"));
	k8s_default(spec, "replicas", json_integer(1));
	k8s_default(spec, "revisionHistoryLimit", json_integer(10));
	k8s_default(retention, "whenDeleted", json_string("Retain"));
	k8s_default(retention, "whenScaled", json_string("Retain"));
	k8s_default(strategy, "type", json_string("RollingUpdate"));
	if (!strcmp(jpath_str(strategy, "type", ""), "RollingUpdate"))
		k8s_default(object_at(strategy, "rollingUpdate"), "partition", json_integer(0));
	json_array_foreach(json_object_get(spec, "volumeClaimTemplates"), i, claim) {
		k8s_default(claim, "apiVersion", json_string("v1"));
		k8s_default(claim, "kind", json_string("PersistentVolumeClaim"));
		k8s_default_volume_claim_spec(json_object_get(claim, "spec"));
		k8s_default(object_at(claim, "status"), "phase", json_string("Pending"));
	}
}

void k8s_defaults_daemonset(json_t *obj)
{
	json_t *spec = workload_spec(obj);
	if (!spec)
		return;
	json_t *strategy = object_at(spec, "updateStrategy");
	k8s_default(spec, "revisionHistoryLimit", json_integer(10));
	k8s_default(strategy, "type", json_string("RollingUpdate"));
	if (strcmp(jpath_str(strategy, "type", ""), "RollingUpdate"))
		return;
	json_t *rolling = object_at(strategy, "rollingUpdate");
	k8s_default(rolling, "maxUnavailable", json_integer(1));
	k8s_default(rolling, "maxSurge", json_integer(0));
}

/* ---- batch ---- */

void k8s_defaults_job(json_t *obj)
{
	json_t *rule, *condition;
	size_t i, k;
	json_t *spec = workload_spec(obj), *labels = jpath_get(spec, "template.metadata.labels"), *meta = json_object_get(obj, "metadata");
	if (!spec)
		return;
	if (!json_object_get(spec, "completions") && !json_object_get(spec, "parallelism"))
		json_object_set_new(spec, "completions", json_integer(1));
	k8s_default(spec, "parallelism", json_integer(1));
	k8s_default(spec, "completionMode", json_string("NonIndexed"));
	k8s_default(spec, "backoffLimit", json_integer(json_object_get(spec, "backoffLimitPerIndex") ? 2147483647 : 6));
	k8s_default(spec, "suspend", json_false());
	k8s_default(spec, "podReplacementPolicy", json_string(json_object_get(spec, "podFailurePolicy") ? "Failed" : "TerminatingOrFailed"));
	json_array_foreach(jpath_get(spec, "podFailurePolicy.rules"), i, rule)
		json_array_foreach(json_object_get(rule, "onPodConditions"), k, condition)
			k8s_default(condition, "status", json_string("True"));
	if (labels && json_is_object(meta) && !json_object_size(json_object_get(meta, "labels")))
		json_object_set_new(meta, "labels", json_deep_copy(labels));
}

/* Unless the user picks the selector, pods of a job are known by its uid. Needs metadata.uid. */
void k8s_create_job(json_t *obj)
{
	static const char *const uid_labels[] = {"batch.kubernetes.io/controller-uid", "controller-uid"};
	static const char *const name_labels[] = {"batch.kubernetes.io/job-name", "job-name"};
	json_t *spec = json_object_get(obj, "spec"), *template_ = json_object_get(spec, "template");
	const char *uid = jpath_str(obj, "metadata.uid", NULL), *name = jpath_str(obj, "metadata.name", "");
	k8s_drop_status(obj);
	if (!uid || !json_is_object(template_) || jpath_bool(spec, "manualSelector", false))
		return;
	json_t *labels = object_at(object_at(template_, "metadata"), "labels");
	for (int i = 0; i < 2; i++) {
		json_object_set_new(labels, uid_labels[i], json_string(uid));
		json_object_set_new(labels, name_labels[i], json_string(name));
	}
	json_object_set_new(object_at(object_at(spec, "selector"), "matchLabels"), uid_labels[0], json_string(uid));
}

void k8s_defaults_cronjob(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec");
	if (!json_is_object(spec))
		return;
	k8s_default_pod_spec(jpath_get(spec, "jobTemplate.spec.template.spec"));
	k8s_default(spec, "concurrencyPolicy", json_string("Allow"));
	k8s_default(spec, "suspend", json_false());
	k8s_default(spec, "successfulJobsHistoryLimit", json_integer(3));
	k8s_default(spec, "failedJobsHistoryLimit", json_integer(1));
}

/* ---- autoscaling ---- */

/* What a given behavior leaves open. The window on the way down stays open: the controller's own is five minutes. */
static void default_behavior(json_t *behavior)
{
	json_t *up = object_at(behavior, "scaleUp"), *down = object_at(behavior, "scaleDown");
	k8s_default(up, "stabilizationWindowSeconds", json_integer(0));
	k8s_default(up, "selectPolicy", json_string("Max"));
	k8s_default(down, "selectPolicy", json_string("Max"));
	k8s_default(up, "policies", json_pack("[{s:s,s:i,s:i},{s:s,s:i,s:i}]", "type", "Pods", "value", 4, "periodSeconds", 15,
					      "type", "Percent", "value", 100, "periodSeconds", 15));
	k8s_default(down, "policies", json_pack("[{s:s,s:i,s:i}]", "type", "Percent", "value", 100, "periodSeconds", 15));
}

void k8s_defaults_hpa(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec");
	if (!json_is_object(spec))
		return;
	k8s_default(spec, "minReplicas", json_integer(1));
	k8s_default(spec, "metrics", json_pack("[{s:s,s:{s:s,s:{s:s,s:i}}}]", "type", "Resource", "resource", "name", "cpu", "target",
					       "type", "Utilization", "averageUtilization", 80));
	if (json_is_object(json_object_get(spec, "behavior")))
		default_behavior(json_object_get(spec, "behavior"));
}
