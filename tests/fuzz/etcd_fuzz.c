// SPDX-License-Identifier: Apache-2.0
// What etcd sends: gRPC frames, one after the other, with answers in them; and the objects that come out of those. The first byte
// chooses the kind of answer. What is a frame is not touched behind its end; text that is no object of ours is refused.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/etcd_rpc.h"
#include "server/obj.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_object(const Etcd__KeyValue *kv)
{
	struct obj *o = NULL;
	char node[OBJ_NODE_MAX];

	if (obj_fill("pods/a/b", (const char *)kv->value.data, kv->value.len, (uint64_t)kv->mod_revision, 1, &o))
		return;
	if (strlen(obj_node(o, node)) != o->node_len || (o->node_len && !obj_is_on(o, node)))
		abort();
	json_decref(obj_json(o));
	obj_unref(o);
}

static void unpack(unsigned kind, const uint8_t *message, size_t len)
{
	if (kind == 0) {
		Etcd__RangeResponse *a = etcd__range_response__unpack(NULL, len, message);
		for (size_t i = 0; a && i < a->n_kvs; i++)
			make_object(a->kvs[i]);
		if (a)
			etcd__range_response__free_unpacked(a, NULL);
	} else if (kind == 1) {
		Etcd__WatchResponse *a = etcd__watch_response__unpack(NULL, len, message);
		for (size_t i = 0; a && i < a->n_events; i++)
			if (a->events[i]->kv)
				make_object(a->events[i]->kv);
		if (a)
			etcd__watch_response__free_unpacked(a, NULL);
	} else {
		Etcd__TxnResponse *a = etcd__txn_response__unpack(NULL, len, message);
		if (a)
			etcd__txn_response__free_unpacked(a, NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b = BUF_INIT;
	ssize_t len;

	if (!size)
		return 0;
	unpack(data[0] % 3, data + 1, size - 1);
	buf_append(&b, data + 1, size - 1);
	while ((len = etcd_frame_len(&b)) >= 0) {
		if ((size_t)len + 5 > b.len)
			abort();
		unpack(data[0] % 3, (uint8_t *)b.data + 5, len);
		buf_consume(&b, 5 + len);
	}
	buf_fini(&b);
	return 0;
}
