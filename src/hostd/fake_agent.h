// SPDX-License-Identifier: Apache-2.0
// For tests: an agent without a VM. It speaks the agent's stream protocol on a Unix socket, behind the CONNECT handshake
// of a vsock, and does what it is asked to do on this machine: exec runs commands here, port connects to loopback.
#ifndef BH_HOSTD_FAKE_AGENT_H
#define BH_HOSTD_FAKE_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_agent;

/* NULL: failed (errno). */
struct fake_agent *fake_agent_start(const char *path);
void fake_agent_stop(struct fake_agent *a);

/* The log of the one container that log streams serve. A record stays until it is acknowledged. */
void fake_agent_log(struct fake_agent *a, uint32_t channel, const void *data, size_t len, bool end);
uint64_t fake_agent_acked(struct fake_agent *a);
void fake_agent_drop_streams(struct fake_agent *a);   // cut every log stream, as if the connection broke

#endif
