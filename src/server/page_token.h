// SPDX-License-Identifier: Apache-2.0
// The continue token of a list that is read in parts: the state it shows and the key behind which it goes on, as base64 of
// {"v":"meta.k8s.io/v1","rv":N,"start":KEY}. Clients give it back as it is, or anything else.
#ifndef BH_SERVER_PAGE_TOKEN_H
#define BH_SERVER_PAGE_TOKEN_H

#include <stdint.h>

char *page_token_make(uint64_t rv, const char *start);   // heap; NULL: no memory

/* 0 and *rv, *start (heap); -EINVAL: no token, or start does not begin with prefix; -ENOMEM. */
int page_token_parse(const char *token, const char *prefix, uint64_t *rv, char **start);

#endif
