// SPDX-License-Identifier: Apache-2.0
// The store in etcd 3: several servers over one cluster, each with all objects in memory, each following the changes of
// all. Keys:
//   /bulkhead/o/KEY      an object: its text with an empty resourceVersion, which is the key's mod revision plus offset
//   /bulkhead/head       touched by every change: its mod revision is the latest that concerns us
//   /bulkhead/offset     added to revisions; after a restore resourceVersions must not go back
// A write is one transaction: compare the object's mod revision, put or delete, touch the head. So every change has a
// revision of its own, the same on all servers: a watch can go on at another one.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "server/etcd_rpc.h"
#include "server/etcd_watch.h"
#include "server/store.h"

#define OBJECTS "/bulkhead/o/"
#define OBJECTS_END "/bulkhead/o0"     // '0' is behind '/'
#define HEAD "/bulkhead/head"
#define OFFSET "/bulkhead/offset"
#define PAGE 500
#define CALL_MS 10000
#define PAST_REVISIONS 4000            // changes before the start that the history begins with, so that watches can go on

struct etcd {
	struct etcd_place place;
	struct etcd_rpc *writes, *asks, *reads;   // of the committer, of store_refresh, of the loading (then watching) thread
	struct etcd_watch *watch;
	const struct store_feed *feed;
	uint64_t offset;
	int64_t loaded;                // revision that load read
	_Atomic int64_t seen;          // latest revision that the watch brought
	int64_t old_revision;          // seen `keep_s` ago
	uint64_t old_ns;
};

/* --- calls --- */

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)text };
}

static int call_errno(const struct etcd_call *c)
{
	switch (c->status) {
	case GRPC_OK: return 0;
	case -1: return -ETIMEDOUT;
	case GRPC_OUT_OF_RANGE: return -ERANGE;
	case GRPC_EXHAUSTED: return strstr(c->why, "space") ? -ENOSPC : -EFBIG;
	case GRPC_INVALID: return strstr(c->why, "too large") ? -EFBIG : -EINVAL;
	default: return -EIO;
	}
}

static int range(struct etcd_rpc *rpc, const Etcd__RangeRequest *q, Etcd__RangeResponse **out, struct err *e)
{
	struct etcd_call c = { .method = "KV/Range", .request = &q->base };
	int r;

	etcd_rpc_run(rpc, &c, 1, CALL_MS);
	r = call_errno(&c);
	if (!r && !(*out = etcd__range_response__unpack(NULL, c.reply.len, (uint8_t *)c.reply.data)))
		r = -EPROTO;
	if (r)
		err_set(e, -r, "store: etcd: %s", *c.why ? c.why : strerror(-r));
	etcd_call_fini(&c);
	return r;
}

/* The one key; *rev: the revision now (may be NULL), *mod: the key's (0: absent), number: its value as a number. */
static int get_key(struct etcd_rpc *rpc, const char *key, int64_t *rev, int64_t *mod, uint64_t *number, struct err *e)
{
	Etcd__RangeRequest q = ETCD__RANGE_REQUEST__INIT;
	Etcd__RangeResponse *a;
	int r;

	q.key = bytes(key);
	r = range(rpc, &q, &a, e);
	if (r)
		return r;
	if (rev)
		*rev = a->header ? a->header->revision : 0;
	*mod = a->n_kvs ? a->kvs[0]->mod_revision : 0;
	if (number) {
		char digits[24] = "";
		if (a->n_kvs && a->kvs[0]->value.len < sizeof digits)
			memcpy(digits, a->kvs[0]->value.data, a->kvs[0]->value.len);
		*number = strtoull(digits, NULL, 10);
	}
	etcd__range_response__free_unpacked(a, NULL);
	return 0;
}

/* --- loading --- */

static int make_obj(struct etcd *d, const Etcd__KeyValue *kv, struct obj **out)
{
	char key[1024];
	size_t skip = strlen(OBJECTS), n = kv->key.len - skip;

	if (kv->key.len <= skip || memcmp(kv->key.data, OBJECTS, skip) || n >= sizeof key || memchr(kv->key.data, 0, kv->key.len))
		return -EINVAL;
	memcpy(key, kv->key.data + skip, n);
	key[n] = '\0';
	return obj_fill(key, (char *)kv->value.data, kv->value.len, kv->mod_revision + d->offset, kv->create_revision + d->offset,
			out);
}

static int load_page(struct etcd *d, const Etcd__RangeResponse *a, int (*each)(void *user, struct obj *o), void *user,
		     struct err *e)
{
	for (size_t i = 0; i < a->n_kvs; i++) {
		const Etcd__KeyValue *kv = a->kvs[i];
		struct obj *o = NULL;
		int r = make_obj(d, kv, &o);
		if (!r)
			r = each(user, o);
		if (r)
			return err_set(e, -r, "store: etcd: %.*s: %s", (int)kv->key.len, (char *)kv->key.data,
				       r == -EINVAL ? "is no object of ours; restore a backup" : strerror(-r));
	}
	return 0;
}

/* All objects as they were at a revision. -ERANGE: it is compacted away, and no object was given. */
static int load_at(struct etcd *d, int64_t revision, int (*each)(void *user, struct obj *o), void *user, struct err *e)
{
	own_buf struct buf from = BUF_INIT;
	bool more = true;
	int r = buf_puts(&from, OBJECTS);

	while (!r && more) {
		Etcd__RangeRequest q = ETCD__RANGE_REQUEST__INIT;
		Etcd__RangeResponse *a = NULL;
		q.key = (ProtobufCBinaryData){ from.len, (uint8_t *)from.data };
		q.range_end = bytes(OBJECTS_END);
		q.limit = PAGE;
		q.revision = revision;
		r = range(d->reads, &q, &a, e);
		if (r)
			return r == -ERANGE && from.len > strlen(OBJECTS) ? err_set(e, EIO, "store: etcd compacted too early") : r;
		r = load_page(d, a, each, user, e);
		more = a->more && a->n_kvs;
		if (!r && more) {   // the next key that there can be
			const ProtobufCBinaryData *last = &a->kvs[a->n_kvs - 1]->key;
			from.len = 0;
			r = buf_append(&from, last->data, last->len) || buf_append(&from, "", 1) ? -ENOMEM : 0;
		}
		etcd__range_response__free_unpacked(a, NULL);
	}
	return r;
}

static int etcd_load(void *handle, int (*each)(void *user, struct obj *o), void *user, uint64_t *rv, struct err *e)
{
	struct etcd *d = handle;
	int64_t now, head, first;
	int r = get_key(d->reads, OFFSET, &now, &head, &d->offset, e);

	if (r)
		return r;
	first = d->feed || now <= PAST_REVISIONS ? 1 : now - PAST_REVISIONS;
	if (d->feed || (r = load_at(d, first, each, user, e)) == -ERANGE) {   // after a loss: as it is now
		first = now;
		r = load_at(d, first, each, user, e);
	}
	if (r)
		return r;
	d->loaded = d->old_revision = first;
	d->seen = first;
	*rv = first + d->offset;
	return 0;
}

/* --- writing --- */

struct txn {
	Etcd__TxnRequest request;
	Etcd__Compare compare, *compares[1];
	Etcd__RequestOp op, head_op, now_op, last_op, *success[2], *failure[2];
	Etcd__PutRequest put, head;
	Etcd__DeleteRangeRequest del;
	Etcd__RangeRequest now, last;
	char key[1200];
};

static void make_txn(struct etcd *d, const struct store_write *w, struct txn *t)
{
	etcd__txn_request__init(&t->request);
	etcd__compare__init(&t->compare);
	etcd__request_op__init(&t->op);
	etcd__request_op__init(&t->head_op);
	etcd__request_op__init(&t->now_op);
	etcd__request_op__init(&t->last_op);
	etcd__put_request__init(&t->put);
	etcd__put_request__init(&t->head);
	etcd__delete_range_request__init(&t->del);
	etcd__range_request__init(&t->now);
	etcd__range_request__init(&t->last);
	snprintf(t->key, sizeof t->key, OBJECTS "%s", obj_key(w->obj));
	t->compare.target = ETCD__COMPARE__TARGET__MOD;
	t->compare.key = bytes(t->key);
	t->compare.target_union_case = ETCD__COMPARE__TARGET_UNION_MOD_REVISION;
	t->compare.mod_revision = w->expect ? w->expect - d->offset : 0;   // 0: there is none
	if (w->remove) {
		t->del.key = bytes(t->key);
		t->op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		t->op.request_delete_range = &t->del;
	} else {
		t->put.key = bytes(t->key);
		t->put.value = (ProtobufCBinaryData){ w->obj->text_len, (uint8_t *)obj_text(w->obj) };
		t->op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_PUT;
		t->op.request_put = &t->put;
	}
	t->head.key = bytes(HEAD);
	t->head_op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_PUT;
	t->head_op.request_put = &t->head;
	t->now.key = bytes(t->key);
	t->now_op.request_case = t->last_op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_RANGE;
	t->now_op.request_range = &t->now;
	t->last.key = bytes(HEAD);
	t->last_op.request_range = &t->last;
	t->compares[0] = &t->compare;
	t->success[0] = &t->op;
	t->success[1] = &t->head_op;
	t->failure[0] = &t->now_op;
	t->failure[1] = &t->last_op;
	t->request.compare = t->compares;
	t->request.n_compare = 1;
	t->request.success = t->success;
	t->request.n_success = 2;
	t->request.failure = t->failure;
	t->request.n_failure = 2;
}

static void set_committed(struct etcd *d, struct store_write *w, int64_t revision)
{
	obj_set_rv(w->obj, revision + d->offset);
	if (!w->expect)
		w->obj->created_rv = w->obj->rv;
	w->basis = w->obj->rv;
	w->result = 0;
}

/* What a read within a transaction found; NULL: nothing. */
static const Etcd__KeyValue *found(const Etcd__TxnResponse *a, size_t i)
{
	const Etcd__ResponseOp *op = i < a->n_responses ? a->responses[i] : NULL;

	return op && op->response_case == ETCD__RESPONSE_OP__RESPONSE_RESPONSE_RANGE && op->response_range->n_kvs
		? op->response_range->kvs[0] : NULL;
}

/* The expectation was not met. If an earlier attempt of this very write may have been carried out, what is there tells;
 * when it does not, nobody can say. */
static void set_refused(struct etcd *d, struct store_write *w, const Etcd__TxnResponse *a, bool uncertain)
{
	const Etcd__KeyValue *kv = found(a, 0), *last = found(a, 1);

	w->basis = last ? last->mod_revision + d->offset : 0;
	if (uncertain && kv && !w->remove && kv->value.len == w->obj->text_len &&
	    !memcmp(kv->value.data, obj_text(w->obj), kv->value.len))
		set_committed(d, w, kv->mod_revision);
	else if (uncertain)
		w->result = -ETIMEDOUT;
	else
		w->result = !w->expect ? -EEXIST : kv ? -ESTALE : -ENOENT;
}

static void take_outcome(struct etcd *d, struct store_write *w, const struct etcd_call *c)
{
	Etcd__TxnResponse *a = NULL;
	int r = call_errno(c);

	if (!r && !(a = etcd__txn_response__unpack(NULL, c->reply.len, (uint8_t *)c->reply.data)))
		r = -EPROTO;
	if (r) {
		log_limited(LOG_LEVEL_ERROR, "store", "etcd: %s", *c->why ? c->why : strerror(-r));
		w->result = r;
	} else if (a->succeeded && a->header) {
		set_committed(d, w, a->header->revision);
	} else {
		set_refused(d, w, a, c->uncertain);
	}
	if (a)
		etcd__txn_response__free_unpacked(a, NULL);
}

static int etcd_commit(void *handle, struct store_write *const *w, size_t n, struct err *e)
{
	struct etcd *d = handle;
	struct etcd_call *calls = calloc(n, sizeof *calls);
	struct txn *txns = calloc(n, sizeof *txns);

	if (!calls || !txns) {
		free(calls);
		free(txns);
		return err_set(e, ENOMEM, "store: out of memory");
	}
	for (size_t i = 0; i < n; i++) {
		make_txn(d, w[i], &txns[i]);
		calls[i].method = "KV/Txn";
		calls[i].request = &txns[i].request.base;
	}
	etcd_rpc_run(d->writes, calls, n, CALL_MS);
	for (size_t i = 0; i < n; i++) {
		take_outcome(d, w[i], &calls[i]);
		etcd_call_fini(&calls[i]);
	}
	free(calls);
	free(txns);
	return 0;
}

static int etcd_latest(void *handle, uint64_t *rv, struct err *e)
{
	struct etcd *d = handle;
	int64_t mod;
	int r = get_key(d->asks, HEAD, NULL, &mod, NULL, e);

	if (!r)
		*rv = mod ? mod + d->offset : 0;
	return r;
}

/* From now on every resourceVersion is so much larger than etcd's revision. */
static int etcd_skip(void *handle, uint64_t rv, struct err *e)
{
	struct etcd *d = handle;
	Etcd__RequestOp op = ETCD__REQUEST_OP__INIT, *ops[] = { &op };
	Etcd__PutRequest put = ETCD__PUT_REQUEST__INIT;
	Etcd__TxnRequest q = ETCD__TXN_REQUEST__INIT;
	struct etcd_call c = { .method = "KV/Txn", .request = &q.base };
	char digits[24];
	int r;

	snprintf(digits, sizeof digits, "%llu", (unsigned long long)rv);
	put.key = bytes(OFFSET);
	put.value = bytes(digits);
	op.request_case = ETCD__REQUEST_OP__REQUEST_REQUEST_PUT;
	op.request_put = &put;
	q.success = ops;
	q.n_success = 1;
	etcd_rpc_run(d->writes, &c, 1, CALL_MS);
	r = call_errno(&c);
	if (r)
		err_set(e, -r, "store: etcd: %s", *c.why ? c.why : strerror(-r));
	else
		d->offset = rv;
	etcd_call_fini(&c);
	return r;
}

/* --- following --- */

static void on_events(void *user, Etcd__Event *const *events, size_t n)
{
	struct etcd *d = user;
	struct store_change *changes = calloc(n, sizeof *changes);
	size_t skip = strlen(OBJECTS);

	for (size_t i = 0; changes && i < n; i++) {
		const Etcd__KeyValue *kv = events[i]->kv;
		struct store_change *c = &changes[i];
		int r = 0;
		c->rv = kv->mod_revision + d->offset;
		if (kv->key.len <= skip || kv->key.len - skip >= sizeof c->key)
			r = -EINVAL;
		else
			snprintf(c->key, sizeof c->key, "%.*s", (int)(kv->key.len - skip), (char *)kv->key.data + skip);
		if (!r && events[i]->type == ETCD__EVENT__TYPE__PUT)
			r = make_obj(d, kv, &c->obj);
		if (r == -EINVAL) {
			log_limited(LOG_LEVEL_ERROR, "store", "etcd: %.*s was written by somebody else", (int)kv->key.len, (char *)kv->key.data);
			c->key[0] = '\0';
		} else if (r) {
			log_error("store", "out of memory while following etcd; restarting to read it again");
			abort();
		}
	}
	if (!changes) {
		log_error("store", "out of memory while following etcd; restarting to read it again");
		abort();
	}
	d->feed->changed(d->feed->user, changes, n);
	d->seen = events[n - 1]->kv->mod_revision;
	free(changes);
}

static int64_t on_lost(void *user)
{
	struct etcd *d = user;
	int r = d->feed->reload(d->feed->user);

	return r ? r : d->loaded;
}

/* Let etcd forget revisions that are older than keep_s. Every server does; the second finds nothing to do. */
static void on_tick(void *user)
{
	struct etcd *d = user;
	Etcd__CompactionRequest q = ETCD__COMPACTION_REQUEST__INIT;
	struct etcd_call c = { .method = "KV/Compact", .request = &q.base };
	uint64_t now = clock_mono_ns();

	if (now - d->old_ns < d->place.keep_s * NS_PER_S)
		return;
	q.revision = d->old_revision;
	d->old_ns = now;
	d->old_revision = d->seen;
	if (q.revision > 1) {
		etcd_rpc_run(d->reads, &c, 1, 2000);
		if (c.status != GRPC_OK && c.status != GRPC_OUT_OF_RANGE)
			log_limited(LOG_LEVEL_WARN, "store", "etcd: compaction: %s", c.why);
	}
	etcd_call_fini(&c);
}

static const struct etcd_watch_ops following = { .events = on_events, .lost = on_lost, .tick = on_tick };

static int etcd_follow(void *handle, const struct store_feed *feed, struct err *e)
{
	struct etcd *d = handle;

	d->feed = feed;
	d->old_ns = clock_mono_ns();
	return etcd_watch_start(&d->place, OBJECTS, OBJECTS_END, d->loaded, &following, d, &d->watch, e);
}

static void etcd_hurry(void *handle)
{
	struct etcd *d = handle;

	etcd_watch_hurry(d->watch);
}

/* --- opening --- */

static void etcd_close(void *handle)
{
	struct etcd *d = handle;

	etcd_watch_stop(d->watch);
	etcd_rpc_close(d->writes);
	etcd_rpc_close(d->asks);
	etcd_rpc_close(d->reads);
	etcd_place_fini(&d->place);
	free(d);
}

static int etcd_open(const char *where, void **handle, struct err *e)
{
	struct etcd *d = calloc(1, sizeof *d);
	int r;

	if (!d)
		return err_set(e, ENOMEM, "store: out of memory");
	r = etcd_place_parse(where, &d->place, e);
	if (!r)
		r = etcd_rpc_open(&d->place, &d->writes, e);
	if (!r)
		r = etcd_rpc_open(&d->place, &d->asks, e);
	if (!r)
		r = etcd_rpc_open(&d->place, &d->reads, e);
	if (r) {
		etcd_close(d);
		return r;
	}
	*handle = d;
	return 0;
}

const struct store_ops store_etcd_ops = {
	.name = "etcd",
	.open = etcd_open,
	.load = etcd_load,
	.commit = etcd_commit,
	.skip = etcd_skip,
	.follow = etcd_follow,
	.latest = etcd_latest,
	.hurry = etcd_hurry,
	.close = etcd_close,
};
