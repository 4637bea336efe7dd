// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Group autoscaling, both versions.
#include "schema_macros.h"

SCHEMA_ATOMIC(autoscaling1_CrossVersionObjectReference, "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
	S("apiVersion"), S("kind", REQUIRED), S("name", REQUIRED))

SCHEMA(autoscaling1_HorizontalPodAutoscaler, "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", autoscaling1_HorizontalPodAutoscalerSpec, REQUIRED),
	O("status", autoscaling1_HorizontalPodAutoscalerStatus))

SCHEMA(autoscaling1_HorizontalPodAutoscalerSpec, "io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerSpec",
	I32("maxReplicas", REQUIRED), I32P("minReplicas"),
	O("scaleTargetRef", autoscaling1_CrossVersionObjectReference, REQUIRED),
	I32P("targetCPUUtilizationPercentage"))

SCHEMA(autoscaling1_HorizontalPodAutoscalerStatus, "io.k8s.api.autoscaling.v1.HorizontalPodAutoscalerStatus",
	I32P("currentCPUUtilizationPercentage"), I32("currentReplicas", REQUIRED), I32("desiredReplicas", REQUIRED),
	TIME("lastScaleTime"), I64P("observedGeneration"))

SCHEMA(autoscaling1_Scale, "io.k8s.api.autoscaling.v1.Scale",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", autoscaling1_ScaleSpec),
	O("status", autoscaling1_ScaleStatus))

SCHEMA(autoscaling1_ScaleSpec, "io.k8s.api.autoscaling.v1.ScaleSpec",
	I32("replicas"))

SCHEMA(autoscaling1_ScaleStatus, "io.k8s.api.autoscaling.v1.ScaleStatus",
	I32("replicas", REQUIRED), S("selector"))

SCHEMA(autoscaling2_ContainerResourceMetricSource, "io.k8s.api.autoscaling.v2.ContainerResourceMetricSource",
	S("container", REQUIRED), S("name", REQUIRED), O("target", autoscaling2_MetricTarget, REQUIRED))

SCHEMA(autoscaling2_ContainerResourceMetricStatus, "io.k8s.api.autoscaling.v2.ContainerResourceMetricStatus",
	S("container", REQUIRED), O("current", autoscaling2_MetricValueStatus, REQUIRED), S("name", REQUIRED))

SCHEMA(autoscaling2_CrossVersionObjectReference, "io.k8s.api.autoscaling.v2.CrossVersionObjectReference",
	S("apiVersion"), S("kind", REQUIRED), S("name", REQUIRED))

SCHEMA(autoscaling2_ExternalMetricSource, "io.k8s.api.autoscaling.v2.ExternalMetricSource",
	O("metric", autoscaling2_MetricIdentifier, REQUIRED), O("target", autoscaling2_MetricTarget, REQUIRED))

SCHEMA(autoscaling2_ExternalMetricStatus, "io.k8s.api.autoscaling.v2.ExternalMetricStatus",
	O("current", autoscaling2_MetricValueStatus, REQUIRED), O("metric", autoscaling2_MetricIdentifier, REQUIRED))

SCHEMA(autoscaling2_HPAScalingPolicy, "io.k8s.api.autoscaling.v2.HPAScalingPolicy",
	I32("periodSeconds", REQUIRED), S("type", REQUIRED), I32("value", REQUIRED))

SCHEMA(autoscaling2_HPAScalingRules, "io.k8s.api.autoscaling.v2.HPAScalingRules",
	LO("policies", autoscaling2_HPAScalingPolicy, ATOMIC), SP("selectPolicy"),
	I32P("stabilizationWindowSeconds"), Q("tolerance"))

SCHEMA(autoscaling2_HorizontalPodAutoscaler, "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", autoscaling2_HorizontalPodAutoscalerSpec, REQUIRED),
	O("status", autoscaling2_HorizontalPodAutoscalerStatus))

SCHEMA(autoscaling2_HorizontalPodAutoscalerBehavior, "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior",
	O("scaleDown", autoscaling2_HPAScalingRules), O("scaleUp", autoscaling2_HPAScalingRules))

SCHEMA(autoscaling2_HorizontalPodAutoscalerCondition, "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition",
	TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(autoscaling2_HorizontalPodAutoscalerSpec, "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerSpec",
	O("behavior", autoscaling2_HorizontalPodAutoscalerBehavior), I32("maxReplicas", REQUIRED),
	LO("metrics", autoscaling2_MetricSpec, ATOMIC), I32P("minReplicas"),
	O("scaleTargetRef", autoscaling2_CrossVersionObjectReference, REQUIRED))

SCHEMA(autoscaling2_HorizontalPodAutoscalerStatus, "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus",
	LO("conditions", autoscaling2_HorizontalPodAutoscalerCondition, KEYS("type"), MERGE_BY("type")),
	LO("currentMetrics", autoscaling2_MetricStatus, ATOMIC), I32("currentReplicas"),
	I32("desiredReplicas", REQUIRED), TIME("lastScaleTime"), I64P("observedGeneration"))

SCHEMA(autoscaling2_MetricIdentifier, "io.k8s.api.autoscaling.v2.MetricIdentifier",
	S("name", REQUIRED), O("selector", meta_LabelSelector))

SCHEMA(autoscaling2_MetricSpec, "io.k8s.api.autoscaling.v2.MetricSpec",
	O("containerResource", autoscaling2_ContainerResourceMetricSource),
	O("external", autoscaling2_ExternalMetricSource), O("object", autoscaling2_ObjectMetricSource),
	O("pods", autoscaling2_PodsMetricSource), O("resource", autoscaling2_ResourceMetricSource),
	S("type", REQUIRED))

SCHEMA(autoscaling2_MetricStatus, "io.k8s.api.autoscaling.v2.MetricStatus",
	O("containerResource", autoscaling2_ContainerResourceMetricStatus),
	O("external", autoscaling2_ExternalMetricStatus), O("object", autoscaling2_ObjectMetricStatus),
	O("pods", autoscaling2_PodsMetricStatus), O("resource", autoscaling2_ResourceMetricStatus),
	S("type", REQUIRED))

SCHEMA(autoscaling2_MetricTarget, "io.k8s.api.autoscaling.v2.MetricTarget",
	I32P("averageUtilization"), Q("averageValue"), S("type", REQUIRED), Q("value"))

SCHEMA(autoscaling2_MetricValueStatus, "io.k8s.api.autoscaling.v2.MetricValueStatus",
	I32P("averageUtilization"), Q("averageValue"), Q("value"))

SCHEMA(autoscaling2_ObjectMetricSource, "io.k8s.api.autoscaling.v2.ObjectMetricSource",
	O("describedObject", autoscaling2_CrossVersionObjectReference, REQUIRED),
	O("metric", autoscaling2_MetricIdentifier, REQUIRED), O("target", autoscaling2_MetricTarget, REQUIRED))

SCHEMA(autoscaling2_ObjectMetricStatus, "io.k8s.api.autoscaling.v2.ObjectMetricStatus",
	O("current", autoscaling2_MetricValueStatus, REQUIRED),
	O("describedObject", autoscaling2_CrossVersionObjectReference, REQUIRED),
	O("metric", autoscaling2_MetricIdentifier, REQUIRED))

SCHEMA(autoscaling2_PodsMetricSource, "io.k8s.api.autoscaling.v2.PodsMetricSource",
	O("metric", autoscaling2_MetricIdentifier, REQUIRED), O("target", autoscaling2_MetricTarget, REQUIRED))

SCHEMA(autoscaling2_PodsMetricStatus, "io.k8s.api.autoscaling.v2.PodsMetricStatus",
	O("current", autoscaling2_MetricValueStatus, REQUIRED), O("metric", autoscaling2_MetricIdentifier, REQUIRED))

SCHEMA(autoscaling2_ResourceMetricSource, "io.k8s.api.autoscaling.v2.ResourceMetricSource",
	S("name", REQUIRED), O("target", autoscaling2_MetricTarget, REQUIRED))

SCHEMA(autoscaling2_ResourceMetricStatus, "io.k8s.api.autoscaling.v2.ResourceMetricStatus",
	O("current", autoscaling2_MetricValueStatus, REQUIRED), S("name", REQUIRED))
