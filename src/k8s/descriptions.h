// SPDX-License-Identifier: Apache-2.0
// What types and fields mean, in a sentence each, for `kubectl explain`.
#ifndef BH_K8S_DESCRIPTIONS_H
#define BH_K8S_DESCRIPTIONS_H

/* type: a schema's name ("io.k8s.api.core.v1.PodSpec"). field NULL: of the type itself. NULL: nothing is known. */
const char *k8s_description(const char *type, const char *field);

#endif
