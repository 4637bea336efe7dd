// SPDX-License-Identifier: Apache-2.0
// Bytes of a hostile peer of the agent, or of a hostile agent: frames and the messages in them. The first byte chooses
// the kind of connection; the rest is given in two pieces, cut where the second byte says.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent.pb-c.h"
#include "agent/frame.h"
#include "agent/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t input_bytes;
static void on_input(void *user, const void *data, size_t len)
{
	const volatile uint8_t *p = data;
	(void)user;
	for (size_t i = 0; i < len; i++)
		input_bytes += p[i];
}
static void on_end(void *user) { (void)user; }
static void on_resize(void *user, unsigned cols, unsigned rows) { (void)user, input_bytes += cols + rows; }
static const struct channel_ops channels = {on_input, on_end, on_resize};

static ssize_t one_message(const ProtobufCMessageDescriptor *d, size_t max, const uint8_t *data, size_t len)
{
	const uint8_t *m;
	size_t m_len;
	ssize_t n = frame_message(data, len, max, &m, &m_len);
	if (n <= 0)
		return n;
	if ((size_t)n > len || m < data || m + m_len > data + len)
		abort();
	ProtobufCMessage *message = protobuf_c_message_unpack(d, NULL, m_len, m);
	if (!message)
		return -EPROTO;
	size_t packed = protobuf_c_message_get_packed_size(message);
	uint8_t *again = malloc(packed + 1);
	if (protobuf_c_message_pack(message, again) != packed)
		abort();
	free(again);
	protobuf_c_message_free_unpacked(message, NULL);
	return n;
}

static ssize_t take(uint8_t kind, const uint8_t *data, size_t len)
{
	switch (kind % 5) {
	case 0:
		return one_message(&bulkhead__agent__request__descriptor, FRAME_MESSAGE_MAX, data, len);
	case 1:
		return one_message(&bulkhead__agent__reply__descriptor, FRAME_MESSAGE_MAX, data, len);
	case 2:
		return one_message(&bulkhead__agent__stream_open__descriptor, 1u << 20, data, len);
	case 3:
		return one_message(&bulkhead__agent__log_ack__descriptor, 64, data, len);
	default:
		return channel_input(&channels, NULL, data, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	uint8_t kind = data[0];
	size_t cut = data[1], len = size - 2, have = cut < len ? cut : len;
	uint8_t *copy = malloc(len + 1);   // exact bounds for the sanitizer
	memcpy(copy, data + 2, len);
	for (size_t at = 0; at <= have;) {
		ssize_t n = take(kind, copy + at, have - at);
		if (n < 0 || (n == 0 && have == len))
			break;
		if (n == 0)
			have = len;
		at += (size_t)n;
	}
	free(copy);
	return 0;
}
