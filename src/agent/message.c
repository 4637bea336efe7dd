// SPDX-License-Identifier: Apache-2.0
// Sending protobuf messages; see message.h.
#include "message.h"

#include <errno.h>
#include <stdlib.h>

#include "base/own.h"
#include "endpoint.h"
#include "frame.h"

static int send_packed(struct endpoint *ep, const ProtobufCMessage *m, const uint8_t *head, size_t head_len, size_t len)
{
	own_free uint8_t *packed = malloc(len + 1);
	if (!packed)
		return -ENOMEM;
	protobuf_c_message_pack(m, packed);
	return ep_send(ep, head, head_len, packed, len);
}

int message_send(struct endpoint *ep, const ProtobufCMessage *m)
{
	uint8_t head[FRAME_MESSAGE_HEAD];
	size_t len = protobuf_c_message_get_packed_size(m);
	if (len > FRAME_MESSAGE_MAX)
		return -EMSGSIZE;
	frame_message_head(head, (uint32_t)len);
	return send_packed(ep, m, head, sizeof(head), len);
}

int message_send_channel(struct endpoint *ep, uint8_t channel, const ProtobufCMessage *m)
{
	uint8_t head[FRAME_CHANNEL_HEAD];
	size_t len = protobuf_c_message_get_packed_size(m);
	if (len > FRAME_CHANNEL_MAX)
		return -EMSGSIZE;
	frame_channel_head(head, channel, (uint32_t)len);
	return send_packed(ep, m, head, sizeof(head), len);
}
