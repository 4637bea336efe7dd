// SPDX-License-Identifier: Apache-2.0
// $(NAME) in env values, commands and arguments, as Kubernetes defines it.
#ifndef BH_HOSTD_ENV_EXPAND_H
#define BH_HOSTD_ENV_EXPAND_H

#include <jansson.h>

/* $(NAME) becomes the value of NAME in env (object of strings); unknown names stay as written; $$ is a literal $.
 * Heap; NULL: no memory. */
char *env_expand(const char *text, const json_t *env);

/* The names in text that have no value, or an empty one, as "A, B"; heap. NULL: there are none. */
char *env_missing(const char *text, const json_t *env);

#endif
