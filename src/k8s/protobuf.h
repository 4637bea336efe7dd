// SPDX-License-Identifier: Apache-2.0
// Objects in the binary form that typed Go clients send (application/vnd.kubernetes.protobuf), made into JSON.
#ifndef BH_K8S_PROTOBUF_H
#define BH_K8S_PROTOBUF_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct k8s_schema;

/* A body to a JSON object with apiVersion and kind. Fields we do not know are left out; the result still has to go through
 * k8s_decode. Returns 0; -EINVAL: malformed; -ENOTSUP: no kind of ours, or one without a binary form (custom resources). */
int k8s_protobuf_decode(const void *data, size_t len, json_t **out, struct err *e);

/* The field numbers of a schema, in the order of its fields: 0 for none; the high byte, where not 0, is the number of the
 * message inside which the field travels although JSON has it at this level. NULL: no binary form. protobuf_numbers.c */
const uint16_t *k8s_protobuf_numbers(const struct k8s_schema *s);

#endif
