// SPDX-License-Identifier: Apache-2.0
// The Kubernetes channel protocols over WebSocket as a mux: each message begins with the number of its channel, which
// is the stream's number here. The streams are there from the start: nothing is opened by the client.
#ifndef BH_HOSTD_WEBSOCKET_CHANNELS_H
#define BH_HOSTD_WEBSOCKET_CHANNELS_H

#include "streaming_mux.h"

struct websocket_channels_opts {
	uint32_t count;        // channels 0 to count - 1
	bool base64;           // text messages: an ASCII digit, then base64
	bool close_signal;     // v5: a message of the bytes 255, N ends channel N
};

/* NULL: no memory. */
struct mux *websocket_channels_new(const struct websocket_channels_opts *o, const struct mux_sink *sink, void *user);

/* SPDY/3.1 whose bytes travel in binary messages (port-forward of kubectl from 1.31). */
struct mux *websocket_tunnel_new(const struct mux_sink *sink, void *user);

#endif
