// SPDX-License-Identifier: Apache-2.0
// A small blocking NBD client: one request at a time.
#ifndef BH_NBD_CLIENT_H
#define BH_NBD_CLIENT_H

#include <stdint.h>

#include "base/err.h"

struct nbd_client;

/* target: "unix:PATH" or "tcp:HOST:PORT", each with an optional "/EXPORT" behind "#". Blocks (10 s at most a message). */
int nbd_client_open(const char *target, struct nbd_client **c, struct err *e);
void nbd_client_close(struct nbd_client *c);                     // NULL allowed
uint64_t nbd_client_size(const struct nbd_client *c);
int nbd_client_write(struct nbd_client *c, uint64_t off, const void *data, uint32_t len);   // 0 or -errno
int nbd_client_zero(struct nbd_client *c, uint64_t off, uint32_t len);
int nbd_client_flush(struct nbd_client *c);

#endif
