// SPDX-License-Identifier: Apache-2.0
// Base64 (RFC 4648, with padding): certificates in kubeconfigs, data of Secrets.
#ifndef BH_K8S_BASE64_H
#define BH_K8S_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes (malloc, NUL behind them) or NULL when text is not base64 (line breaks are allowed) or memory is out. */
unsigned char *base64_decode(const char *text, size_t len, size_t *out_len);
char *base64_encode(const void *data, size_t len);   // malloc, NUL-terminated; NULL when memory is out
/* Whether text is base64, and how many bytes it stands for. -1: it is not. */
long base64_decoded_len(const char *text, size_t len);

#endif
