// SPDX-License-Identifier: Apache-2.0
// resource.Quantity: "500m", "1Gi", "2e3". Values are kept in thousandths (milli), saturating at INT64_MAX.
#ifndef BH_K8S_QUANTITY_H
#define BH_K8S_QUANTITY_H

#include <jansson.h>
#include <stdint.h>

int k8s_quantity_parse(const char *text, int64_t *milli);                 // 0 or -EINVAL; rounds up below milli
int64_t k8s_quantity_milli(const json_t *value, int64_t fallback);        // a JSON string or number; fallback when absent or wrong
int64_t k8s_quantity_value(const json_t *value, int64_t fallback);        // whole units, rounded up
#define K8S_QUANTITY_TEXT_MAX 32
char *k8s_quantity_text(int64_t milli, int binary, char out[K8S_QUANTITY_TEXT_MAX]);   // canonical form; binary: Ki, Mi...

/* The canonical form in the style (binary, decimal, exponent) that text itself uses: "1024Mi" -> "1Gi", "0.5" -> "500m",
 * "1000e3" -> "1e6". NULL when text is not a quantity. */
char *k8s_quantity_canonical(const char *text, char out[K8S_QUANTITY_TEXT_MAX]);

#endif
