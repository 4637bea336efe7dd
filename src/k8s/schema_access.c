// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Groups authentication, authorization, certificates, rbac.
#include "schema_macros.h"

SCHEMA(authentication_BoundObjectReference, "io.k8s.api.authentication.v1.BoundObjectReference",
	S("apiVersion"), S("kind"), S("name"), S("uid"))

SCHEMA(authentication_SelfSubjectReview, "io.k8s.api.authentication.v1.SelfSubjectReview",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("status", authentication_SelfSubjectReviewStatus))

SCHEMA(authentication_SelfSubjectReviewStatus, "io.k8s.api.authentication.v1.SelfSubjectReviewStatus",
	O("userInfo", authentication_UserInfo))

SCHEMA(authentication_TokenRequest, "io.k8s.api.authentication.v1.TokenRequest",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", authentication_TokenRequestSpec),
	O("status", authentication_TokenRequestStatus))

SCHEMA(authentication_TokenRequestSpec, "io.k8s.api.authentication.v1.TokenRequestSpec",
	L("audiences", STRING, ATOMIC), O("boundObjectRef", authentication_BoundObjectReference),
	I64P("expirationSeconds"))

SCHEMA(authentication_TokenRequestStatus, "io.k8s.api.authentication.v1.TokenRequestStatus",
	TIME("expirationTimestamp"), S("token"))

SCHEMA(authentication_TokenReview, "io.k8s.api.authentication.v1.TokenReview",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", authentication_TokenReviewSpec, REQUIRED), O("status", authentication_TokenReviewStatus))

SCHEMA(authentication_TokenReviewSpec, "io.k8s.api.authentication.v1.TokenReviewSpec",
	L("audiences", STRING, ATOMIC), S("token", REQUIRED))

SCHEMA(authentication_TokenReviewStatus, "io.k8s.api.authentication.v1.TokenReviewStatus",
	L("audiences", STRING, ATOMIC), B("authenticated"), S("error"), O("user", authentication_UserInfo))

SCHEMA(authentication_UserInfo, "io.k8s.api.authentication.v1.UserInfo",
	M("extra", STRING_LIST), L("groups", STRING, ATOMIC), S("uid"), S("username"))

SCHEMA(authorization_FieldSelectorAttributes, "io.k8s.api.authorization.v1.FieldSelectorAttributes",
	S("rawSelector"), LO("requirements", meta_FieldSelectorRequirement, ATOMIC))

SCHEMA(authorization_LabelSelectorAttributes, "io.k8s.api.authorization.v1.LabelSelectorAttributes",
	S("rawSelector"), LO("requirements", meta_LabelSelectorRequirement, ATOMIC))

SCHEMA(authorization_LocalSubjectAccessReview, "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", authorization_SubjectAccessReviewSpec, REQUIRED),
	O("status", authorization_SubjectAccessReviewStatus))

SCHEMA(authorization_NonResourceAttributes, "io.k8s.api.authorization.v1.NonResourceAttributes",
	S("path"), S("verb"))

SCHEMA(authorization_NonResourceRule, "io.k8s.api.authorization.v1.NonResourceRule",
	L("nonResourceURLs", STRING, ATOMIC), L("verbs", STRING, REQUIRED, ATOMIC))

SCHEMA(authorization_ResourceAttributes, "io.k8s.api.authorization.v1.ResourceAttributes",
	O("fieldSelector", authorization_FieldSelectorAttributes), S("group"),
	O("labelSelector", authorization_LabelSelectorAttributes), S("name"), S("namespace"), S("resource"),
	S("subresource"), S("verb"), S("version"))

SCHEMA(authorization_ResourceRule, "io.k8s.api.authorization.v1.ResourceRule",
	L("apiGroups", STRING, ATOMIC), L("resourceNames", STRING, ATOMIC), L("resources", STRING, ATOMIC),
	L("verbs", STRING, REQUIRED, ATOMIC))

SCHEMA(authorization_SelfSubjectAccessReview, "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", authorization_SelfSubjectAccessReviewSpec, REQUIRED),
	O("status", authorization_SubjectAccessReviewStatus))

SCHEMA(authorization_SelfSubjectAccessReviewSpec, "io.k8s.api.authorization.v1.SelfSubjectAccessReviewSpec",
	O("nonResourceAttributes", authorization_NonResourceAttributes),
	O("resourceAttributes", authorization_ResourceAttributes))

SCHEMA(authorization_SelfSubjectRulesReview, "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", authorization_SelfSubjectRulesReviewSpec, REQUIRED),
	O("status", authorization_SubjectRulesReviewStatus))

SCHEMA(authorization_SelfSubjectRulesReviewSpec, "io.k8s.api.authorization.v1.SelfSubjectRulesReviewSpec",
	S("namespace"))

SCHEMA(authorization_SubjectAccessReview, "io.k8s.api.authorization.v1.SubjectAccessReview",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", authorization_SubjectAccessReviewSpec, REQUIRED),
	O("status", authorization_SubjectAccessReviewStatus))

SCHEMA(authorization_SubjectAccessReviewSpec, "io.k8s.api.authorization.v1.SubjectAccessReviewSpec",
	M("extra", STRING_LIST), L("groups", STRING, ATOMIC),
	O("nonResourceAttributes", authorization_NonResourceAttributes),
	O("resourceAttributes", authorization_ResourceAttributes), S("uid"), S("user"))

SCHEMA(authorization_SubjectAccessReviewStatus, "io.k8s.api.authorization.v1.SubjectAccessReviewStatus",
	B("allowed", REQUIRED), B("denied"), S("evaluationError"), S("reason"))

SCHEMA(authorization_SubjectRulesReviewStatus, "io.k8s.api.authorization.v1.SubjectRulesReviewStatus",
	S("evaluationError"), B("incomplete", REQUIRED),
	LO("nonResourceRules", authorization_NonResourceRule, REQUIRED, ATOMIC),
	LO("resourceRules", authorization_ResourceRule, REQUIRED, ATOMIC))

SCHEMA(certificates_CertificateSigningRequest, "io.k8s.api.certificates.v1.CertificateSigningRequest",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	O("spec", certificates_CertificateSigningRequestSpec, REQUIRED),
	O("status", certificates_CertificateSigningRequestStatus))

SCHEMA(certificates_CertificateSigningRequestCondition, "io.k8s.api.certificates.v1.CertificateSigningRequestCondition",
	TIME("lastTransitionTime"), TIME("lastUpdateTime"), S("message"), S("reason"), S("status", REQUIRED),
	S("type", REQUIRED))

SCHEMA(certificates_CertificateSigningRequestSpec, "io.k8s.api.certificates.v1.CertificateSigningRequestSpec",
	I32P("expirationSeconds"), M("extra", STRING_LIST), L("groups", STRING, ATOMIC), BYTES("request", REQUIRED),
	S("signerName", REQUIRED), S("uid"), L("usages", STRING, ATOMIC), S("username"))

SCHEMA(certificates_CertificateSigningRequestStatus, "io.k8s.api.certificates.v1.CertificateSigningRequestStatus",
	BYTES("certificate"), LO("conditions", certificates_CertificateSigningRequestCondition, KEYS("type")))

SCHEMA(rbac_AggregationRule, "io.k8s.api.rbac.v1.AggregationRule",
	LO("clusterRoleSelectors", meta_LabelSelector, ATOMIC))

SCHEMA(rbac_ClusterRole, "io.k8s.api.rbac.v1.ClusterRole",
	O("aggregationRule", rbac_AggregationRule), S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta),
	LO("rules", rbac_PolicyRule, ATOMIC))

SCHEMA(rbac_ClusterRoleBinding, "io.k8s.api.rbac.v1.ClusterRoleBinding",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("roleRef", rbac_RoleRef, REQUIRED),
	LO("subjects", rbac_Subject, ATOMIC))

SCHEMA(rbac_PolicyRule, "io.k8s.api.rbac.v1.PolicyRule",
	L("apiGroups", STRING, ATOMIC), L("nonResourceURLs", STRING, ATOMIC), L("resourceNames", STRING, ATOMIC),
	L("resources", STRING, ATOMIC), L("verbs", STRING, REQUIRED, ATOMIC))

SCHEMA(rbac_Role, "io.k8s.api.rbac.v1.Role",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), LO("rules", rbac_PolicyRule, ATOMIC))

SCHEMA(rbac_RoleBinding, "io.k8s.api.rbac.v1.RoleBinding",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("roleRef", rbac_RoleRef, REQUIRED),
	LO("subjects", rbac_Subject, ATOMIC))

SCHEMA_ATOMIC(rbac_RoleRef, "io.k8s.api.rbac.v1.RoleRef",
	S("apiGroup"), S("kind", REQUIRED), S("name", REQUIRED))

SCHEMA_ATOMIC(rbac_Subject, "io.k8s.api.rbac.v1.Subject",
	S("apiGroup"), S("kind", REQUIRED), S("name", REQUIRED), S("namespace"))
