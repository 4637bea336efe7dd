// SPDX-License-Identifier: Apache-2.0
// The messages of the vhost-user protocol that we speak (QEMU, docs/interop/vhost-user.rst).
#ifndef BULKHEAD_VHOST_USER_PROTO_H
#define BULKHEAD_VHOST_USER_PROTO_H

#include <stdint.h>

enum vhost_user_request {
	VHU_GET_FEATURES = 1, VHU_SET_FEATURES = 2, VHU_SET_OWNER = 3, VHU_RESET_OWNER = 4, VHU_SET_MEM_TABLE = 5,
	VHU_SET_VRING_NUM = 8, VHU_SET_VRING_ADDR = 9, VHU_SET_VRING_BASE = 10, VHU_GET_VRING_BASE = 11,
	VHU_SET_VRING_KICK = 12, VHU_SET_VRING_CALL = 13, VHU_SET_VRING_ERR = 14,
	VHU_GET_PROTOCOL_FEATURES = 15, VHU_SET_PROTOCOL_FEATURES = 16, VHU_GET_QUEUE_NUM = 17,
	VHU_SET_VRING_ENABLE = 18, VHU_SET_BACKEND_REQ_FD = 21, VHU_GET_CONFIG = 24, VHU_SET_CONFIG = 25,
	VHU_RESET_DEVICE = 34,
	VHU_REQUEST_MAX = 64,
};

enum { VHU_BACKEND_CONFIG_CHANGE = 2 };   // sent by us on the back-end request socket

#define VHU_VERSION 1u
#define VHU_VERSION_MASK 3u
#define VHU_FLAG_REPLY (1u << 2)
#define VHU_FLAG_NEED_REPLY (1u << 3)

#define VHU_F_PROTOCOL_FEATURES 30        // virtio feature bit
enum vhost_user_protocol_feature {        // protocol feature bits
	VHU_PF_MQ = 0, VHU_PF_REPLY_ACK = 3, VHU_PF_BACKEND_REQ = 5, VHU_PF_CONFIG = 9, VHU_PF_RESET_DEVICE = 13,
};

#define VHU_VRING_INDEX_MASK 0xffu
#define VHU_VRING_NO_FD (1u << 8)

#define VHU_MEM_REGIONS 8
#define VHU_CONFIG_SIZE 256

struct vhu_head { uint32_t request, flags, size; };   // size: bytes that follow
struct vhu_vring_state { uint32_t index, num; };
struct vhu_vring_addr { uint32_t index, flags; uint64_t desc, used, avail, log; };   // user addresses
struct vhu_mem_region { uint64_t gpa, size, user, offset; };
struct vhu_mem_table { uint32_t n, padding; struct vhu_mem_region region[VHU_MEM_REGIONS]; };
struct vhu_config { uint32_t offset, size, flags; uint8_t data[VHU_CONFIG_SIZE]; };

union vhu_payload {
	uint64_t u64;
	struct vhu_vring_state state;
	struct vhu_vring_addr addr;
	struct vhu_mem_table mem;
	struct vhu_config config;
};

#endif
