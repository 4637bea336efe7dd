// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Groups storage.k8s.io, policy, scheduling.k8s.io, node.k8s.io, coordination.k8s.io.
#include "schema_macros.h"

SCHEMA(coordination_Lease, "io.k8s.api.coordination.v1.Lease",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", coordination_LeaseSpec))

SCHEMA(coordination_LeaseSpec, "io.k8s.api.coordination.v1.LeaseSpec",
	MICROTIME("acquireTime"), SP("holderIdentity"), I32P("leaseDurationSeconds"), I32P("leaseTransitions"),
	SP("preferredHolder"), MICROTIME("renewTime"), SP("strategy"))

SCHEMA(node_Overhead, "io.k8s.api.node.v1.Overhead",
	M("podFixed", QUANTITY))

SCHEMA(node_RuntimeClass, "io.k8s.api.node.v1.RuntimeClass",
	S("apiVersion"), S("handler", REQUIRED), S("kind"), O("metadata", meta_ObjectMeta),
	O("overhead", node_Overhead), O("scheduling", node_Scheduling))

SCHEMA(node_Scheduling, "io.k8s.api.node.v1.Scheduling",
	M("nodeSelector", STRING, ATOMIC), LO("tolerations", core_Toleration, ATOMIC))

SCHEMA(policy_Eviction, "io.k8s.api.policy.v1.Eviction",
	S("apiVersion"), O("deleteOptions", meta_DeleteOptions), S("kind"), O("metadata", meta_ObjectMeta))

SCHEMA(policy_PodDisruptionBudget, "io.k8s.api.policy.v1.PodDisruptionBudget",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", policy_PodDisruptionBudgetSpec),
	O("status", policy_PodDisruptionBudgetStatus))

SCHEMA(policy_PodDisruptionBudgetSpec, "io.k8s.api.policy.v1.PodDisruptionBudgetSpec",
	IOS("maxUnavailable"), IOS("minAvailable"), O("selector", meta_LabelSelector, REPLACE),
	SP("unhealthyPodEvictionPolicy"))

SCHEMA(policy_PodDisruptionBudgetStatus, "io.k8s.api.policy.v1.PodDisruptionBudgetStatus",
	LO("conditions", meta_Condition, KEYS("type"), MERGE_BY("type")), I32("currentHealthy", REQUIRED),
	I32("desiredHealthy", REQUIRED), M("disruptedPods", TIME), I32("disruptionsAllowed", REQUIRED), I32("expectedPods", REQUIRED),
	I64("observedGeneration"))

SCHEMA(scheduling_PriorityClass, "io.k8s.api.scheduling.v1.PriorityClass",
	S("apiVersion"), S("description"), B("globalDefault"), S("kind"), O("metadata", meta_ObjectMeta),
	SP("preemptionPolicy"), I32("value"))

SCHEMA(storage_CSIDriver, "io.k8s.api.storage.v1.CSIDriver",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", storage_CSIDriverSpec, REQUIRED))

SCHEMA(storage_CSIDriverSpec, "io.k8s.api.storage.v1.CSIDriverSpec",
	BP("attachRequired"), SP("fsGroupPolicy"), I64P("nodeAllocatableUpdatePeriodSeconds"), BP("podInfoOnMount"),
	BP("preventPodSchedulingIfMissing"), BP("requiresRepublish"), BP("seLinuxMount"),
	BP("serviceAccountTokenInSecrets"), BP("storageCapacity"), LO("tokenRequests", storage_TokenRequest, ATOMIC),
	L("volumeLifecycleModes", STRING, SET))

SCHEMA(storage_CSINode, "io.k8s.api.storage.v1.CSINode",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", storage_CSINodeSpec, REQUIRED))

SCHEMA(storage_CSINodeDriver, "io.k8s.api.storage.v1.CSINodeDriver",
	O("allocatable", storage_VolumeNodeResources), S("name", REQUIRED), S("nodeID", REQUIRED),
	L("topologyKeys", STRING, ATOMIC))

SCHEMA(storage_CSINodeSpec, "io.k8s.api.storage.v1.CSINodeSpec",
	LO("drivers", storage_CSINodeDriver, REQUIRED, KEYS("name"), MERGE_BY("name")))

SCHEMA(storage_CSIStorageCapacity, "io.k8s.api.storage.v1.CSIStorageCapacity",
	S("apiVersion"), Q("capacity"), S("kind"), Q("maximumVolumeSize"), O("metadata", meta_ObjectMeta),
	O("nodeTopology", meta_LabelSelector), S("storageClassName", REQUIRED))

SCHEMA(storage_StorageClass, "io.k8s.api.storage.v1.StorageClass",
	BP("allowVolumeExpansion"), LO("allowedTopologies", core_TopologySelectorTerm, ATOMIC), S("apiVersion"),
	S("kind"), O("metadata", meta_ObjectMeta), L("mountOptions", STRING, ATOMIC), M("parameters", STRING),
	S("provisioner", REQUIRED), SP("reclaimPolicy"), SP("volumeBindingMode"))

SCHEMA(storage_TokenRequest, "io.k8s.api.storage.v1.TokenRequest",
	S("audience", REQUIRED), I64P("expirationSeconds"))

SCHEMA(storage_VolumeAttachment, "io.k8s.api.storage.v1.VolumeAttachment",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", storage_VolumeAttachmentSpec, REQUIRED), O("status", storage_VolumeAttachmentStatus))

SCHEMA(storage_VolumeAttachmentSource, "io.k8s.api.storage.v1.VolumeAttachmentSource",
	O("inlineVolumeSpec", core_PersistentVolumeSpec), SP("persistentVolumeName"))

SCHEMA(storage_VolumeAttachmentSpec, "io.k8s.api.storage.v1.VolumeAttachmentSpec",
	S("attacher", REQUIRED), S("nodeName", REQUIRED), O("source", storage_VolumeAttachmentSource, REQUIRED))

SCHEMA(storage_VolumeAttachmentStatus, "io.k8s.api.storage.v1.VolumeAttachmentStatus",
	O("attachError", storage_VolumeError), B("attached", REQUIRED), M("attachmentMetadata", STRING),
	O("detachError", storage_VolumeError))

SCHEMA(storage_VolumeError, "io.k8s.api.storage.v1.VolumeError",
	I32P("errorCode"), S("message"), TIME("time"))

SCHEMA(storage_VolumeNodeResources, "io.k8s.api.storage.v1.VolumeNodeResources",
	I32P("count"))
