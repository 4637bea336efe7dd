// SPDX-License-Identifier: Apache-2.0
// Text from outside on its way into JSON, which takes UTF-8 only.
#ifndef BH_UTF8_H
#define BH_UTF8_H

/* Replace in place every byte that is not part of a valid UTF-8 sequence (and a sequence cut at the end) by '?'.
 * Returns text. NULL allowed. */
char *utf8_clean(char *text);

#endif
