// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Workloads: groups apps and batch.
#include "schema_macros.h"

SCHEMA(apps_ControllerRevision, "io.k8s.api.apps.v1.ControllerRevision",
	S("apiVersion"), ANY("data"), S("kind"), O("metadata", meta_ObjectMeta), I64("revision", REQUIRED))

SCHEMA(apps_DaemonSet, "io.k8s.api.apps.v1.DaemonSet",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", apps_DaemonSetSpec),
	O("status", apps_DaemonSetStatus))

SCHEMA(apps_DaemonSetCondition, "io.k8s.api.apps.v1.DaemonSetCondition",
	TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(apps_DaemonSetSpec, "io.k8s.api.apps.v1.DaemonSetSpec",
	I32("minReadySeconds"), I32P("revisionHistoryLimit"), O("selector", meta_LabelSelector, REQUIRED),
	O("template", core_PodTemplateSpec, REQUIRED), O("updateStrategy", apps_DaemonSetUpdateStrategy))

SCHEMA(apps_DaemonSetStatus, "io.k8s.api.apps.v1.DaemonSetStatus",
	I32P("collisionCount"), LO("conditions", apps_DaemonSetCondition, KEYS("type"), MERGE_BY("type")),
	I32("currentNumberScheduled", REQUIRED), I32("desiredNumberScheduled", REQUIRED), I32("numberAvailable"),
	I32("numberMisscheduled", REQUIRED), I32("numberReady", REQUIRED), I32("numberUnavailable"),
	I64("observedGeneration"), I32("updatedNumberScheduled"))

SCHEMA(apps_DaemonSetUpdateStrategy, "io.k8s.api.apps.v1.DaemonSetUpdateStrategy",
	O("rollingUpdate", apps_RollingUpdateDaemonSet), S("type"))

SCHEMA(apps_Deployment, "io.k8s.api.apps.v1.Deployment",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", apps_DeploymentSpec),
	O("status", apps_DeploymentStatus))

SCHEMA(apps_DeploymentCondition, "io.k8s.api.apps.v1.DeploymentCondition",
	TIME("lastTransitionTime"), TIME("lastUpdateTime"), S("message"), S("reason"), S("status", REQUIRED),
	S("type", REQUIRED))

SCHEMA(apps_DeploymentSpec, "io.k8s.api.apps.v1.DeploymentSpec",
	I32("minReadySeconds"), B("paused"), I32P("progressDeadlineSeconds"), I32P("replicas"),
	I32P("revisionHistoryLimit"), O("selector", meta_LabelSelector, REQUIRED),
	O("strategy", apps_DeploymentStrategy, RETAIN_KEYS), O("template", core_PodTemplateSpec, REQUIRED))

SCHEMA(apps_DeploymentStatus, "io.k8s.api.apps.v1.DeploymentStatus",
	I32("availableReplicas"), I32P("collisionCount"),
	LO("conditions", apps_DeploymentCondition, KEYS("type"), MERGE_BY("type")), I64("observedGeneration"),
	I32("readyReplicas"), I32("replicas"), I32P("terminatingReplicas"), I32("unavailableReplicas"),
	I32("updatedReplicas"))

SCHEMA(apps_DeploymentStrategy, "io.k8s.api.apps.v1.DeploymentStrategy",
	O("rollingUpdate", apps_RollingUpdateDeployment), S("type"))

SCHEMA(apps_ReplicaSet, "io.k8s.api.apps.v1.ReplicaSet",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", apps_ReplicaSetSpec),
	O("status", apps_ReplicaSetStatus))

SCHEMA(apps_ReplicaSetCondition, "io.k8s.api.apps.v1.ReplicaSetCondition",
	TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(apps_ReplicaSetSpec, "io.k8s.api.apps.v1.ReplicaSetSpec",
	I32("minReadySeconds"), I32P("replicas"), O("selector", meta_LabelSelector, REQUIRED),
	O("template", core_PodTemplateSpec))

SCHEMA(apps_ReplicaSetStatus, "io.k8s.api.apps.v1.ReplicaSetStatus",
	I32("availableReplicas"), LO("conditions", apps_ReplicaSetCondition, KEYS("type"), MERGE_BY("type")),
	I32("fullyLabeledReplicas"), I64("observedGeneration"), I32("readyReplicas"), I32("replicas", REQUIRED),
	I32P("terminatingReplicas"))

SCHEMA(apps_RollingUpdateDaemonSet, "io.k8s.api.apps.v1.RollingUpdateDaemonSet",
	IOS("maxSurge"), IOS("maxUnavailable"))

SCHEMA(apps_RollingUpdateDeployment, "io.k8s.api.apps.v1.RollingUpdateDeployment",
	IOS("maxSurge"), IOS("maxUnavailable"))

SCHEMA(apps_RollingUpdateStatefulSetStrategy, "io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy",
	IOS("maxUnavailable"), I32P("partition"))

SCHEMA(apps_StatefulSet, "io.k8s.api.apps.v1.StatefulSet",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", apps_StatefulSetSpec),
	O("status", apps_StatefulSetStatus))

SCHEMA(apps_StatefulSetCondition, "io.k8s.api.apps.v1.StatefulSetCondition",
	TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(apps_StatefulSetOrdinals, "io.k8s.api.apps.v1.StatefulSetOrdinals",
	I32("start"))

SCHEMA(apps_StatefulSetPersistentVolumeClaimRetentionPolicy, "io.k8s.api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy",
	S("whenDeleted"), S("whenScaled"))

SCHEMA(apps_StatefulSetSpec, "io.k8s.api.apps.v1.StatefulSetSpec",
	I32("minReadySeconds"), O("ordinals", apps_StatefulSetOrdinals),
	O("persistentVolumeClaimRetentionPolicy", apps_StatefulSetPersistentVolumeClaimRetentionPolicy),
	S("podManagementPolicy"), I32P("replicas"), I32P("revisionHistoryLimit"),
	O("selector", meta_LabelSelector, REQUIRED), S("serviceName"), O("template", core_PodTemplateSpec, REQUIRED),
	O("updateStrategy", apps_StatefulSetUpdateStrategy),
	LO("volumeClaimTemplates", core_PersistentVolumeClaim, ATOMIC))

SCHEMA(apps_StatefulSetStatus, "io.k8s.api.apps.v1.StatefulSetStatus",
	I32("availableReplicas"), I32P("collisionCount"),
	LO("conditions", apps_StatefulSetCondition, KEYS("type"), MERGE_BY("type")), I32("currentReplicas"),
	S("currentRevision"), I64("observedGeneration"), I32("readyReplicas"), I32("replicas", REQUIRED),
	S("updateRevision"), I32("updatedReplicas"))

SCHEMA(apps_StatefulSetUpdateStrategy, "io.k8s.api.apps.v1.StatefulSetUpdateStrategy",
	O("rollingUpdate", apps_RollingUpdateStatefulSetStrategy), S("type"))

SCHEMA(batch_CronJob, "io.k8s.api.batch.v1.CronJob",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", batch_CronJobSpec, REQUIRED),
	O("status", batch_CronJobStatus))

SCHEMA(batch_CronJobSpec, "io.k8s.api.batch.v1.CronJobSpec",
	S("concurrencyPolicy"), I32P("failedJobsHistoryLimit"), O("jobTemplate", batch_JobTemplateSpec, REQUIRED),
	S("schedule", REQUIRED), I64P("startingDeadlineSeconds"), I32P("successfulJobsHistoryLimit"), BP("suspend"),
	SP("timeZone"))

SCHEMA(batch_CronJobStatus, "io.k8s.api.batch.v1.CronJobStatus",
	LO("active", core_ObjectReference, ATOMIC), TIME("lastScheduleTime"), TIME("lastSuccessfulTime"))

SCHEMA(batch_Job, "io.k8s.api.batch.v1.Job",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", batch_JobSpec),
	O("status", batch_JobStatus))

SCHEMA(batch_JobCondition, "io.k8s.api.batch.v1.JobCondition",
	TIME("lastProbeTime"), TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED),
	S("type", REQUIRED))

SCHEMA(batch_JobSpec, "io.k8s.api.batch.v1.JobSpec",
	I64P("activeDeadlineSeconds"), I32P("backoffLimit"), I32P("backoffLimitPerIndex"), SP("completionMode"),
	I32P("completions"), SP("managedBy"), BP("manualSelector"), I32P("maxFailedIndexes"), I32P("parallelism"),
	O("podFailurePolicy", batch_PodFailurePolicy), SP("podReplacementPolicy"), O("selector", meta_LabelSelector),
	O("successPolicy", batch_SuccessPolicy), BP("suspend"), O("template", core_PodTemplateSpec, REQUIRED),
	I32P("ttlSecondsAfterFinished"))

SCHEMA(batch_JobStatus, "io.k8s.api.batch.v1.JobStatus",
	I32("active"), S("completedIndexes"), TIME("completionTime"),
	LO("conditions", batch_JobCondition, ATOMIC, MERGE_BY("type")), I32("failed"), SP("failedIndexes"),
	I32P("ready"), TIME("startTime"), I32("succeeded"), I32P("terminating"),
	O("uncountedTerminatedPods", batch_UncountedTerminatedPods))

SCHEMA(batch_JobTemplateSpec, "io.k8s.api.batch.v1.JobTemplateSpec",
	O("metadata", meta_ObjectMeta), O("spec", batch_JobSpec))

SCHEMA(batch_PodFailurePolicy, "io.k8s.api.batch.v1.PodFailurePolicy",
	LO("rules", batch_PodFailurePolicyRule, REQUIRED, ATOMIC))

SCHEMA(batch_PodFailurePolicyOnExitCodesRequirement, "io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement",
	SP("containerName"), S("operator", REQUIRED), L("values", INT32, REQUIRED, SET))

SCHEMA(batch_PodFailurePolicyOnPodConditionsPattern, "io.k8s.api.batch.v1.PodFailurePolicyOnPodConditionsPattern",
	S("status"), S("type", REQUIRED))

SCHEMA(batch_PodFailurePolicyRule, "io.k8s.api.batch.v1.PodFailurePolicyRule",
	S("action", REQUIRED), O("onExitCodes", batch_PodFailurePolicyOnExitCodesRequirement),
	LO("onPodConditions", batch_PodFailurePolicyOnPodConditionsPattern, ATOMIC))

SCHEMA(batch_SuccessPolicy, "io.k8s.api.batch.v1.SuccessPolicy",
	LO("rules", batch_SuccessPolicyRule, REQUIRED, ATOMIC))

SCHEMA(batch_SuccessPolicyRule, "io.k8s.api.batch.v1.SuccessPolicyRule",
	I32P("succeededCount"), SP("succeededIndexes"))

SCHEMA(batch_UncountedTerminatedPods, "io.k8s.api.batch.v1.UncountedTerminatedPods",
	L("failed", STRING, SET), L("succeeded", STRING, SET))
