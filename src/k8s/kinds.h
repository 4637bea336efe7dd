// SPDX-License-Identifier: Apache-2.0
// The built-in rows (kinds.c) and the hooks that they name.
#ifndef BH_K8S_KINDS_H
#define BH_K8S_KINDS_H

#include "kind.h"

extern const struct k8s_kind k8s_kind_rows[];
extern const size_t k8s_kind_row_count;
extern const struct k8s_subresource k8s_subresource_rows[];   // ended by name NULL

#endif
