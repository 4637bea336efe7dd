// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. What all kinds share: metadata, selectors, conditions, options, Status.
#include "schema_macros.h"

SCHEMA(meta_Condition, "io.k8s.apimachinery.pkg.apis.meta.v1.Condition",
	TIME("lastTransitionTime", REQUIRED), S("message", REQUIRED), I64("observedGeneration"),
	S("reason", REQUIRED), S("status", REQUIRED), S("type", REQUIRED))

SCHEMA(meta_DeleteOptions, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
	S("apiVersion"), L("dryRun", STRING, ATOMIC), I64P("gracePeriodSeconds"),
	BP("ignoreStoreReadErrorWithClusterBreakingPotential"), S("kind"), BP("orphanDependents"),
	O("preconditions", meta_Preconditions), SP("propagationPolicy"))

SCHEMA(meta_FieldSelectorRequirement, "io.k8s.apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement",
	S("key", REQUIRED), S("operator", REQUIRED), L("values", STRING, ATOMIC))

SCHEMA_ATOMIC(meta_LabelSelector, "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
	LO("matchExpressions", meta_LabelSelectorRequirement, ATOMIC), M("matchLabels", STRING))

SCHEMA(meta_LabelSelectorRequirement, "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement",
	S("key", REQUIRED), S("operator", REQUIRED), L("values", STRING, ATOMIC))

SCHEMA(meta_ListMeta, "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
	S("continue"), I64P("remainingItemCount"), S("resourceVersion"), S("selfLink"),
	O("shardInfo", meta_ShardInfo))

SCHEMA(meta_ManagedFieldsEntry, "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
	S("apiVersion"), S("fieldsType"), ANY("fieldsV1"), S("manager"), S("operation"), S("subresource"),
	TIME("time"))

SCHEMA(meta_ObjectMeta, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
	M("annotations", STRING), TIME("creationTimestamp"), I64P("deletionGracePeriodSeconds"),
	TIME("deletionTimestamp"), L("finalizers", STRING, SET, MERGE_LIST), S("generateName"), I64("generation"),
	M("labels", STRING), LO("managedFields", meta_ManagedFieldsEntry, ATOMIC), S("name"), S("namespace"),
	LO("ownerReferences", meta_OwnerReference, KEYS("uid"), MERGE_BY("uid")), S("resourceVersion"),
	S("selfLink"), S("uid"))

SCHEMA_ATOMIC(meta_OwnerReference, "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
	S("apiVersion", REQUIRED), BP("blockOwnerDeletion"), BP("controller"), S("kind", REQUIRED),
	S("name", REQUIRED), S("uid", REQUIRED))

SCHEMA(meta_Preconditions, "io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions",
	SP("resourceVersion"), SP("uid"))

SCHEMA(meta_ShardInfo, "io.k8s.apimachinery.pkg.apis.meta.v1.ShardInfo",
	S("selector", REQUIRED))

SCHEMA(meta_Status, "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
	S("apiVersion"), I32("code"), O("details", meta_StatusDetails), S("kind"), S("message"),
	O("metadata", meta_ListMeta), S("reason"), S("status"))

SCHEMA(meta_StatusCause, "io.k8s.apimachinery.pkg.apis.meta.v1.StatusCause",
	S("field"), S("message"), S("reason"))

SCHEMA(meta_StatusDetails, "io.k8s.apimachinery.pkg.apis.meta.v1.StatusDetails",
	LO("causes", meta_StatusCause, ATOMIC), S("group"), S("kind"), S("name"), I32("retryAfterSeconds"), S("uid"))
