// SPDX-License-Identifier: Apache-2.0
// What each filter costs: microseconds of CPU per 4 KiB request at depth 32 on one queue of one disk in this process,
// workers included, data in the page cache. All disks take turns for several rounds; each figure is the least of its rounds, the one that the
// machine's other work disturbed least. Usage: disk-filters [FOLDER [MIB [ROUNDS]]]
#include <bulkhead/disk.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"

#define DEPTH 32
#define REQUESTS 10000
#define BLOCK 4096u

struct row { const char *name, *filters; unsigned clones; double us[2]; };

static struct row rows[] = {
	{ "no filter", "[]", 0, { 1e9, 1e9 } },
	{ "link (a clone)", "[]", 1, { 1e9, 1e9 } },
	{ "link, 64 deep", "[]", 64, { 1e9, 1e9 } },
	{ "stats", "[{\"type\":\"stats\"}]", 0, { 1e9, 1e9 } },
	{ "throttle, not reached", "[{\"type\":\"throttle\",\"settings\":{\"iops\":100000000}}]", 0, { 1e9, 1e9 } },
	{ "delay, none set", "[{\"type\":\"delay\"}]", 0, { 1e9, 1e9 } },
	{ "error, never", "[{\"type\":\"error\",\"settings\":{\"at\":1000000000000}}]", 0, { 1e9, 1e9 } },
	{ "cbt", "[{\"type\":\"cbt\",\"settings\":{\"points\":\"p\"}}]", 0, { 1e9, 1e9 } },
	{ "checksum", "[{\"type\":\"checksum\"}]", 0, { 1e9, 1e9 } },
	{ "encrypt", "[{\"type\":\"encrypt\",\"settings\":{\"key-file\":\"%s/key\",\"iterations\":1000}}]", 0, { 1e9, 1e9 } },
	{ "compress, lz4", "[{\"type\":\"compress\",\"settings\":{\"algorithm\":\"lz4\"}}]", 0, { 1e9, 1e9 } },
	{ "compress, zstd", "[{\"type\":\"compress\"}]", 0, { 1e9, 1e9 } },
	{ "cache, of reads", "[{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\"}}]", 0, { 1e9, 1e9 } },
	{ "cache, write-back", "[{\"type\":\"cache\",\"settings\":{\"path\":\"%s/cache\",\"mode\":\"writeback\"}}]", 0, { 1e9, 1e9 } },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct slot { struct bh_disk_io io; struct iovec iov; void *buf; };

static char dir[256];
static uint64_t size = 256u << 20, state = 88172645463325252ull;
static unsigned left, inflight, failed;
static struct bh_disk_queue *queue;

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "disk-filters: %s: %s\n", what, e->text);
	exit(1);
}

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void next(struct slot *s)
{
	if (!left) return;
	left--;
	inflight++;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	s->io.off = state % (size / BLOCK) * BLOCK;
	bh_disk_submit(queue, &s->io);
}

static void done(struct bh_disk_io *io, int result)
{
	failed += result < 0;
	inflight--;
	next(io->user);
}

static double run(struct bh_disk *d, enum bh_disk_op op)
{
	static struct slot slot[DEPTH];
	struct err e = ERR_INIT;
	double began;

	if (bh_disk_queue_open(d, DEPTH, &queue, &e) < 0) die("queue", &e);
	left = REQUESTS;
	began = cpu_us();
	for (int i = 0; i < DEPTH; i++) {
		struct slot *s = &slot[i];

		if (!s->buf) s->buf = aligned_alloc(BLOCK, BLOCK);
		for (unsigned k = 0; k < BLOCK / 8; k++) ((uint64_t *)s->buf)[k] = k % 4 ? k : state * (k + 1);   // compresses by half or so
		s->iov = (struct iovec){ s->buf, BLOCK };
		s->io = (struct bh_disk_io){ .op = op, .len = BLOCK, .iov = &s->iov, .iovcnt = 1, .done = done, .user = s };
		next(s);
	}
	while (inflight) {
		struct pollfd p = { .fd = bh_disk_queue_fd(queue), .events = POLLIN };

		if (bh_disk_queue_poll(queue) == 0 && inflight) poll(&p, 1, -1);
	}
	bh_disk_queue_close(queue);
	if (failed) {
		fprintf(stderr, "disk-filters: %u requests failed\n", failed);
		exit(1);
	}
	return (cpu_us() - began) / REQUESTS;
}

static void fill(const char *path)
{
	static uint64_t buf[8192];
	struct err e = ERR_INIT;
	struct bh_disk *d;

	if (bh_disk_open(path, NULL, &d, &e) < 0) die(path, &e);
	for (uint64_t off = 0; off < size; off += sizeof(buf)) {
		for (unsigned k = 0; k < 8192; k++) buf[k] = k % 4 ? k : off * (k + 1) * 0x9e3779b97f4a7c15ull;
		if (bh_disk_rw(d, BH_DISK_WRITE, off, buf, sizeof(buf), 0, &e) < 0) die(path, &e);
	}
	if (bh_disk_close(d, &e) < 0) die(path, &e);
}

static void make(unsigned i, char *path, size_t room)
{
	char filters[512], parent[320];
	struct bh_disk_new n = { .size_bytes = size, .filters = filters };
	struct err e = ERR_INIT;

	snprintf(filters, sizeof(filters), rows[i].filters, dir);
	snprintf(path, room, "%s/d%u.bhd", dir, i);
	if (bh_disk_create(path, &n, &e) < 0) die(path, &e);
	fill(path);
	for (unsigned c = 1; c <= rows[i].clones; c++) {
		snprintf(parent, sizeof(parent), "%s", path);
		snprintf(path, room, "%s/d%u-%u.bhd", dir, i, c);
		if (bh_disk_clone(parent, path, &e) < 0) die(path, &e);
	}
}

static void measure(struct row *r, const char *path)
{
	struct err e = ERR_INIT;
	struct bh_disk *d;

	if (bh_disk_open(path, NULL, &d, &e) < 0) die(path, &e);
	for (int op = BH_DISK_READ; op <= BH_DISK_WRITE; op++) {
		double us = run(d, (enum bh_disk_op)op);

		if (us < r->us[op]) r->us[op] = us;
	}
	if (bh_disk_close(d, &e) < 0) die(path, &e);
}

int main(int argc, char **argv)
{
	static char path[ROWS][320];
	int rounds = argc > 3 ? atoi(argv[3]) : 5;
	char key[300];
	struct err e = ERR_INIT;

	if (argc > 2) size = (uint64_t)atoi(argv[2]) << 20;
	if (rounds < 1 || size < 1u << 20) {
		fprintf(stderr, "usage: disk-filters [FOLDER [MIB [ROUNDS]]]\n");
		return 2;
	}
	snprintf(dir, sizeof(dir), "%s/bh-filters-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (!mkdtemp(dir)) return 1;
	snprintf(key, sizeof(key), "%s/key", dir);
	if (file_write_atomic(key, "key", 3, 0600, &e) < 0) die(key, &e);
	for (unsigned i = 0; i < ROWS; i++) make(i, path[i], sizeof(path[i]));
	for (int k = 0; k < rounds; k++)
		for (unsigned i = 0; i < ROWS; i++) measure(&rows[i], path[i]);
	printf("| filter | read | more than none | write | more than none |\n|---|---|---|---|---|\n");
	for (unsigned i = 0; i < ROWS; i++)
		printf("| %s | %.2f | %+.2f | %.2f | %+.2f |\n", rows[i].name, rows[i].us[0], rows[i].us[0] - rows[0].us[0], rows[i].us[1],
		       rows[i].us[1] - rows[0].us[1]);
	return dir_remove(dir, &e) < 0;
}
