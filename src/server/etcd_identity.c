// SPDX-License-Identifier: Apache-2.0
#include "server/etcd_identity.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "server/etcd_rpc.h"
#include "server/pki.h"

#define KEY "/bulkhead/identity"
#define CALL_MS 10000

static const char *const names[] = { "ca.crt", "ca.key", "sa.key" };
#define NAMES (sizeof names / sizeof *names)

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)text };
}

static void path_of(const char *root, const char *name, char out[4096])
{
	snprintf(out, 4096, "%s/pki/%s", root, name);
}

/* Put text there if nothing is; *there: what is there then (new reference, an object). */
static int put_or_get(struct etcd_rpc *rpc, const char *text, json_t **there, struct err *e)
{
	Etcd__Compare compare = ETCD__COMPARE__INIT, *compares[] = { &compare };
	Etcd__RequestOp put_op = ETCD__REQUEST_OP__INIT, get_op = ETCD__REQUEST_OP__INIT, *puts[] = { &put_op }, *gets[] = { &get_op };
	Etcd__PutRequest put = ETCD__PUT_REQUEST__INIT;
	Etcd__RangeRequest get = ETCD__RANGE_REQUEST__INIT;
	Etcd__TxnRequest q = ETCD__TXN_REQUEST__INIT;
	Etcd__TxnResponse *a = NULL;
	struct etcd_call c = { .method = "KV/Txn", .request = &q.base };
	const Etcd__KeyValue *kv = NULL;

	compare.target = ETCD__COMPARE__TARGET__MOD;
	compare.key = put.key = get.key = bytes(KEY);
	compare.target_union_case = ETCD__COMPARE__TARGET_UNION_MOD_REVISION;
	compare.mod_revision = text ? 0 : -1;   // without a text: never, just get
	put_op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_PUT;
	put_op.request_put = &put;
	put.value = bytes(text ? text : "");
	get_op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_RANGE;
	get_op.request_range = &get;
	q.compare = compares;
	q.success = puts;
	q.failure = gets;
	q.n_compare = q.n_success = q.n_failure = 1;
	etcd_rpc_run(rpc, &c, 1, CALL_MS);
	if (c.status == GRPC_OK)
		a = etcd__txn_response__unpack(NULL, c.reply.len, (uint8_t *)c.reply.data);
	if (!a)
		err_set(e, EIO, "store: etcd: %s", *c.why ? c.why : "no usable answer");
	else if (a->succeeded)
		*there = json_loads(text, 0, NULL);
	else if (a->n_responses && a->responses[0]->response_case == ETCD__RESPONSE_OP__RESPONSE_RESPONSE_RANGE &&
		 a->responses[0]->response_range->n_kvs)
		kv = a->responses[0]->response_range->kvs[0];
	if (kv)
		*there = json_loadb((char *)kv->value.data, kv->value.len, 0, NULL);
	etcd_call_fini(&c);
	if (!a)
		return -EIO;
	etcd__txn_response__free_unpacked(a, NULL);
	return 0;
}

static char *read_files(const char *root, struct err *e)
{
	own_json json_t *j = json_object();
	char path[4096];

	for (size_t i = 0; i < NAMES; i++) {
		own_buf struct buf b = BUF_INIT;
		path_of(root, names[i], path);
		if (file_read(path, 65536, &b, e))
			return NULL;
		json_object_set_new(j, names[i], json_stringn(b.data, b.len));
	}
	return json_dumps(j, JSON_COMPACT);
}

static int write_files(const char *root, const json_t *j, struct err *e)
{
	char path[4096];
	int r;

	path_of(root, "", path);
	r = dir_make(path, 0700, e);
	for (size_t i = 0; i < NAMES && !r; i++) {
		const char *text = json_string_value(json_object_get(j, names[i]));
		own_buf struct buf b = BUF_INIT;
		if (!text)
			return err_set(e, EINVAL, "store: etcd: " KEY " has no %s", names[i]);
		path_of(root, names[i], path);
		r = file_read(path, 65536, &b, NULL);
		if (!r && (b.len != strlen(text) || memcmp(b.data, text, b.len)))
			return err_set(e, EEXIST, "%s is not the one of the cluster in etcd: use an empty --root for this server", path);
		if (r)
			r = file_write_atomic(path, text, strlen(text), 0600, e);
	}
	return r;
}

/* What a new cluster begins with: made in a folder of its own, because another server may be faster. */
static char *make_files(const char *root, struct err *e)
{
	char path[4096];
	char *text = NULL;

	path_of(root, "ca.crt", path);
	if (!access(path, F_OK))
		return read_files(root, e);   // this server had a store of its own before
	snprintf(path, sizeof path, "%s/identity.new", root);
	if (!dir_make(path, 0700, e) && !pki_ensure_ca(path, e) && !pki_ensure_sa_key(path, e))
		text = read_files(path, e);
	dir_remove(path, NULL);
	return text;
}

static int share(struct etcd_rpc *rpc, const char *root, struct err *e)
{
	own_json json_t *there = NULL;
	own_free char *mine = NULL;
	int r = put_or_get(rpc, NULL, &there, e);

	if (!r && !there) {
		mine = make_files(root, e);
		r = mine ? put_or_get(rpc, mine, &there, e) : -EIO;
	}
	return r ? r : write_files(root, there, e);
}

int etcd_identity(const char *where, const char *root, struct err *e)
{
	struct etcd_place place;
	struct etcd_rpc *rpc = NULL;
	int r = etcd_place_parse(where, &place, e);

	if (r)
		return r;
	r = etcd_rpc_open(&place, &rpc, e);
	if (!r)
		r = share(rpc, root, e);
	etcd_rpc_close(rpc);
	etcd_place_fini(&place);
	return r;
}
