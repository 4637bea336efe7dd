// SPDX-License-Identifier: Apache-2.0
// The two framings of agent.proto. Pure: bytes in, positions out.
#ifndef BH_AGENT_FRAME_H
#define BH_AGENT_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FRAME_MESSAGE_MAX (4u << 20)   // bytes of one message
#define FRAME_MESSAGE_HEAD 4
#define FRAME_CHANNEL_MAX (64u << 10)  // bytes of one channel frame
#define FRAME_CHANNEL_HEAD 5

enum frame_channel { FRAME_STDIN, FRAME_STDOUT, FRAME_STDERR, FRAME_EXIT, FRAME_RESIZE };

/* [u32 length][message]. Returns bytes of the whole frame, 0: not all there yet, -EMSGSIZE: longer than max. */
ssize_t frame_message(const uint8_t *data, size_t len, size_t max, const uint8_t **message, size_t *message_len);

/* [u8 channel][u32 length][bytes]. Returns as above. */
ssize_t frame_channel(const uint8_t *data, size_t len, uint8_t *channel, const uint8_t **bytes, uint32_t *bytes_len);

void frame_message_head(uint8_t head[FRAME_MESSAGE_HEAD], uint32_t len);
void frame_channel_head(uint8_t head[FRAME_CHANNEL_HEAD], uint8_t channel, uint32_t len);

#endif
