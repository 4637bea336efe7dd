// SPDX-License-Identifier: Apache-2.0
// gRPC calls to an etcd cluster: HTTP/2 by libcurl, messages by protobuf-c (proto/etcd.proto). A call goes to the member
// that worked last; when that one fails or is silent, to the next, until the time is up.
//
// One struct etcd_rpc belongs to one thread at a time. The place is read-only and shared.
#ifndef BH_SERVER_ETCD_RPC_H
#define BH_SERVER_ETCD_RPC_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "etcd.pb-c.h"

#define ETCD_MEMBERS_MAX 16
#define ETCD_KEEP_SECONDS 300

struct etcd_place {
	char *text;                          // owned; the rest points into it
	const char *urls[ETCD_MEMBERS_MAX];
	int count;
	const char *ca, *cert, *key;         // files; NULL: none
	unsigned keep_s;                     // old revisions are kept this long
};

/* "URL,URL,...[,ca=FILE][,cert=FILE,key=FILE][,keep=SECONDS]" */
int etcd_place_parse(const char *where, struct etcd_place *p, struct err *e);
void etcd_place_fini(struct etcd_place *p);

/* What gRPC says besides 0: those that we tell apart. */
enum { GRPC_OK = 0, GRPC_INVALID = 3, GRPC_EXHAUSTED = 8, GRPC_OUT_OF_RANGE = 11, GRPC_UNAVAILABLE = 14 };

struct etcd_call {
	const char *method;                  // in: "KV/Txn"
	const ProtobufCMessage *request;     // in
	struct buf reply;                    // out: the answer's message; the caller's
	int status;                          // out: GRPC_*; -1: nobody answered in time
	bool uncertain;                      // out: an attempt before the answer may have been carried out as well
	char why[160];                       // out: etcd's words, or curl's
	struct buf body;                     // the rest is etcd_rpc's
	size_t sent;
	CURL *easy;
	int member;
	uint64_t retry_ns;
};

struct etcd_rpc;
int etcd_rpc_open(const struct etcd_place *p, struct etcd_rpc **r, struct err *e);
void etcd_rpc_close(struct etcd_rpc *r);

/* Do all the calls at the same time and wait for their ends. */
void etcd_rpc_run(struct etcd_rpc *r, struct etcd_call *calls, size_t n, unsigned timeout_ms);
void etcd_call_fini(struct etcd_call *c);

/* For streams: an easy handle, and aiming it at a method of a member. connected: a connection is there to be used. */
CURL *etcd_easy_new(const struct etcd_place *p);
int etcd_easy_aim(CURL *easy, const struct etcd_place *p, int member, const char *method, bool connected);
int etcd_frame(const ProtobufCMessage *m, struct buf *out);      // append length and message; 0 or -ENOMEM
/* The length of the first complete frame's message at b->data + 5, or -EAGAIN, or -EPROTO. */
ssize_t etcd_frame_len(const struct buf *b);

#endif
