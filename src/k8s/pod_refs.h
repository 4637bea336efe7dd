// SPDX-License-Identifier: Apache-2.0
// What a pod refers to.
#ifndef BH_K8S_POD_REFS_H
#define BH_K8S_POD_REFS_H

#include <jansson.h>

/* The first key in a pod's spec, or in a part of it, that makes the pod's node read another object of the API (a Secret, a
 * claim) or ask for a token: "configMapRef" and the like. NULL: there is none. Empty names refer to nothing. */
const char *k8s_pod_reference(const json_t *part);

#endif
