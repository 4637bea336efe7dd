// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Pods: PodSpec, containers, probes, affinity, status.
#include "schema_macros.h"

SCHEMA(core_Affinity, "io.k8s.api.core.v1.Affinity",
	O("nodeAffinity", core_NodeAffinity), O("podAffinity", core_PodAffinity),
	O("podAntiAffinity", core_PodAntiAffinity))

SCHEMA(core_AppArmorProfile, "io.k8s.api.core.v1.AppArmorProfile",
	SP("localhostProfile"), S("type", REQUIRED))

SCHEMA(core_Capabilities, "io.k8s.api.core.v1.Capabilities",
	L("add", STRING, ATOMIC), L("drop", STRING, ATOMIC))

SCHEMA(core_ConfigMapEnvSource, "io.k8s.api.core.v1.ConfigMapEnvSource",
	S("name"), BP("optional"))

SCHEMA_ATOMIC(core_ConfigMapKeySelector, "io.k8s.api.core.v1.ConfigMapKeySelector",
	S("key", REQUIRED), S("name"), BP("optional"))

SCHEMA(core_Container, "io.k8s.api.core.v1.Container",
	L("args", STRING, ATOMIC), L("command", STRING, ATOMIC),
	LO("env", core_EnvVar, KEYS("name"), MERGE_BY("name")), LO("envFrom", core_EnvFromSource, ATOMIC),
	S("image"), S("imagePullPolicy"), O("lifecycle", core_Lifecycle), O("livenessProbe", core_Probe),
	S("name", REQUIRED),
	LO("ports", core_ContainerPort, KEYS("containerPort,protocol"), MERGE_BY("containerPort")),
	O("readinessProbe", core_Probe), LO("resizePolicy", core_ContainerResizePolicy, ATOMIC),
	O("resources", core_ResourceRequirements), SP("restartPolicy"),
	LO("restartPolicyRules", core_ContainerRestartRule, ATOMIC), O("securityContext", core_SecurityContext),
	O("startupProbe", core_Probe), B("stdin"), B("stdinOnce"), S("terminationMessagePath"),
	S("terminationMessagePolicy"), B("tty"),
	LO("volumeDevices", core_VolumeDevice, KEYS("devicePath"), MERGE_BY("devicePath")),
	LO("volumeMounts", core_VolumeMount, KEYS("mountPath"), MERGE_BY("mountPath")), S("workingDir"))

SCHEMA(core_ContainerExtendedResourceRequest, "io.k8s.api.core.v1.ContainerExtendedResourceRequest",
	S("containerName", REQUIRED), S("requestName", REQUIRED), S("resourceName", REQUIRED))

SCHEMA(core_ContainerImage, "io.k8s.api.core.v1.ContainerImage",
	L("names", STRING, ATOMIC), I64("sizeBytes"))

SCHEMA(core_ContainerPort, "io.k8s.api.core.v1.ContainerPort",
	I32("containerPort", REQUIRED), S("hostIP"), I32("hostPort"), S("name"), S("protocol"))

SCHEMA(core_ContainerResizePolicy, "io.k8s.api.core.v1.ContainerResizePolicy",
	S("resourceName", REQUIRED), S("restartPolicy", REQUIRED))

SCHEMA(core_ContainerRestartRule, "io.k8s.api.core.v1.ContainerRestartRule",
	S("action", REQUIRED), O("exitCodes", core_ContainerRestartRuleOnExitCodes))

SCHEMA(core_ContainerRestartRuleOnExitCodes, "io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes",
	S("operator", REQUIRED), L("values", INT32, SET))

SCHEMA(core_ContainerState, "io.k8s.api.core.v1.ContainerState",
	O("running", core_ContainerStateRunning), O("terminated", core_ContainerStateTerminated),
	O("waiting", core_ContainerStateWaiting))

SCHEMA(core_ContainerStateRunning, "io.k8s.api.core.v1.ContainerStateRunning",
	TIME("startedAt"))

SCHEMA(core_ContainerStateTerminated, "io.k8s.api.core.v1.ContainerStateTerminated",
	S("containerID"), I32("exitCode", REQUIRED), TIME("finishedAt"), S("message"), S("reason"), I32("signal"),
	TIME("startedAt"))

SCHEMA(core_ContainerStateWaiting, "io.k8s.api.core.v1.ContainerStateWaiting",
	S("message"), S("reason"))

SCHEMA(core_ContainerStatus, "io.k8s.api.core.v1.ContainerStatus",
	M("allocatedResources", QUANTITY),
	LO("allocatedResourcesStatus", core_ResourceStatus, KEYS("name"), MERGE_BY("name")), S("containerID"),
	S("image", REQUIRED), S("imageID", REQUIRED), O("lastState", core_ContainerState), S("name", REQUIRED),
	B("ready", REQUIRED), O("resources", core_ResourceRequirements), I32("restartCount", REQUIRED),
	BP("started"), O("state", core_ContainerState), SP("stopSignal"), O("user", core_ContainerUser),
	LO("volumeMounts", core_VolumeMountStatus, KEYS("mountPath"), MERGE_BY("mountPath")))

SCHEMA(core_ContainerUser, "io.k8s.api.core.v1.ContainerUser",
	O("linux", core_LinuxContainerUser))

SCHEMA(core_EnvFromSource, "io.k8s.api.core.v1.EnvFromSource",
	O("configMapRef", core_ConfigMapEnvSource), S("prefix"), O("secretRef", core_SecretEnvSource))

SCHEMA(core_EnvVar, "io.k8s.api.core.v1.EnvVar",
	S("name", REQUIRED), S("value"), O("valueFrom", core_EnvVarSource))

SCHEMA(core_EnvVarSource, "io.k8s.api.core.v1.EnvVarSource",
	O("configMapKeyRef", core_ConfigMapKeySelector), O("fieldRef", core_ObjectFieldSelector),
	O("fileKeyRef", core_FileKeySelector), O("resourceFieldRef", core_ResourceFieldSelector),
	O("secretKeyRef", core_SecretKeySelector))

SCHEMA(core_EphemeralContainer, "io.k8s.api.core.v1.EphemeralContainer",
	L("args", STRING, ATOMIC), L("command", STRING, ATOMIC),
	LO("env", core_EnvVar, KEYS("name"), MERGE_BY("name")), LO("envFrom", core_EnvFromSource, ATOMIC),
	S("image"), S("imagePullPolicy"), O("lifecycle", core_Lifecycle), O("livenessProbe", core_Probe),
	S("name", REQUIRED),
	LO("ports", core_ContainerPort, KEYS("containerPort,protocol"), MERGE_BY("containerPort")),
	O("readinessProbe", core_Probe), LO("resizePolicy", core_ContainerResizePolicy, ATOMIC),
	O("resources", core_ResourceRequirements), S("restartPolicy"),
	LO("restartPolicyRules", core_ContainerRestartRule, ATOMIC), O("securityContext", core_SecurityContext),
	O("startupProbe", core_Probe), B("stdin"), B("stdinOnce"), S("targetContainerName"),
	S("terminationMessagePath"), S("terminationMessagePolicy"), B("tty"),
	LO("volumeDevices", core_VolumeDevice, KEYS("devicePath"), MERGE_BY("devicePath")),
	LO("volumeMounts", core_VolumeMount, KEYS("mountPath"), MERGE_BY("mountPath")), S("workingDir"))

SCHEMA(core_ExecAction, "io.k8s.api.core.v1.ExecAction",
	L("command", STRING, ATOMIC))

SCHEMA_ATOMIC(core_FileKeySelector, "io.k8s.api.core.v1.FileKeySelector",
	S("key", REQUIRED), BP("optional"), S("path", REQUIRED), S("volumeName", REQUIRED))

SCHEMA(core_GRPCAction, "io.k8s.api.core.v1.GRPCAction",
	I32("port", REQUIRED), SP("service"))

SCHEMA(core_HTTPGetAction, "io.k8s.api.core.v1.HTTPGetAction",
	S("host"), LO("httpHeaders", core_HTTPHeader, ATOMIC), S("path"), IOS("port", REQUIRED), S("scheme"))

SCHEMA(core_HTTPHeader, "io.k8s.api.core.v1.HTTPHeader",
	S("name", REQUIRED), S("value", REQUIRED))

SCHEMA(core_HostAlias, "io.k8s.api.core.v1.HostAlias",
	L("hostnames", STRING, ATOMIC), S("ip", REQUIRED))

SCHEMA(core_HostIP, "io.k8s.api.core.v1.HostIP",
	S("ip", REQUIRED))

SCHEMA(core_ImageVolumeStatus, "io.k8s.api.core.v1.ImageVolumeStatus",
	S("imageRef", REQUIRED))

SCHEMA(core_Lifecycle, "io.k8s.api.core.v1.Lifecycle",
	O("postStart", core_LifecycleHandler), O("preStop", core_LifecycleHandler), SP("stopSignal"))

SCHEMA(core_LifecycleHandler, "io.k8s.api.core.v1.LifecycleHandler",
	O("exec", core_ExecAction), O("httpGet", core_HTTPGetAction), O("sleep", core_SleepAction),
	O("tcpSocket", core_TCPSocketAction))

SCHEMA(core_LinuxContainerUser, "io.k8s.api.core.v1.LinuxContainerUser",
	I64("gid", REQUIRED), L("supplementalGroups", INT64, ATOMIC), I64("uid", REQUIRED))

SCHEMA(core_ModifyVolumeStatus, "io.k8s.api.core.v1.ModifyVolumeStatus",
	S("status", REQUIRED), S("targetVolumeAttributesClassName"))

SCHEMA(core_NodeAffinity, "io.k8s.api.core.v1.NodeAffinity",
	LO("preferredDuringSchedulingIgnoredDuringExecution", core_PreferredSchedulingTerm, ATOMIC),
	O("requiredDuringSchedulingIgnoredDuringExecution", core_NodeSelector))

SCHEMA(core_NodeAllocatableResourceClaimStatus, "io.k8s.api.core.v1.NodeAllocatableResourceClaimStatus",
	L("containers", STRING, SET), S("resourceClaimName", REQUIRED), M("resources", QUANTITY, REQUIRED))

SCHEMA_ATOMIC(core_NodeSelector, "io.k8s.api.core.v1.NodeSelector",
	LO("nodeSelectorTerms", core_NodeSelectorTerm, REQUIRED, ATOMIC))

SCHEMA(core_NodeSelectorRequirement, "io.k8s.api.core.v1.NodeSelectorRequirement",
	S("key", REQUIRED), S("operator", REQUIRED), L("values", STRING, ATOMIC))

SCHEMA_ATOMIC(core_NodeSelectorTerm, "io.k8s.api.core.v1.NodeSelectorTerm",
	LO("matchExpressions", core_NodeSelectorRequirement, ATOMIC),
	LO("matchFields", core_NodeSelectorRequirement, ATOMIC))

SCHEMA_ATOMIC(core_ObjectFieldSelector, "io.k8s.api.core.v1.ObjectFieldSelector",
	S("apiVersion"), S("fieldPath", REQUIRED))

SCHEMA(core_PersistentVolumeStatus, "io.k8s.api.core.v1.PersistentVolumeStatus",
	TIME("lastPhaseTransitionTime"), S("message"), S("phase"), S("reason"))

SCHEMA(core_Pod, "io.k8s.api.core.v1.Pod",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_PodSpec),
	O("status", core_PodStatus))

SCHEMA(core_PodAffinity, "io.k8s.api.core.v1.PodAffinity",
	LO("preferredDuringSchedulingIgnoredDuringExecution", core_WeightedPodAffinityTerm, ATOMIC),
	LO("requiredDuringSchedulingIgnoredDuringExecution", core_PodAffinityTerm, ATOMIC))

SCHEMA(core_PodAffinityTerm, "io.k8s.api.core.v1.PodAffinityTerm",
	O("labelSelector", meta_LabelSelector), L("matchLabelKeys", STRING, ATOMIC),
	L("mismatchLabelKeys", STRING, ATOMIC), O("namespaceSelector", meta_LabelSelector),
	L("namespaces", STRING, ATOMIC), S("topologyKey", REQUIRED))

SCHEMA(core_PodAntiAffinity, "io.k8s.api.core.v1.PodAntiAffinity",
	LO("preferredDuringSchedulingIgnoredDuringExecution", core_WeightedPodAffinityTerm, ATOMIC),
	LO("requiredDuringSchedulingIgnoredDuringExecution", core_PodAffinityTerm, ATOMIC))

SCHEMA(core_PodCondition, "io.k8s.api.core.v1.PodCondition",
	TIME("lastProbeTime"), TIME("lastTransitionTime"), S("message"), I64("observedGeneration"), S("reason"),
	S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(core_PodDNSConfig, "io.k8s.api.core.v1.PodDNSConfig",
	L("nameservers", STRING, ATOMIC), LO("options", core_PodDNSConfigOption, ATOMIC),
	L("searches", STRING, ATOMIC))

SCHEMA(core_PodDNSConfigOption, "io.k8s.api.core.v1.PodDNSConfigOption",
	S("name"), SP("value"))

SCHEMA(core_PodExtendedResourceClaimStatus, "io.k8s.api.core.v1.PodExtendedResourceClaimStatus",
	LO("requestMappings", core_ContainerExtendedResourceRequest, REQUIRED, ATOMIC),
	S("resourceClaimName", REQUIRED))

SCHEMA(core_PodIP, "io.k8s.api.core.v1.PodIP",
	S("ip", REQUIRED))

SCHEMA(core_PodOS, "io.k8s.api.core.v1.PodOS",
	S("name", REQUIRED))

SCHEMA(core_PodReadinessGate, "io.k8s.api.core.v1.PodReadinessGate",
	S("conditionType", REQUIRED))

SCHEMA(core_PodResourceClaim, "io.k8s.api.core.v1.PodResourceClaim",
	S("name", REQUIRED), SP("resourceClaimName"), SP("resourceClaimTemplateName"))

SCHEMA(core_PodResourceClaimStatus, "io.k8s.api.core.v1.PodResourceClaimStatus",
	S("name", REQUIRED), SP("resourceClaimName"))

SCHEMA(core_PodSchedulingGate, "io.k8s.api.core.v1.PodSchedulingGate",
	S("name", REQUIRED))

SCHEMA(core_PodSchedulingGroup, "io.k8s.api.core.v1.PodSchedulingGroup",
	SP("podGroupName"))

SCHEMA(core_PodSecurityContext, "io.k8s.api.core.v1.PodSecurityContext",
	O("appArmorProfile", core_AppArmorProfile), I64P("fsGroup"), SP("fsGroupChangePolicy"), I64P("runAsGroup"),
	BP("runAsNonRoot"), I64P("runAsUser"), SP("seLinuxChangePolicy"), O("seLinuxOptions", core_SELinuxOptions),
	O("seccompProfile", core_SeccompProfile), L("supplementalGroups", INT64, ATOMIC),
	SP("supplementalGroupsPolicy"), LO("sysctls", core_Sysctl, ATOMIC),
	O("windowsOptions", core_WindowsSecurityContextOptions))

SCHEMA(core_PodSpec, "io.k8s.api.core.v1.PodSpec",
	I64P("activeDeadlineSeconds"), O("affinity", core_Affinity), BP("automountServiceAccountToken"),
	LO("containers", core_Container, REQUIRED, KEYS("name"), MERGE_BY("name")),
	O("dnsConfig", core_PodDNSConfig), S("dnsPolicy"), BP("enableServiceLinks"),
	LO("ephemeralContainers", core_EphemeralContainer, KEYS("name"), MERGE_BY("name")),
	LO("hostAliases", core_HostAlias, KEYS("ip"), MERGE_BY("ip")), B("hostIPC"), B("hostNetwork"), B("hostPID"),
	BP("hostUsers"), S("hostname"), SP("hostnameOverride"),
	LO("imagePullSecrets", core_LocalObjectReference, KEYS("name"), MERGE_BY("name")),
	LO("initContainers", core_Container, KEYS("name"), MERGE_BY("name")), S("nodeName"),
	M("nodeSelector", STRING, ATOMIC), O("os", core_PodOS), M("overhead", QUANTITY), SP("preemptionPolicy"),
	I32P("priority"), S("priorityClassName"), LO("readinessGates", core_PodReadinessGate, ATOMIC),
	LO("resourceClaims", core_PodResourceClaim, KEYS("name"), MERGE_BY("name"), RETAIN_KEYS),
	O("resources", core_ResourceRequirements), S("restartPolicy"), SP("runtimeClassName"), S("schedulerName"),
	LO("schedulingGates", core_PodSchedulingGate, KEYS("name"), MERGE_BY("name")),
	O("schedulingGroup", core_PodSchedulingGroup), O("securityContext", core_PodSecurityContext),
	S("serviceAccount"), S("serviceAccountName"), BP("setHostnameAsFQDN"), BP("shareProcessNamespace"),
	S("subdomain"), I64P("terminationGracePeriodSeconds"), LO("tolerations", core_Toleration, ATOMIC),
	LO("topologySpreadConstraints", core_TopologySpreadConstraint, KEYS("topologyKey,whenUnsatisfiable"), MERGE_BY("topologyKey")),
	LO("volumes", core_Volume, KEYS("name"), MERGE_BY("name"), RETAIN_KEYS))

SCHEMA(core_PodStatus, "io.k8s.api.core.v1.PodStatus",
	M("allocatedResources", QUANTITY), LO("conditions", core_PodCondition, KEYS("type"), MERGE_BY("type")),
	LO("containerStatuses", core_ContainerStatus, ATOMIC),
	LO("ephemeralContainerStatuses", core_ContainerStatus, ATOMIC),
	O("extendedResourceClaimStatus", core_PodExtendedResourceClaimStatus), S("hostIP"),
	LO("hostIPs", core_HostIP, ATOMIC, MERGE_BY("ip")),
	LO("initContainerStatuses", core_ContainerStatus, ATOMIC), S("message"),
	LO("nodeAllocatableResourceClaimStatuses", core_NodeAllocatableResourceClaimStatus, ATOMIC),
	S("nominatedNodeName"), I64("observedGeneration"), S("phase"), S("podIP"),
	LO("podIPs", core_PodIP, KEYS("ip"), MERGE_BY("ip")), S("qosClass"), S("reason"), S("resize"),
	LO("resourceClaimStatuses", core_PodResourceClaimStatus, KEYS("name"), MERGE_BY("name"), RETAIN_KEYS),
	O("resources", core_ResourceRequirements), TIME("startTime"))

SCHEMA(core_PodTemplate, "io.k8s.api.core.v1.PodTemplate",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("template", core_PodTemplateSpec))

SCHEMA(core_PodTemplateSpec, "io.k8s.api.core.v1.PodTemplateSpec",
	O("metadata", meta_ObjectMeta), O("spec", core_PodSpec))

SCHEMA(core_PreferredSchedulingTerm, "io.k8s.api.core.v1.PreferredSchedulingTerm",
	O("preference", core_NodeSelectorTerm, REQUIRED), I32("weight", REQUIRED))

SCHEMA(core_Probe, "io.k8s.api.core.v1.Probe",
	O("exec", core_ExecAction), I32("failureThreshold"), O("grpc", core_GRPCAction),
	O("httpGet", core_HTTPGetAction), I32("initialDelaySeconds"), I32("periodSeconds"), I32("successThreshold"),
	O("tcpSocket", core_TCPSocketAction), I64P("terminationGracePeriodSeconds"), I32("timeoutSeconds"))

SCHEMA(core_ResourceClaim, "io.k8s.api.core.v1.ResourceClaim",
	S("name", REQUIRED), S("request"))

SCHEMA_ATOMIC(core_ResourceFieldSelector, "io.k8s.api.core.v1.ResourceFieldSelector",
	S("containerName"), Q("divisor"), S("resource", REQUIRED))

SCHEMA(core_ResourceHealth, "io.k8s.api.core.v1.ResourceHealth",
	S("health"), SP("message"), S("resourceID", REQUIRED))

SCHEMA(core_ResourceRequirements, "io.k8s.api.core.v1.ResourceRequirements",
	LO("claims", core_ResourceClaim, KEYS("name")), M("limits", QUANTITY), M("requests", QUANTITY))

SCHEMA(core_ResourceStatus, "io.k8s.api.core.v1.ResourceStatus",
	S("name", REQUIRED), LO("resources", core_ResourceHealth, KEYS("resourceID")))

SCHEMA(core_SELinuxOptions, "io.k8s.api.core.v1.SELinuxOptions",
	S("level"), S("role"), S("type"), S("user"))

SCHEMA(core_SeccompProfile, "io.k8s.api.core.v1.SeccompProfile",
	SP("localhostProfile"), S("type", REQUIRED))

SCHEMA(core_SecretEnvSource, "io.k8s.api.core.v1.SecretEnvSource",
	S("name"), BP("optional"))

SCHEMA_ATOMIC(core_SecretKeySelector, "io.k8s.api.core.v1.SecretKeySelector",
	S("key", REQUIRED), S("name"), BP("optional"))

SCHEMA(core_SecurityContext, "io.k8s.api.core.v1.SecurityContext",
	BP("allowPrivilegeEscalation"), O("appArmorProfile", core_AppArmorProfile),
	O("capabilities", core_Capabilities), BP("privileged"), SP("procMount"), BP("readOnlyRootFilesystem"),
	I64P("runAsGroup"), BP("runAsNonRoot"), I64P("runAsUser"), O("seLinuxOptions", core_SELinuxOptions),
	O("seccompProfile", core_SeccompProfile), O("windowsOptions", core_WindowsSecurityContextOptions))

SCHEMA(core_SessionAffinityConfig, "io.k8s.api.core.v1.SessionAffinityConfig",
	O("clientIP", core_ClientIPConfig))

SCHEMA(core_SleepAction, "io.k8s.api.core.v1.SleepAction",
	I64("seconds", REQUIRED))

SCHEMA(core_Sysctl, "io.k8s.api.core.v1.Sysctl",
	S("name", REQUIRED), S("value", REQUIRED))

SCHEMA(core_TCPSocketAction, "io.k8s.api.core.v1.TCPSocketAction",
	S("host"), IOS("port", REQUIRED))

SCHEMA(core_Toleration, "io.k8s.api.core.v1.Toleration",
	S("effect"), S("key"), S("operator"), I64P("tolerationSeconds"), S("value"))

SCHEMA(core_TopologySelectorLabelRequirement, "io.k8s.api.core.v1.TopologySelectorLabelRequirement",
	S("key", REQUIRED), L("values", STRING, REQUIRED, ATOMIC))

SCHEMA_ATOMIC(core_TopologySelectorTerm, "io.k8s.api.core.v1.TopologySelectorTerm",
	LO("matchLabelExpressions", core_TopologySelectorLabelRequirement, ATOMIC))

SCHEMA(core_TopologySpreadConstraint, "io.k8s.api.core.v1.TopologySpreadConstraint",
	O("labelSelector", meta_LabelSelector), L("matchLabelKeys", STRING, ATOMIC), I32("maxSkew", REQUIRED),
	I32P("minDomains"), SP("nodeAffinityPolicy"), SP("nodeTaintsPolicy"), S("topologyKey", REQUIRED),
	S("whenUnsatisfiable", REQUIRED))

SCHEMA(core_VolumeDevice, "io.k8s.api.core.v1.VolumeDevice",
	S("devicePath", REQUIRED), S("name", REQUIRED))

SCHEMA(core_VolumeMount, "io.k8s.api.core.v1.VolumeMount",
	S("mountPath", REQUIRED), SP("mountPropagation"), S("name", REQUIRED), B("readOnly"),
	SP("recursiveReadOnly"), S("subPath"), S("subPathExpr"))

SCHEMA(core_VolumeMountStatus, "io.k8s.api.core.v1.VolumeMountStatus",
	S("mountPath", REQUIRED), S("name", REQUIRED), B("readOnly"), SP("recursiveReadOnly"),
	O("volumeStatus", core_VolumeStatus))

SCHEMA(core_VolumeStatus, "io.k8s.api.core.v1.VolumeStatus",
	O("image", core_ImageVolumeStatus))

SCHEMA(core_WeightedPodAffinityTerm, "io.k8s.api.core.v1.WeightedPodAffinityTerm",
	O("podAffinityTerm", core_PodAffinityTerm, REQUIRED), I32("weight", REQUIRED))

SCHEMA(core_WindowsSecurityContextOptions, "io.k8s.api.core.v1.WindowsSecurityContextOptions",
	SP("gmsaCredentialSpec"), SP("gmsaCredentialSpecName"), BP("hostProcess"), SP("runAsUserName"))
