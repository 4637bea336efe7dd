// SPDX-License-Identifier: Apache-2.0
// JSON text from a parsed value, for where it is written for every change of an object: the library's writer looks for loops
// (which parsed text cannot have) by printing an address for every object and list, and calls back for every token.
#ifndef BH_JWRITE_H
#define BH_JWRITE_H

#include <jansson.h>

#include "base/buf.h"

/* Append the value's text, byte for byte what json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) gives. A value that contains
 * itself must not be given. 0 or -ENOMEM; b then holds a part. */
int jwrite(struct buf *b, const json_t *value);
/* Append one string, with quotes. */
int jwrite_string(struct buf *b, const char *text, size_t len);

#endif
