// SPDX-License-Identifier: Apache-2.0
// SPDY/3.1 frames of a client. The first byte says in which pieces they come and what the sink answers.
#include <stdlib.h>

#include "hostd/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mux *m;
static int answer;

static int on_opened(void *user, uint32_t stream, const struct mux_headers *h)
{
	(void)user, (void)stream;
	return mux_header(h, "streamtype")[0] == 'x' ? -1 : answer;
}

static int on_data(void *user, uint32_t stream, const void *data, size_t len)
{
	(void)user;
	mux_send(m, stream, data, len < mux_room(m, stream) ? len : mux_room(m, stream));
	return mux_consumed(m, stream, len);
}

static void on_ended(void *user, uint32_t stream, bool reset)
{
	(void)user;
	if (!reset)
		mux_finish(m, stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mux_sink sink = {.opened = on_opened, .data = on_data, .ended = on_ended};
	if (!size)
		return 0;
	size_t piece = 1 + data[0] % 64;
	answer = data[0] & 0x80 ? -1 : 0;
	m = spdy_new(&sink, NULL);
	for (size_t at = 1; at < size; at += piece)
		if (mux_input(m, data + at, size - at < piece ? size - at : piece))
			break;
	mux_goodbye(m);
	mux_free(m);
	return 0;
}
