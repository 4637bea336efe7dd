// SPDX-License-Identifier: Apache-2.0
// Sending protobuf messages over an endpoint.
#ifndef BH_AGENT_MESSAGE_H
#define BH_AGENT_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

struct endpoint;

int message_send(struct endpoint *ep, const ProtobufCMessage *m);   // [u32 length][message]; 0, -ENOMEM, -EMSGSIZE
int message_send_channel(struct endpoint *ep, uint8_t channel, const ProtobufCMessage *m);   // as a channel frame

#endif
