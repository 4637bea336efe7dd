// SPDX-License-Identifier: Apache-2.0
// Framing; see frame.h.
#include "frame.h"

#include <errno.h>

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static ssize_t body(const uint8_t *data, size_t len, size_t head, size_t max, const uint8_t **bytes, size_t *n)
{
	if (len < head)
		return 0;
	uint32_t want = get_le32(data + head - 4);
	if (want > max)
		return -EMSGSIZE;
	if (len - head < want)
		return 0;
	*bytes = data + head;
	*n = want;
	return (ssize_t)(head + want);
}

ssize_t frame_message(const uint8_t *data, size_t len, size_t max, const uint8_t **message, size_t *message_len)
{
	return body(data, len, FRAME_MESSAGE_HEAD, max, message, message_len);
}

ssize_t frame_channel(const uint8_t *data, size_t len, uint8_t *channel, const uint8_t **bytes, uint32_t *bytes_len)
{
	size_t n;
	ssize_t rc = body(data, len, FRAME_CHANNEL_HEAD, FRAME_CHANNEL_MAX, bytes, &n);
	if (rc > 0) {
		*channel = data[0];
		*bytes_len = (uint32_t)n;
	}
	return rc;
}

void frame_message_head(uint8_t head[FRAME_MESSAGE_HEAD], uint32_t len) { put_le32(head, len); }

void frame_channel_head(uint8_t head[FRAME_CHANNEL_HEAD], uint8_t channel, uint32_t len)
{
	head[0] = channel;
	put_le32(head + 1, len);
}
