// SPDX-License-Identifier: Apache-2.0
// YAML to JSON values, as Kubernetes reads YAML: one document, YAML 1.1 booleans not taken (true/false only), duplicate
// keys refused. Aliases are expanded within limits, so that a small text cannot become a huge value.
#ifndef BH_K8S_YAML_H
#define BH_K8S_YAML_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/* 0 and *out (new reference; null for an empty text), or -EINVAL with line and reason, -E2BIG, -ENOMEM. */
int k8s_yaml_parse(const char *text, size_t len, json_t **out, struct err *e);

#endif
