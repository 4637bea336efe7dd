// SPDX-License-Identifier: Apache-2.0
// WebSocket (RFC 6455), server side, without input or output of its own: bytes in, messages out, and back.
#ifndef BH_HOSTD_WEBSOCKET_H
#define BH_HOSTD_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct websocket;

/* Bytes of a data message as they come, never the whole of it at once. first, last: the message begins, ends with
 * these bytes (len may be 0). Returns 0 or -errno, which websocket_input passes on. */
typedef int websocket_message_fn(void *user, bool first, bool last, const void *data, size_t len);

/* out: where bytes for the client are appended; borrowed. NULL: no memory. */
struct websocket *websocket_new(struct buf *out, websocket_message_fn *fn, void *user);
void websocket_free(struct websocket *w);   // NULL allowed

/* Take in bytes of the client; pings are answered. Returns 0; -ENODATA the client has closed (answered); -EPROTO it
 * broke the protocol (answered with a close frame); -ENOMEM; or what the message function returned. */
int websocket_input(struct websocket *w, const void *data, size_t len);

/* Queue one message of two parts (prefix_len may be 0). Returns 0, -ENOMEM, -EPIPE after websocket_close. */
int websocket_send(struct websocket *w, bool text, const void *prefix, size_t prefix_len, const void *data, size_t len);
int websocket_close(struct websocket *w, uint16_t code);   // once; later calls do nothing

#define WEBSOCKET_ACCEPT_MAX 32

/* The answer to a client's Sec-WebSocket-Key. Returns 0, or -EINVAL (not 16 bytes in base64). */
int websocket_accept(const char *key, char out[WEBSOCKET_ACCEPT_MAX]);

/* Pick the first protocol in the client's comma-separated list that is in ours (NULL-terminated). NULL: none. */
const char *websocket_choose(const char *offered, const char *const ours[]);

#endif
