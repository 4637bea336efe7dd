// SPDX-License-Identifier: Apache-2.0
// WebSocket: the handshake's texts, and messages of a client over channels, base64 channels and the SPDY tunnel. The
// first byte says which, and in which pieces the bytes come.
#include <stdlib.h>
#include <string.h>

#include "hostd/websocket.h"
#include "hostd/websocket_channels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mux *m;

static int on_opened(void *user, uint32_t stream, const struct mux_headers *h)
{
	(void)user, (void)stream, (void)h;
	return 0;
}

static int on_data(void *user, uint32_t stream, const void *data, size_t len)
{
	(void)user;
	mux_send(m, stream, data, len < mux_room(m, stream) ? len : mux_room(m, stream));
	return mux_consumed(m, stream, len);
}

static void on_ended(void *user, uint32_t stream, bool reset) { (void)user, (void)stream, (void)reset; }

static void handshake(const uint8_t *data, size_t size)
{
	static const char *const ours[] = {"v5.channel.k8s.io", "v4", NULL};
	char accept[WEBSOCKET_ACCEPT_MAX], *text = malloc(size + 1);
	memcpy(text, data, size);
	text[size] = '\0';
	websocket_choose(text, ours);
	websocket_accept(text, accept);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mux_sink sink = {.opened = on_opened, .data = on_data, .ended = on_ended};
	if (!size)
		return 0;
	handshake(data + 1, size - 1);
	const struct websocket_channels_opts opts = {.count = 5, .base64 = data[0] & 0x80, .close_signal = !(data[0] & 0x80)};
	size_t piece = 1 + data[0] % 32;
	m = data[0] & 0x40 ? websocket_tunnel_new(&sink, NULL) : websocket_channels_new(&opts, &sink, NULL);
	for (size_t at = 1; at < size; at += piece)
		if (mux_input(m, data + at, size - at < piece ? size - at : piece))
			break;
	mux_goodbye(m);
	mux_free(m);
	return 0;
}
