// SPDX-License-Identifier: Apache-2.0
// The rules for names of things in Kubernetes, with the sentences its users know. Each check returns NULL when the text
// is right, else the sentence (static storage).
#ifndef BH_K8S_NAME_RULES_H
#define BH_K8S_NAME_RULES_H

#include <stddef.h>

const char *k8s_check_dns_label(const char *s);          // RFC 1123 label, at most 63
const char *k8s_check_dns_subdomain(const char *s);      // RFC 1123 subdomain, at most 253
const char *k8s_check_dns1035_label(const char *s);      // RFC 1035 label (services), at most 63
const char *k8s_check_qualified_name(const char *s);     // [prefix/]name: label and annotation keys, finalizers
const char *k8s_check_label_value(const char *s);        // "" or at most 63 of [-A-Za-z0-9_.]
const char *k8s_check_env_name(const char *s);           // any printable ASCII but '='
const char *k8s_check_config_key(const char *s);         // keys of ConfigMap and Secret
const char *k8s_check_port_name(const char *s);          // IANA service name
const char *k8s_check_path_segment(const char *s);       // names of Roles and others: no '/', '%', "." or ".."
const char *k8s_check_ip(const char *s);                 // IPv4 or IPv6 address

#endif
