// SPDX-License-Identifier: Apache-2.0
// What a process that maps a guest's memory (QEMU with our plug-in) says to whoever started it, over an inherited
// SOCK_SEQPACKET socket: one message with a userfaultfd. It then waits for one byte: the memory is attached to pagerd, or
// (anything but 1) it shall go on without. The maps go into struct pager_attach as they are, after fd is filled in.
#ifndef BULKHEAD_ENGINE_MSG_H
#define BULKHEAD_ENGINE_MSG_H

#include "pager_msg.h"

#define ENGINE_MSG_VERSION 1

struct engine_memory {
	uint32_t version;        // ENGINE_MSG_VERSION
	uint32_t maps;           // at most PAGER_MAPS_MAX
	struct pager_map map[PAGER_MAPS_MAX];
};

#endif
