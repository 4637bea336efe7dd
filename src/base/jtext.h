// SPDX-License-Identifier: Apache-2.0
// A value inside JSON text, found without parsing the rest. For text that was made by a JSON library; anything else is
// safe to look through, but what is found in it means nothing.
#ifndef BH_JTEXT_H
#define BH_JTEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The text of the value at a dotted path of object keys; points into text. False: there is none. */
bool jtext_find(const char *text, size_t len, const char *path, const char **value, size_t *value_len);

/* The value at the path, parsed: a new reference; NULL: there is none, or no memory. */
json_t *jtext_get(const char *text, size_t len, const char *path);

#endif
