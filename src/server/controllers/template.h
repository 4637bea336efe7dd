// SPDX-License-Identifier: Apache-2.0
// Pod templates: are two the same, and the short name of one.
#ifndef BH_SERVER_CONTROLLERS_TEMPLATE_H
#define BH_SERVER_CONTROLLERS_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>

#define TEMPLATE_HASH_MAX 16

/* The same pods? The label pod-template-hash does not count, nor do empty fields. */
bool template_equal(const json_t *a, const json_t *b);

/* A hash of any JSON value in letters that spell no words; collisions: as many as were met so far. Returns out. */
const char *template_hash(const json_t *value, long long collisions, char out[TEMPLATE_HASH_MAX]);

#endif
