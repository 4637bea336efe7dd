// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Groups networking.k8s.io and discovery.k8s.io.
#include "schema_macros.h"

SCHEMA(discovery_Endpoint, "io.k8s.api.discovery.v1.Endpoint",
	L("addresses", STRING, REQUIRED, SET), O("conditions", discovery_EndpointConditions),
	M("deprecatedTopology", STRING), O("hints", discovery_EndpointHints), SP("hostname"), SP("nodeName"),
	O("targetRef", core_ObjectReference), SP("zone"))

SCHEMA(discovery_EndpointConditions, "io.k8s.api.discovery.v1.EndpointConditions",
	BP("ready"), BP("serving"), BP("terminating"))

SCHEMA(discovery_EndpointHints, "io.k8s.api.discovery.v1.EndpointHints",
	LO("forNodes", discovery_ForNode, ATOMIC), LO("forZones", discovery_ForZone, ATOMIC))

SCHEMA_ATOMIC(discovery_EndpointPort, "io.k8s.api.discovery.v1.EndpointPort",
	SP("appProtocol"), SP("name"), I32P("port"), SP("protocol"))

SCHEMA(discovery_EndpointSlice, "io.k8s.api.discovery.v1.EndpointSlice",
	S("addressType", REQUIRED), S("apiVersion"), LO("endpoints", discovery_Endpoint, ATOMIC), S("kind"),
	O("metadata", meta_ObjectMeta), LO("ports", discovery_EndpointPort, ATOMIC))

SCHEMA(discovery_ForNode, "io.k8s.api.discovery.v1.ForNode",
	S("name", REQUIRED))

SCHEMA(discovery_ForZone, "io.k8s.api.discovery.v1.ForZone",
	S("name", REQUIRED))

SCHEMA(networking_HTTPIngressPath, "io.k8s.api.networking.v1.HTTPIngressPath",
	O("backend", networking_IngressBackend, REQUIRED), S("path"), SP("pathType", REQUIRED))

SCHEMA(networking_HTTPIngressRuleValue, "io.k8s.api.networking.v1.HTTPIngressRuleValue",
	LO("paths", networking_HTTPIngressPath, REQUIRED, ATOMIC))

SCHEMA(networking_IPBlock, "io.k8s.api.networking.v1.IPBlock",
	S("cidr", REQUIRED), L("except", STRING, ATOMIC))

SCHEMA(networking_Ingress, "io.k8s.api.networking.v1.Ingress",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", networking_IngressSpec),
	O("status", networking_IngressStatus))

SCHEMA(networking_IngressBackend, "io.k8s.api.networking.v1.IngressBackend",
	O("resource", core_TypedLocalObjectReference), O("service", networking_IngressServiceBackend))

SCHEMA(networking_IngressClass, "io.k8s.api.networking.v1.IngressClass",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", networking_IngressClassSpec))

SCHEMA(networking_IngressClassParametersReference, "io.k8s.api.networking.v1.IngressClassParametersReference",
	SP("apiGroup"), S("kind", REQUIRED), S("name", REQUIRED), SP("namespace"), SP("scope"))

SCHEMA(networking_IngressClassSpec, "io.k8s.api.networking.v1.IngressClassSpec",
	S("controller"), O("parameters", networking_IngressClassParametersReference))

SCHEMA(networking_IngressLoadBalancerIngress, "io.k8s.api.networking.v1.IngressLoadBalancerIngress",
	S("hostname"), S("ip"), LO("ports", networking_IngressPortStatus, ATOMIC))

SCHEMA(networking_IngressLoadBalancerStatus, "io.k8s.api.networking.v1.IngressLoadBalancerStatus",
	LO("ingress", networking_IngressLoadBalancerIngress, ATOMIC))

SCHEMA(networking_IngressPortStatus, "io.k8s.api.networking.v1.IngressPortStatus",
	SP("error"), I32("port", REQUIRED), S("protocol", REQUIRED))

SCHEMA(networking_IngressRule, "io.k8s.api.networking.v1.IngressRule",
	S("host"), O("http", networking_HTTPIngressRuleValue))

SCHEMA(networking_IngressServiceBackend, "io.k8s.api.networking.v1.IngressServiceBackend",
	S("name", REQUIRED), O("port", networking_ServiceBackendPort))

SCHEMA(networking_IngressSpec, "io.k8s.api.networking.v1.IngressSpec",
	O("defaultBackend", networking_IngressBackend), SP("ingressClassName"),
	LO("rules", networking_IngressRule, ATOMIC), LO("tls", networking_IngressTLS, ATOMIC))

SCHEMA(networking_IngressStatus, "io.k8s.api.networking.v1.IngressStatus",
	O("loadBalancer", networking_IngressLoadBalancerStatus))

SCHEMA(networking_IngressTLS, "io.k8s.api.networking.v1.IngressTLS",
	L("hosts", STRING, ATOMIC), S("secretName"))

SCHEMA(networking_NetworkPolicy, "io.k8s.api.networking.v1.NetworkPolicy",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", networking_NetworkPolicySpec))

SCHEMA(networking_NetworkPolicyEgressRule, "io.k8s.api.networking.v1.NetworkPolicyEgressRule",
	LO("ports", networking_NetworkPolicyPort, ATOMIC), LO("to", networking_NetworkPolicyPeer, ATOMIC))

SCHEMA(networking_NetworkPolicyIngressRule, "io.k8s.api.networking.v1.NetworkPolicyIngressRule",
	LO("from", networking_NetworkPolicyPeer, ATOMIC), LO("ports", networking_NetworkPolicyPort, ATOMIC))

SCHEMA(networking_NetworkPolicyPeer, "io.k8s.api.networking.v1.NetworkPolicyPeer",
	O("ipBlock", networking_IPBlock), O("namespaceSelector", meta_LabelSelector),
	O("podSelector", meta_LabelSelector))

SCHEMA(networking_NetworkPolicyPort, "io.k8s.api.networking.v1.NetworkPolicyPort",
	I32P("endPort"), IOS("port"), SP("protocol"))

SCHEMA(networking_NetworkPolicySpec, "io.k8s.api.networking.v1.NetworkPolicySpec",
	LO("egress", networking_NetworkPolicyEgressRule, ATOMIC),
	LO("ingress", networking_NetworkPolicyIngressRule, ATOMIC), O("podSelector", meta_LabelSelector),
	L("policyTypes", STRING, ATOMIC))

SCHEMA_ATOMIC(networking_ServiceBackendPort, "io.k8s.api.networking.v1.ServiceBackendPort",
	S("name"), I32("number"))
