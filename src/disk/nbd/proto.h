// SPDX-License-Identifier: Apache-2.0
// Numbers and structures of the NBD protocol, as its specification (doc/proto.md of the NBD project) has them.
// Everything on the wire is big endian.
#ifndef BH_NBD_PROTO_H
#define BH_NBD_PROTO_H

#include <stdint.h>

#define NBD_MAGIC 0x4e42444d41474943ull          // "NBDMAGIC"
#define NBD_OPTS_MAGIC 0x49484156454f5054ull     // "IHAVEOPT"
#define NBD_REP_MAGIC 0x3e889045565a9ull
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_MAGIC 0x67446698u
#define NBD_STRUCTURED_MAGIC 0x668e33efu

enum { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };

enum {
	NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT = 2, NBD_OPT_LIST = 3, NBD_OPT_INFO = 6, NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8, NBD_OPT_LIST_META_CONTEXT = 9, NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ERR(n) (0x80000000u + (n))
enum {
	NBD_REP_ACK = 1, NBD_REP_SERVER = 2, NBD_REP_INFO = 3, NBD_REP_META_CONTEXT = 4,
};
#define NBD_REP_ERR_UNSUP NBD_REP_ERR(1)
#define NBD_REP_ERR_INVALID NBD_REP_ERR(3)
#define NBD_REP_ERR_UNKNOWN NBD_REP_ERR(6)
#define NBD_REP_ERR_TOO_BIG NBD_REP_ERR(9)

enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

enum {
	NBD_TF_HAS_FLAGS = 1 << 0, NBD_TF_READ_ONLY = 1 << 1, NBD_TF_FLUSH = 1 << 2, NBD_TF_FUA = 1 << 3, NBD_TF_TRIM = 1 << 5,
	NBD_TF_WRITE_ZEROES = 1 << 6, NBD_TF_DF = 1 << 7, NBD_TF_MULTI_CONN = 1 << 8, NBD_TF_CACHE = 1 << 10,
};

enum {
	NBD_CMD_READ = 0, NBD_CMD_WRITE = 1, NBD_CMD_DISC = 2, NBD_CMD_FLUSH = 3, NBD_CMD_TRIM = 4, NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6, NBD_CMD_BLOCK_STATUS = 7,
};

enum { NBD_CMD_FLAG_FUA = 1, NBD_CMD_FLAG_NO_HOLE = 2, NBD_CMD_FLAG_DF = 4, NBD_CMD_FLAG_REQ_ONE = 8 };

enum { NBD_REPLY_FLAG_DONE = 1 };
enum { NBD_REPLY_NONE = 0, NBD_REPLY_OFFSET_DATA = 1, NBD_REPLY_BLOCK_STATUS = 5, NBD_REPLY_ERROR = 0x8001 };

enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };   // base:allocation

struct nbd_request {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie, offset;
	uint32_t length;
} __attribute__((packed));

struct nbd_simple { uint32_t magic, error; uint64_t cookie; } __attribute__((packed));

struct nbd_chunk {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie;
	uint32_t length;
} __attribute__((packed));

#define NBD_REQUEST_MAX (32u << 20)      // longest read or write
#define NBD_OPTION_MAX (64u << 10)       // longest option
#define NBD_NAME_MAX 4096u

#endif
