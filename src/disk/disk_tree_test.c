// SPDX-License-Identifier: Apache-2.0
// Trees of clones, up to 64 deep, each with a random chain of filters and often a key of its own, against plain memory:
// random requests with filters that come, change and go meanwhile, resize, flatten, commit, rebase, remove, reopen, and
// what lies at each filter. Rounds with growing seeds until DISK_TEST_SECONDS (3) have passed; DISK_TEST_SEED (1) is the
// first. A failure names its round: DISK_TEST_SEED=that repeats it, with the same DISK_TEST_ACTIONS.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bulkhead/disk.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "disk/copy.h"
#include "disk/descriptor.h"
#include "disk/queue.h"
#include "disk/test_disk.h"

#define BLOCK 4096u
#define SIZE_MAX_ (1u << 20)
#define NODES 96
#define DEEP 64
#define KEYS 4
#define INFLIGHT 6
#define LOST_SECONDS 60

struct node {
	bool used;
	int parent;                 // -1: none
	unsigned depth, children;
	bool had_children;          // stays read-only
	uint64_t size;
	uint32_t block;
	unsigned char *bytes;       // SIZE_MAX_ of them: what the disk must read as
};

static struct node node[NODES];
static unsigned seed, round_seed, action;
static unsigned done_count[16], deepest, actions;

#define fail_here(fmt, ...) fail_msg("seed %u, action %u: " fmt, round_seed, action, __VA_ARGS__)
static unsigned any(unsigned n) { return (unsigned)rand_r(&seed) % n; }

static const char *path_of(int i)
{
	static char p[4][96];
	static unsigned n;
	char *s = p[n++ % 4];

	snprintf(s, sizeof(p[0]), "%s/n%d.bhd", dir, i);
	return s;
}

static int pick(bool (*want)(const struct node *))
{
	int found = -1;

	for (unsigned i = 0, n = 0; i < NODES; i++)
		if (node[i].used && want(&node[i]) && any(++n) == 0) found = (int)i;
	return found;
}

static bool is_any(const struct node *n) { (void)n; return true; }
static bool is_leaf(const struct node *n) { return !n->children && !n->had_children; }
static bool is_clone_leaf(const struct node *n) { return is_leaf(n) && n->parent >= 0; }
static bool is_deepest(const struct node *n) { return n->depth == deepest; }

/* ---- filters ---- */

static unsigned one_filter(char *out, size_t room, unsigned kind)
{
	switch (kind) {
	case 0: return (unsigned)snprintf(out, room, "{\"type\":\"stats\"}");
	case 1: return (unsigned)snprintf(out, room, "{\"type\":\"throttle\",\"settings\":{\"iops\":10000000}}");
	case 2: return (unsigned)snprintf(out, room, "{\"type\":\"delay\",\"settings\":{\"write\":\"10us\"}}");
	case 3: return (unsigned)snprintf(out, room, "{\"type\":\"cbt\",\"settings\":{\"points\":\"a\"}}");
	case 4: return (unsigned)snprintf(out, room, "{\"type\":\"checksum\"}");
	case 5: return (unsigned)snprintf(out, room, "{\"type\":\"compress\",\"settings\":{\"algorithm\":\"%s\",\"cluster\":\"%uK\"}}",
					  any(2) ? "lz4" : "zstd", 16u << any(3));
	case 6: return (unsigned)snprintf(out, room, "{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key%u\",\"iterations\":1000}}", dir, any(KEYS));
	case 7: return (unsigned)snprintf(out, room, "{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"size\":\"1M\"}}", dir);
	default: return (unsigned)snprintf(out, room, "{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"mode\":\"writeback\",\"journal\":\"4M\"}}", dir);
	}
}

static void random_chain(char *out, size_t room)
{
	static const unsigned one_in[9] = { 5, 5, 8, 6, 4, 4, 3, 6, 6 };
	unsigned n = (unsigned)snprintf(out, room, "[");

	for (unsigned k = 0; k < 9; k++) {
		if (any(one_in[k]) || (k == 8 && strstr(out, "\"cache\""))) continue;
		if (n > 1) out[n++] = ',';
		n += one_filter(out + n, room - n, k);
	}
	snprintf(out + n, room - n, "]");
}

/* ---- nodes ---- */

static int node_free_slot(void)
{
	for (int i = 0; i < NODES; i++)
		if (!node[i].used) return i;
	return -1;
}

static void act_clone(void)
{
	int p = any(4) && deepest < DEEP ? pick(is_deepest) : pick(is_any), i = node_free_slot();
	char filters[1024];
	struct bh_disk_new n = { .filters = filters, .block_bytes = any(6) ? 0 : BLOCK << any(5) };
	struct err e = ERR_INIT;

	if (i < 0 || (p >= 0 && node[p].depth >= DEEP)) return;
	random_chain(filters, sizeof(filters));
	if (p >= 0) n.parent = path_of(p);
	if (p < 0 || any(6) == 0) n.size_bytes = SIZE_MAX_ / 2 + any(SIZE_MAX_ / 4 / 512) * 512;
	ok(bh_disk_create(path_of(i), &n, &e), e);
	node[i] = (struct node){ .used = true, .parent = p, .bytes = calloc(1, SIZE_MAX_), .size = n.size_bytes, .block = n.block_bytes ? n.block_bytes : BLOCK };
	assert_non_null(node[i].bytes);
	if (p < 0) return;
	node[i].depth = node[p].depth + 1;
	if (!n.size_bytes) node[i].size = node[p].size;
	if (!n.block_bytes) node[i].block = node[p].block;
	memcpy(node[i].bytes, node[p].bytes, node[i].size < node[p].size ? node[i].size : node[p].size);
	node[p].children++;
	node[p].had_children = true;
	if (node[i].depth > deepest) deepest = node[i].depth;
}

static void drop(int i)
{
	free(node[i].bytes);
	if (node[i].parent >= 0) node[node[i].parent].children--;
	node[i].used = false;
	deepest = 0;
	for (unsigned k = 0; k < NODES; k++)
		if (node[k].used && node[k].depth > deepest) deepest = node[k].depth;
}

static struct bh_disk *open_node(int i, enum bh_disk_mode mode, const char *at)
{
	struct bh_disk_attr a = { .mode = mode, .at = at, .no_io_uring = any(2) };
	struct bh_disk *d = NULL;
	struct err e = ERR_INIT;

	ok(bh_disk_open(path_of(i), &a, &d, &e), e);
	return d;
}

static void expect(struct bh_disk *d, int i, const char *what)
{
	own_free unsigned char *all = malloc(node[i].size);
	struct err e = ERR_INIT;

	if (bh_disk_rw(d, BH_DISK_READ, 0, all, node[i].size, 0, &e) < 0) fail_here("%s: %s", what, e.text);
	for (uint64_t b = 0; b < node[i].size; b++)
		if (all[b] != node[i].bytes[b])
			fail_here("%s: disk %d (depth %u): byte %lu is %02x, not %02x", what, i, node[i].depth, (unsigned long)b, all[b], node[i].bytes[b]);
}

static void act_read(void)
{
	int i = pick(is_any);
	struct bh_disk *d = open_node(i, BH_DISK_RDONLY, NULL);
	struct err e = ERR_INIT;

	expect(d, i, "read");
	ok(bh_disk_close(d, &e), e);
}

/* ---- requests, with changes of the chain meanwhile ---- */

struct slot { struct bh_disk_io io; struct iovec iov[2]; unsigned char buf[40 << 10]; bool busy; int result; };

static struct slot slot[INFLIGHT];

static void slot_done(struct bh_disk_io *io, int result)
{
	struct slot *s = io->user;

	s->busy = false;
	s->result = result;
}

static void slot_start(struct bh_disk_queue *q, struct slot *s, int i, uint64_t from, uint64_t room)
{
	static const enum bh_disk_op ops[] = { BH_DISK_READ, BH_DISK_READ, BH_DISK_WRITE, BH_DISK_WRITE, BH_DISK_WRITE, BH_DISK_WRITE,
					       BH_DISK_FLUSH, BH_DISK_DISCARD, BH_DISK_WRITE_ZEROES };
	uint64_t most = room < sizeof(s->buf) ? room : sizeof(s->buf), len = 1 + any((unsigned)most), off, cut;

	if (any(2) && len > BLOCK) len = len / BLOCK * BLOCK;
	off = from + any((unsigned)(room - len + 1));
	if (len % BLOCK == 0 && off / BLOCK * BLOCK >= from) off = off / BLOCK * BLOCK;
	cut = any((unsigned)len + 1);
	s->iov[0] = (struct iovec){ s->buf, cut };
	s->iov[1] = (struct iovec){ s->buf + cut, len - cut };
	s->io = (struct bh_disk_io){ .op = ops[any(9)], .flags = any(12) ? 0 : BH_DISK_FUA, .off = off, .len = len, .iov = s->iov, .iovcnt = 2,
				     .done = slot_done, .user = s };
	for (uint64_t b = 0; b < len; b++) s->buf[b] = any(8) ? (unsigned char)(off + b / 64) : (unsigned char)rand_r(&seed);
	if (s->io.op == BH_DISK_WRITE) memcpy(node[i].bytes + off, s->buf, len);
	if (s->io.op == BH_DISK_WRITE_ZEROES) memset(node[i].bytes + off, 0, len);
	s->busy = true;
	bh_disk_submit(q, &s->io);
}

static void lost(struct bh_disk *d, struct bh_disk_queue *q, const struct slot *s)
{
	own_free char *stats = bh_disk_stats(d);

	fail_here("request %d was lost: in flight %u, in the ring %u (%u not submitted, %u complete), ring %d, armed %d, paused %d, "
		  "mailbox %d, held %d, waiting %d; %s", s->io.op, q->inflight, q->in_ring, q->unsubmitted, q->has_ring ? io_uring_cq_ready(&q->ring) : 0,
		  q->has_ring, q->armed, q->paused, !!q->mailbox, !!q->held.head, !!q->waiting.head, stats ? stats : "");
}

static void slot_finish(struct bh_disk *d, struct bh_disk_queue *q, struct slot *s, int i)
{
	struct err e = ERR_INIT;

	while (bh_disk_queue_poll(q), s->busy) {
		struct pollfd p = { .fd = bh_disk_queue_fd(q), .events = POLLIN };
		int waits = 0;

		while (waits < LOST_SECONDS && poll(&p, 1, 1000) == 0) waits++;   // one long wait would end with a jump of the clock
		if (waits == LOST_SECONDS) lost(d, q, s);
	}
	if (s->result) fail_here("request %d at %lu, %lu bytes: %d", s->io.op, (unsigned long)s->io.off, (unsigned long)s->io.len, s->result);
	if (s->io.op == BH_DISK_READ && memcmp(s->buf, node[i].bytes + s->io.off, s->io.len))
		fail_here("disk %d: read of %lu at %lu differs", i, (unsigned long)s->io.len, (unsigned long)s->io.off);
	if (s->io.op == BH_DISK_DISCARD) ok(bh_disk_rw(d, BH_DISK_READ, s->io.off, node[i].bytes + s->io.off, s->io.len, 0, &e), e);
}

/* While requests are in flight. Filters that cannot come or go now say so; anything else is a fault. */
static void change_chain(struct bh_disk *d)
{
	static const char *const types[] = { "stats", "throttle", "delay", "cbt", "cache", "checksum", "error" };
	const char *type = types[any(7)];
	char set[160] = "{}";
	struct err e = ERR_INIT;
	int rc;

	if (!strcmp(type, "cache")) snprintf(set, sizeof(set), "{\"path\":\"%s/cache\",\"mode\":\"%s\",\"journal\":\"4M\"}", dir, any(2) ? "read" : "writeback");
	if (!strcmp(type, "error")) snprintf(set, sizeof(set), "{\"at\":1000000000}");
	switch (any(4)) {
	case 0: rc = bh_disk_filter_remove(d, type, &e); break;
	case 1: rc = bh_disk_filter_set(d, "throttle", any(2) ? "{\"iops\":5000000}" : "{\"iops\":null}", &e); break;
	default: rc = bh_disk_filter_add(d, type, NULL, set, -1, false, &e); break;
	}
	if (rc < 0 && rc != -ENOENT && rc != -EEXIST && rc != -EINVAL && rc != -ENOTEMPTY) fail_here("filter %s: %d %s", type, rc, e.text);
	done_count[8] += rc >= 0;
}

/* A write-back cache does not allow it and says so. */
static void resize(struct bh_disk *d, int i, uint64_t size)
{
	struct err e = ERR_INIT;
	int rc = bh_disk_resize(d, size, &e);

	if (rc == -EBUSY && strstr(e.text, "write-back")) return;
	ok(rc, e);
	if (size > node[i].size) memset(node[i].bytes + node[i].size, 0, size - node[i].size);
	else memset(node[i].bytes + size, 0, SIZE_MAX_ - size);
	node[i].size = size;
}

static void grow(struct bh_disk *d, int i)
{
	uint64_t size = node[i].size + 512ull * any(64);

	if (size <= SIZE_MAX_) resize(d, i, size);
}

static void act_write(void)
{
	int i = pick(is_leaf);
	struct bh_disk_queue *q;
	struct err e = ERR_INIT;
	struct bh_disk *d;

	if (i < 0) return;
	d = open_node(i, BH_DISK_RDWR, NULL);
	ok(bh_disk_queue_open(d, INFLIGHT, &q, &e), e);
	for (unsigned step = 0; step < 12; step++) {
		unsigned n = 1 + any(INFLIGHT);

		for (unsigned k = 0; k < n; k++) slot_start(q, &slot[k], i, node[i].size / n * k, node[i].size / n);
		if (any(4) == 0) change_chain(d);
		for (unsigned k = 0; k < n; k++) slot_finish(d, q, &slot[k], i);
		if (any(16) == 0) grow(d, i);
	}
	bh_disk_queue_close(q);
	if (any(2)) expect(d, i, "after writing");
	ok(bh_disk_close(d, &e), e);
	d = open_node(i, BH_DISK_RDWR, NULL);
	expect(d, i, "opened again");
	ok(bh_disk_close(d, &e), e);
}

/* ---- what lies at each filter ---- */

static void expect_file(struct bh_disk *d, int i, const char *data)
{
	own_free unsigned char *a = calloc(1, node[i].size), *b = calloc(1, node[i].size);
	own_fd int fd = open(data, O_RDONLY | O_CLOEXEC);
	struct err e = ERR_INIT;

	assert_true(fd >= 0 && a && b);
	assert_true(pread(fd, b, node[i].size, 0) >= 0);
	ok(bh_disk_rw(d, BH_DISK_READ, 0, a, node[i].size, 0, &e), e);
	if (memcmp(a, b, node[i].size)) fail_here("disk %d at 'data' is not its data file", i);
}

/* At and above the link a disk reads as it is; at 'data' it is the file. In between lie a clone's own blocks only. */
static void act_at(void)
{
	int i = pick(is_any);
	struct descriptor *desc;
	struct err e = ERR_INIT;
	struct bh_disk *d;

	ok(descriptor_read(path_of(i), &desc, &e), e);
	for (unsigned f = 0; f < desc->nfilters; f++) {
		const char *name = desc->filters[f].name;

		d = open_node(i, BH_DISK_RDONLY, name);
		if (desc->has_parent || f == 0 || !strcmp(name, "encrypt") || !strcmp(name, "compress") || !strcmp(name, "checksum")) expect(d, i, name);
		ok(bh_disk_close(d, &e), e);
		if (!strcmp(name, "link") || !strcmp(name, "compress") || !strcmp(name, "encrypt")) break;
	}
	d = open_node(i, BH_DISK_RDONLY, "data");
	{
		own_free char *data = descriptor_file(desc, desc->data);

		expect_file(d, i, data);
	}
	ok(bh_disk_close(d, &e), e);
	descriptor_free(desc);
}

/* ---- changes of whole disks ---- */

static void act_resize(void)
{
	int i = pick(is_leaf);
	struct err e = ERR_INIT;
	struct bh_disk *d;
	uint64_t size;

	if (i < 0) return;
	d = open_node(i, BH_DISK_RDWR, NULL);
	size = any(2) ? BLOCK * (16 + any(SIZE_MAX_ / BLOCK - 16)) / node[i].block * node[i].block : node[i].size;
	if (size < node[i].size) resize(d, i, size);
	grow(d, i);
	expect(d, i, "resized");
	ok(bh_disk_close(d, &e), e);
}

static void act_flatten(void)
{
	int i = pick(is_clone_leaf);
	struct err e = ERR_INIT;

	if (i < 0 || any(3)) return;
	ok(disk_flatten(path_of(i), NULL, NULL, &e), e);
	node[node[i].parent].children--;
	node[i].parent = -1;
	node[i].depth = 0;
}

static void act_commit(void)
{
	int i = pick(is_clone_leaf), p = i < 0 ? -1 : node[i].parent;
	struct err e = ERR_INIT;

	if (p < 0 || node[p].children != 1 || node[p].size < node[i].size) return;
	ok(disk_commit(path_of(i), NULL, NULL, &e), e);
	memcpy(node[p].bytes, node[i].bytes, node[i].size);
}

static void act_rebase(void)
{
	int i = pick(is_clone_leaf), p = i < 0 ? -1 : node[node[i].parent].parent;
	struct err e = ERR_INIT;

	if (p < 0) return;
	ok(disk_rebase(path_of(i), path_of(p), NULL, NULL, &e), e);
	node[node[i].parent].children--;
	node[p].children++;
	node[i].parent = p;
	node[i].depth = node[p].depth + 1;
}

static void act_remove(void)
{
	int i = pick(is_clone_leaf);
	struct err e = ERR_INIT;

	if (i < 0 || any(4)) return;
	ok(bh_disk_remove(path_of(i), &e), e);
	drop(i);
}

static void fault(void *user, const char *text) { snprintf(user, 256, "%s", text); }

static void check(int i)
{
	char text[256] = "";
	struct err e = ERR_INIT;
	int n = disk_check(path_of(i), false, fault, text, &e);

	ok(n, e);
	if (n > 0) fail_here("check of disk %d: %s", i, text);
}

static void act_check(void) { check(pick(is_any)); }

/* ---- rounds ---- */

static const struct { void (*run)(void); unsigned weight; const char *name; } acts[] = {
	{ act_clone, 8, "clone" }, { act_write, 8, "write" }, { act_read, 2, "read" }, { act_at, 2, "at" }, { act_resize, 1, "resize" },
	{ act_flatten, 1, "flatten" }, { act_commit, 1, "commit" }, { act_rebase, 1, "rebase" }, { NULL, 0, "chain" },
	{ act_remove, 1, "remove" }, { act_check, 1, "check" },
};

static void act_random(void)
{
	unsigned n = any(26);

	for (unsigned k = 0; k < sizeof(acts) / sizeof(acts[0]); k++) {
		if (n < acts[k].weight) {
			done_count[k]++;
			acts[k].run();
			return;
		}
		n -= acts[k].weight;
	}
}

static void one_round(unsigned s)
{
	struct err e = ERR_INIT;

	round_seed = seed = s;
	assert_int_equal(make_dir(NULL), 0);
	for (unsigned k = 0; k < KEYS; k++) {
		char path[96], key[16];

		snprintf(path, sizeof(path), "%s/key%u", dir, k);
		ok(file_write_atomic(path, key, (size_t)snprintf(key, sizeof(key), "secret %u", k), 0600, &e), e);
	}
	deepest = 0;
	act_clone();
	if (s % 2 == 0)   // a deep one
		while (deepest < DEEP && node_free_slot() >= 0) {
			act_clone();
			if (any(4) == 0) act_write();
		}
	for (action = 0; action < actions; action++) act_random();
	for (int i = 0; i < NODES; i++)
		if (node[i].used) {
			struct bh_disk *d = open_node(i, BH_DISK_RDONLY, NULL);

			expect(d, i, "at the end");
			ok(bh_disk_close(d, &e), e);
			check(i);
			free(node[i].bytes);
			node[i].used = false;
		}
	assert_int_equal(remove_dir(NULL), 0);
}

static unsigned knob(const char *name, unsigned fallback) { return getenv(name) ? (unsigned)atoi(getenv(name)) : fallback; }

static void test_trees(void **state)
{
	unsigned first = knob("DISK_TEST_SEED", 1), n = 0;
	unsigned seconds = knob("DISK_TEST_SECONDS", 3);
	uint64_t end = clock_mono_ns() + seconds * NS_PER_S;

	(void)state;
	actions = knob("DISK_TEST_ACTIONS", seconds < 60 ? 50 : 200);
	do one_round(first + n++);
	while (n < 2 || clock_mono_ns() < end);
	print_message("# %u rounds:", n);
	for (unsigned k = 0; k < sizeof(acts) / sizeof(acts[0]); k++) print_message(" %s %u", acts[k].name, done_count[k]);
	print_message("\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_trees) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
