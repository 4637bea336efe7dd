// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. The core group besides pods and volumes; Events of both groups.
#include "schema_macros.h"

SCHEMA(core_AttachedVolume, "io.k8s.api.core.v1.AttachedVolume",
	S("devicePath", REQUIRED), S("name", REQUIRED))

SCHEMA(core_Binding, "io.k8s.api.core.v1.Binding",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("target", core_ObjectReference, REQUIRED))

SCHEMA(core_ClientIPConfig, "io.k8s.api.core.v1.ClientIPConfig",
	I32P("timeoutSeconds"))

SCHEMA(core_ConfigMap, "io.k8s.api.core.v1.ConfigMap",
	S("apiVersion"), M("binaryData", BYTES), M("data", STRING), BP("immutable"), S("kind"),
	O("metadata", meta_ObjectMeta))

SCHEMA(core_ConfigMapNodeConfigSource, "io.k8s.api.core.v1.ConfigMapNodeConfigSource",
	S("kubeletConfigKey", REQUIRED), S("name", REQUIRED), S("namespace", REQUIRED), S("resourceVersion"),
	S("uid"))

SCHEMA(core_DaemonEndpoint, "io.k8s.api.core.v1.DaemonEndpoint",
	I32("Port", REQUIRED))

SCHEMA(core_DownwardAPIVolumeFile, "io.k8s.api.core.v1.DownwardAPIVolumeFile",
	O("fieldRef", core_ObjectFieldSelector), I32P("mode"), S("path", REQUIRED),
	O("resourceFieldRef", core_ResourceFieldSelector))

SCHEMA_ATOMIC(core_EndpointAddress, "io.k8s.api.core.v1.EndpointAddress",
	S("hostname"), S("ip", REQUIRED), SP("nodeName"), O("targetRef", core_ObjectReference))

SCHEMA_ATOMIC(core_EndpointPort, "io.k8s.api.core.v1.EndpointPort",
	SP("appProtocol"), S("name"), I32("port", REQUIRED), S("protocol"))

SCHEMA(core_EndpointSubset, "io.k8s.api.core.v1.EndpointSubset",
	LO("addresses", core_EndpointAddress, ATOMIC), LO("notReadyAddresses", core_EndpointAddress, ATOMIC),
	LO("ports", core_EndpointPort, ATOMIC))

SCHEMA(core_Endpoints, "io.k8s.api.core.v1.Endpoints",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), LO("subsets", core_EndpointSubset, ATOMIC))

SCHEMA(core_Event, "io.k8s.api.core.v1.Event",
	S("action"), S("apiVersion"), I32("count"), MICROTIME("eventTime"), TIME("firstTimestamp"),
	O("involvedObject", core_ObjectReference, REQUIRED), S("kind"), TIME("lastTimestamp"), S("message"),
	O("metadata", meta_ObjectMeta, REQUIRED), S("reason"), O("related", core_ObjectReference),
	S("reportingComponent"), S("reportingInstance"), O("series", core_EventSeries),
	O("source", core_EventSource), S("type"))

SCHEMA(core_EventSeries, "io.k8s.api.core.v1.EventSeries",
	I32("count"), MICROTIME("lastObservedTime"))

SCHEMA(core_EventSource, "io.k8s.api.core.v1.EventSource",
	S("component"), S("host"))

SCHEMA(core_LimitRange, "io.k8s.api.core.v1.LimitRange",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_LimitRangeSpec))

SCHEMA(core_LimitRangeItem, "io.k8s.api.core.v1.LimitRangeItem",
	M("default", QUANTITY), M("defaultRequest", QUANTITY), M("max", QUANTITY),
	M("maxLimitRequestRatio", QUANTITY), M("min", QUANTITY), S("type", REQUIRED))

SCHEMA(core_LimitRangeSpec, "io.k8s.api.core.v1.LimitRangeSpec",
	LO("limits", core_LimitRangeItem, REQUIRED, ATOMIC))

SCHEMA(core_LoadBalancerIngress, "io.k8s.api.core.v1.LoadBalancerIngress",
	S("hostname"), S("ip"), SP("ipMode"), LO("ports", core_PortStatus, ATOMIC))

SCHEMA(core_LoadBalancerStatus, "io.k8s.api.core.v1.LoadBalancerStatus",
	LO("ingress", core_LoadBalancerIngress, ATOMIC))

SCHEMA_ATOMIC(core_LocalObjectReference, "io.k8s.api.core.v1.LocalObjectReference",
	S("name"))

SCHEMA(core_Namespace, "io.k8s.api.core.v1.Namespace",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_NamespaceSpec),
	O("status", core_NamespaceStatus))

SCHEMA(core_NamespaceCondition, "io.k8s.api.core.v1.NamespaceCondition",
	TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(core_NamespaceSpec, "io.k8s.api.core.v1.NamespaceSpec",
	L("finalizers", STRING, ATOMIC))

SCHEMA(core_NamespaceStatus, "io.k8s.api.core.v1.NamespaceStatus",
	LO("conditions", core_NamespaceCondition, KEYS("type"), MERGE_BY("type")), S("phase"))

SCHEMA(core_Node, "io.k8s.api.core.v1.Node",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_NodeSpec),
	O("status", core_NodeStatus))

SCHEMA(core_NodeAddress, "io.k8s.api.core.v1.NodeAddress",
	S("address", REQUIRED), S("type", REQUIRED))

SCHEMA(core_NodeCondition, "io.k8s.api.core.v1.NodeCondition",
	TIME("lastHeartbeatTime"), TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED),
	S("type", REQUIRED))

SCHEMA(core_NodeConfigSource, "io.k8s.api.core.v1.NodeConfigSource",
	O("configMap", core_ConfigMapNodeConfigSource))

SCHEMA(core_NodeConfigStatus, "io.k8s.api.core.v1.NodeConfigStatus",
	O("active", core_NodeConfigSource), O("assigned", core_NodeConfigSource), S("error"),
	O("lastKnownGood", core_NodeConfigSource))

SCHEMA(core_NodeDaemonEndpoints, "io.k8s.api.core.v1.NodeDaemonEndpoints",
	O("kubeletEndpoint", core_DaemonEndpoint))

SCHEMA(core_NodeFeatures, "io.k8s.api.core.v1.NodeFeatures",
	BP("supplementalGroupsPolicy"))

SCHEMA(core_NodeRuntimeHandler, "io.k8s.api.core.v1.NodeRuntimeHandler",
	O("features", core_NodeRuntimeHandlerFeatures), S("name"))

SCHEMA(core_NodeRuntimeHandlerFeatures, "io.k8s.api.core.v1.NodeRuntimeHandlerFeatures",
	BP("recursiveReadOnlyMounts"), BP("userNamespaces"))

SCHEMA(core_NodeSpec, "io.k8s.api.core.v1.NodeSpec",
	O("configSource", core_NodeConfigSource), S("externalID"), S("podCIDR"),
	L("podCIDRs", STRING, SET, MERGE_LIST), S("providerID"), LO("taints", core_Taint, ATOMIC),
	B("unschedulable"))

SCHEMA(core_NodeStatus, "io.k8s.api.core.v1.NodeStatus",
	LO("addresses", core_NodeAddress, KEYS("type"), MERGE_BY("type")), M("allocatable", QUANTITY),
	M("capacity", QUANTITY), LO("conditions", core_NodeCondition, KEYS("type"), MERGE_BY("type")),
	O("config", core_NodeConfigStatus), O("daemonEndpoints", core_NodeDaemonEndpoints),
	L("declaredFeatures", STRING, ATOMIC), O("features", core_NodeFeatures),
	LO("images", core_ContainerImage, ATOMIC), O("nodeInfo", core_NodeSystemInfo), S("phase"),
	LO("runtimeHandlers", core_NodeRuntimeHandler, ATOMIC), LO("volumesAttached", core_AttachedVolume, ATOMIC),
	L("volumesInUse", STRING, ATOMIC))

SCHEMA(core_NodeSwapStatus, "io.k8s.api.core.v1.NodeSwapStatus",
	I64P("capacity"))

SCHEMA(core_NodeSystemInfo, "io.k8s.api.core.v1.NodeSystemInfo",
	S("architecture", REQUIRED), S("bootID", REQUIRED), S("containerRuntimeVersion", REQUIRED),
	S("kernelVersion", REQUIRED), S("kubeProxyVersion", REQUIRED), S("kubeletVersion", REQUIRED),
	S("machineID", REQUIRED), S("operatingSystem", REQUIRED), S("osImage", REQUIRED),
	O("swap", core_NodeSwapStatus), S("systemUUID", REQUIRED))

SCHEMA_ATOMIC(core_ObjectReference, "io.k8s.api.core.v1.ObjectReference",
	S("apiVersion"), S("fieldPath"), S("kind"), S("name"), S("namespace"), S("resourceVersion"), S("uid"))

SCHEMA(core_PortStatus, "io.k8s.api.core.v1.PortStatus",
	SP("error"), I32("port", REQUIRED), S("protocol", REQUIRED))

SCHEMA(core_ReplicationController, "io.k8s.api.core.v1.ReplicationController",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_ReplicationControllerSpec),
	O("status", core_ReplicationControllerStatus))

SCHEMA(core_ReplicationControllerCondition, "io.k8s.api.core.v1.ReplicationControllerCondition",
	TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(core_ReplicationControllerSpec, "io.k8s.api.core.v1.ReplicationControllerSpec",
	I32("minReadySeconds"), I32P("replicas"), M("selector", STRING, ATOMIC), O("template", core_PodTemplateSpec))

SCHEMA(core_ReplicationControllerStatus, "io.k8s.api.core.v1.ReplicationControllerStatus",
	I32("availableReplicas"),
	LO("conditions", core_ReplicationControllerCondition, KEYS("type"), MERGE_BY("type")),
	I32("fullyLabeledReplicas"), I64("observedGeneration"), I32("readyReplicas"), I32("replicas", REQUIRED))

SCHEMA(core_ResourceQuota, "io.k8s.api.core.v1.ResourceQuota",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_ResourceQuotaSpec),
	O("status", core_ResourceQuotaStatus))

SCHEMA(core_ResourceQuotaSpec, "io.k8s.api.core.v1.ResourceQuotaSpec",
	M("hard", QUANTITY), O("scopeSelector", core_ScopeSelector), L("scopes", STRING, ATOMIC))

SCHEMA(core_ResourceQuotaStatus, "io.k8s.api.core.v1.ResourceQuotaStatus",
	M("hard", QUANTITY), M("used", QUANTITY))

SCHEMA_ATOMIC(core_ScopeSelector, "io.k8s.api.core.v1.ScopeSelector",
	LO("matchExpressions", core_ScopedResourceSelectorRequirement, ATOMIC))

SCHEMA(core_ScopedResourceSelectorRequirement, "io.k8s.api.core.v1.ScopedResourceSelectorRequirement",
	S("operator", REQUIRED), S("scopeName", REQUIRED), L("values", STRING, ATOMIC))

SCHEMA(core_Secret, "io.k8s.api.core.v1.Secret",
	S("apiVersion"), M("data", BYTES), BP("immutable"), S("kind"), O("metadata", meta_ObjectMeta),
	M("stringData", STRING), S("type"))

SCHEMA_ATOMIC(core_SecretReference, "io.k8s.api.core.v1.SecretReference",
	S("name"), S("namespace"))

SCHEMA(core_Service, "io.k8s.api.core.v1.Service",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_ServiceSpec),
	O("status", core_ServiceStatus))

SCHEMA(core_ServiceAccount, "io.k8s.api.core.v1.ServiceAccount",
	S("apiVersion"), BP("automountServiceAccountToken"),
	LO("imagePullSecrets", core_LocalObjectReference, ATOMIC), S("kind"), O("metadata", meta_ObjectMeta),
	LO("secrets", core_ObjectReference, KEYS("name"), MERGE_BY("name")))

SCHEMA(core_ServicePort, "io.k8s.api.core.v1.ServicePort",
	SP("appProtocol"), S("name"), I32("nodePort"), I32("port", REQUIRED), S("protocol"), IOS("targetPort"))

SCHEMA(core_ServiceSpec, "io.k8s.api.core.v1.ServiceSpec",
	BP("allocateLoadBalancerNodePorts"), S("clusterIP"), L("clusterIPs", STRING, ATOMIC),
	L("externalIPs", STRING, ATOMIC), S("externalName"), S("externalTrafficPolicy"), I32("healthCheckNodePort"),
	SP("internalTrafficPolicy"), L("ipFamilies", STRING, ATOMIC), SP("ipFamilyPolicy"), SP("loadBalancerClass"),
	S("loadBalancerIP"), L("loadBalancerSourceRanges", STRING, ATOMIC),
	LO("ports", core_ServicePort, KEYS("port,protocol"), MERGE_BY("port")), B("publishNotReadyAddresses"),
	M("selector", STRING, ATOMIC), S("sessionAffinity"), O("sessionAffinityConfig", core_SessionAffinityConfig),
	SP("trafficDistribution"), S("type"))

SCHEMA(core_ServiceStatus, "io.k8s.api.core.v1.ServiceStatus",
	LO("conditions", meta_Condition, KEYS("type"), MERGE_BY("type")), O("loadBalancer", core_LoadBalancerStatus))

SCHEMA(core_Taint, "io.k8s.api.core.v1.Taint",
	S("effect", REQUIRED), S("key", REQUIRED), TIME("timeAdded"), S("value"))

SCHEMA(events_Event, "io.k8s.api.events.v1.Event",
	S("action"), S("apiVersion"), I32("deprecatedCount"), TIME("deprecatedFirstTimestamp"),
	TIME("deprecatedLastTimestamp"), O("deprecatedSource", core_EventSource), MICROTIME("eventTime", REQUIRED),
	S("kind"), O("metadata", meta_ObjectMeta), S("note"), S("reason"), O("regarding", core_ObjectReference),
	O("related", core_ObjectReference), S("reportingController"), S("reportingInstance"),
	O("series", events_EventSeries), S("type"))

SCHEMA(events_EventSeries, "io.k8s.api.events.v1.EventSeries",
	I32("count", REQUIRED), MICROTIME("lastObservedTime", REQUIRED))
