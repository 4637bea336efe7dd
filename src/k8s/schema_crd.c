// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Group apiextensions.k8s.io.
#include "schema_macros.h"

SCHEMA(crd_CustomResourceColumnDefinition, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceColumnDefinition",
	S("description"), S("format"), S("jsonPath", REQUIRED), S("name", REQUIRED), I32("priority"),
	S("type", REQUIRED))

SCHEMA(crd_CustomResourceConversion, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceConversion",
	S("strategy", REQUIRED), O("webhook", crd_WebhookConversion))

SCHEMA(crd_CustomResourceDefinition, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", crd_CustomResourceDefinitionSpec, REQUIRED), O("status", crd_CustomResourceDefinitionStatus))

SCHEMA(crd_CustomResourceDefinitionCondition, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionCondition",
	TIME("lastTransitionTime"), S("message"), I64("observedGeneration"), SP("reason"), S("status", REQUIRED),
	S("type", REQUIRED))

SCHEMA(crd_CustomResourceDefinitionNames, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionNames",
	L("categories", STRING, ATOMIC), S("kind", REQUIRED), S("listKind"), S("plural", REQUIRED),
	L("shortNames", STRING, ATOMIC), S("singular"))

SCHEMA(crd_CustomResourceDefinitionSpec, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec",
	O("conversion", crd_CustomResourceConversion), S("group", REQUIRED),
	O("names", crd_CustomResourceDefinitionNames, REQUIRED), B("preserveUnknownFields"), S("scope", REQUIRED),
	LO("versions", crd_CustomResourceDefinitionVersion, REQUIRED, ATOMIC))

SCHEMA(crd_CustomResourceDefinitionStatus, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus",
	O("acceptedNames", crd_CustomResourceDefinitionNames),
	LO("conditions", crd_CustomResourceDefinitionCondition, KEYS("type")), I64("observedGeneration"),
	L("storedVersions", STRING, ATOMIC))

SCHEMA(crd_CustomResourceDefinitionVersion, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionVersion",
	LO("additionalPrinterColumns", crd_CustomResourceColumnDefinition, ATOMIC), B("deprecated"),
	SP("deprecationWarning"), S("name", REQUIRED), O("schema", crd_CustomResourceValidation),
	LO("selectableFields", crd_SelectableField, ATOMIC), B("served", REQUIRED), B("storage", REQUIRED),
	O("subresources", crd_CustomResourceSubresources))

SCHEMA(crd_CustomResourceSubresourceScale, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresourceScale",
	SP("labelSelectorPath"), S("specReplicasPath", REQUIRED), SP("statusReplicasPath", REQUIRED))

SCHEMA(crd_CustomResourceSubresources, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresources",
	O("scale", crd_CustomResourceSubresourceScale), ANY("status"))

SCHEMA(crd_CustomResourceValidation, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceValidation",
	O("openAPIV3Schema", crd_JSONSchemaProps))

SCHEMA(crd_ExternalDocumentation, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ExternalDocumentation",
	S("description"), SP("url"))

SCHEMA(crd_JSONSchemaProps, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
	S("$ref"), S("$schema"), ANY("additionalItems"), ANY("additionalProperties"),
	LO("allOf", crd_JSONSchemaProps, ATOMIC), LO("anyOf", crd_JSONSchemaProps, ATOMIC), ANY("default"),
	MO("definitions", crd_JSONSchemaProps), M("dependencies", ANY), S("description"), L("enum", ANY, ATOMIC),
	ANY("example"), B("exclusiveMaximum"), B("exclusiveMinimum"), O("externalDocs", crd_ExternalDocumentation),
	S("format"), S("id"), ANY("items"), I64P("maxItems"), I64P("maxLength"), I64P("maxProperties"),
	DP("maximum"), I64P("minItems"), I64P("minLength"), I64P("minProperties"), DP("minimum"), DP("multipleOf"),
	O("not", crd_JSONSchemaProps), B("nullable"), LO("oneOf", crd_JSONSchemaProps, ATOMIC), S("pattern"),
	MO("patternProperties", crd_JSONSchemaProps), MO("properties", crd_JSONSchemaProps),
	L("required", STRING, ATOMIC), S("title"), S("type"), B("uniqueItems"), B("x-kubernetes-embedded-resource"),
	B("x-kubernetes-int-or-string"), L("x-kubernetes-list-map-keys", STRING, ATOMIC),
	SP("x-kubernetes-list-type"), SP("x-kubernetes-map-type"), BP("x-kubernetes-preserve-unknown-fields"),
	LO("x-kubernetes-validations", crd_ValidationRule, KEYS("rule"), MERGE_BY("rule")))

SCHEMA(crd_SelectableField, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.SelectableField",
	S("jsonPath", REQUIRED))

SCHEMA(crd_ServiceReference, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ServiceReference",
	S("name", REQUIRED), S("namespace", REQUIRED), SP("path"), I32P("port"))

SCHEMA(crd_ValidationRule, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule",
	SP("fieldPath"), S("message"), S("messageExpression"), BP("optionalOldSelf"), SP("reason"),
	S("rule", REQUIRED))

SCHEMA(crd_WebhookClientConfig, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.WebhookClientConfig",
	BYTES("caBundle"), O("service", crd_ServiceReference), SP("url"))

SCHEMA(crd_WebhookConversion, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.WebhookConversion",
	O("clientConfig", crd_WebhookClientConfig), L("conversionReviewVersions", STRING, REQUIRED, ATOMIC))
