// SPDX-License-Identifier: Apache-2.0
// Port-forward: the relay between a client's pairs of streams and connections that the agent makes inside the VM.
#ifndef BH_HOSTD_STREAMING_PORT_H
#define BH_HOSTD_STREAMING_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "streaming_wire.h"

struct port_request {
	const char *vsock_path, *pod, *uid;   // pod and uid: for error texts
	enum { PORT_SPDY, PORT_CHANNELS, PORT_TUNNEL } transport;
	bool base64;                          // PORT_CHANNELS
	const uint16_t *ports;                // PORT_CHANNELS: one connection to each
	size_t ports_count;
};

/* Runs until the client is gone (or, over channels, until all connections have ended). */
void port_relay(struct wire *w, int stop_fd, const struct port_request *rq);

#endif
