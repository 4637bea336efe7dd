// SPDX-License-Identifier: Apache-2.0
// What a filter costs that passes requests on: chains of 0, 1, 2, 4 and 8 of each kind, all open in this process and taking turns
// in short bursts, so that the machine's other work meets all alike; medians of the differences within each round. Beside it what
// a whole request costs the server when it comes over NBD (socket pair, depth 32, no filter).
// Usage: disk-pass FOLDER [ROUNDS]: the table. disk-pass FOLDER count TYPE FILTERS read|write REQUESTS: so many requests, for
// those who count instructions (bench/disk-pass). BULKHEAD_FILTER_PATH must lead to examples/filters/pass.so.
#include <bulkhead/disk.h>
#include <endian.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "disk/nbd/proto.h"
#include "disk/nbd/server.h"

#define DEPTH 32
#define BURST 512u
#define BLOCK 4096u
#define SIZE (1u << 20)      // the processor's own cache holds it: what is left is the way through the layers
#define ROUNDS_MAX 4000

struct slot { struct bh_disk_io io; struct iovec iov; void *buf; };
struct kind { const char *type, *settings; };
struct chain { unsigned kind, n; struct bh_disk *d; struct bh_disk_queue *q; double *ns[2]; };

static const struct kind kinds[] = {
	{ "pass", "" }, { "stats", "" }, { "delay", "" }, { "error", "\"at\":1000000000000" }, { "throttle", "" },
	{ "throttle", "\"iops\":1000000000" }, { "cbt", "\"points\":\"p\"" },
};
static const unsigned counts[] = { 1, 2, 4, 8 };

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define COUNTS (sizeof(counts) / sizeof(counts[0]))
#define CHAINS (1 + KINDS * COUNTS)

static char dir[256];
static unsigned left, inflight, failed;
static struct bh_disk_queue *queue;
static uint64_t state = 88172645463325252ull;

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "disk-pass: %s%s%s\n", what, e ? ": " : "", e ? e->text : "");
	exit(1);
}

static uint64_t somewhere(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % (SIZE / BLOCK) * BLOCK;
}

static double cpu_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- requests to a chain ---- */

static void next(struct slot *s)
{
	if (!left) return;
	left--;
	inflight++;
	s->io.off = somewhere();
	bh_disk_submit(queue, &s->io);
}

static void done(struct bh_disk_io *io, int result)
{
	failed += result < 0;
	inflight--;
	next(io->user);
}

static void requests(struct bh_disk_queue *q, enum bh_disk_op op, unsigned n)
{
	static struct slot slot[DEPTH];

	queue = q;
	left = n;
	for (int i = 0; i < DEPTH; i++) {
		struct slot *s = &slot[i];

		if (!s->buf) s->buf = aligned_alloc(BLOCK, BLOCK);
		if (!s->buf) die("no memory", NULL);
		s->iov = (struct iovec){ s->buf, BLOCK };
		s->io = (struct bh_disk_io){ .op = op, .len = BLOCK, .iov = &s->iov, .iovcnt = 1, .done = done, .user = s };
		next(s);
	}
	while (inflight) {
		struct pollfd p = { .fd = bh_disk_queue_fd(q), .events = POLLIN };

		if (bh_disk_queue_poll(q) == 0 && inflight) poll(&p, 1, -1);
	}
	if (failed) die("requests failed", NULL);
}

static double burst(const struct chain *c, enum bh_disk_op op)
{
	double began = cpu_ns(CLOCK_THREAD_CPUTIME_ID);

	requests(c->q, op, BURST);
	return (cpu_ns(CLOCK_THREAD_CPUTIME_ID) - began) / BURST;
}

static void chain_open(struct chain *c, unsigned number)
{
	static char zero[SIZE];
	char path[320], filters[1024] = "[";
	struct bh_disk_new n = { .size_bytes = SIZE, .filters = filters };
	struct err e = ERR_INIT;
	size_t at = 1;

	for (unsigned i = 0; i < c->n; i++)
		at += (size_t)snprintf(filters + at, sizeof(filters) - at, "%s{\"type\":\"%s\",\"name\":\"f%u\",\"settings\":{%s}}", i ? "," : "",
				       kinds[c->kind].type, i, kinds[c->kind].settings);
	snprintf(filters + at, sizeof(filters) - at, "]");
	snprintf(path, sizeof(path), "%s/%u.bhd", dir, number);
	if (bh_disk_create(path, &n, &e) < 0 || bh_disk_open(path, NULL, &c->d, &e) < 0 ||
	    bh_disk_rw(c->d, BH_DISK_WRITE, 0, zero, SIZE, 0, &e) < 0 || bh_disk_queue_open(c->d, DEPTH, &c->q, &e) < 0)
		die(path, &e);
}

static void chain_close(struct chain *c)
{
	struct err e = ERR_INIT;

	bh_disk_queue_close(c->q);
	if (bh_disk_close(c->d, &e) < 0) die("close", &e);
}

/* ---- a whole request over NBD ---- */

struct session { struct nbd_export x; int fd; };

static void *serve(void *arg)
{
	struct session *s = arg;
	struct err e = ERR_INIT;

	if (nbd_connection(&s->x, s->fd, &e) < 0) die("nbd", &e);
	return NULL;
}

static void go(int fd)
{
	struct { uint32_t flags; uint64_t magic; uint32_t option, len, name; uint16_t infos; } __attribute__((packed)) ask = {
		htobe32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES), htobe64(NBD_OPTS_MAGIC), htobe32(NBD_OPT_GO), htobe32(6), 0, 0 };
	struct { uint64_t magic; uint32_t option, type, len; } __attribute__((packed)) h = { .type = 0 };
	char rest[4096];

	if (fd_read_all(fd, rest, 18) < 0 || fd_write_all(fd, &ask, sizeof(ask)) < 0) die("handshake", NULL);
	while (be32toh(h.type) != NBD_REP_ACK) {
		if (fd_read_all(fd, &h, sizeof(h)) < 0 || be32toh(h.len) > sizeof(rest) || (h.len && fd_read_all(fd, rest, be32toh(h.len)) < 0))
			die("handshake", NULL);
	}
}

static void ask(int fd, enum bh_disk_op op, unsigned n)
{
	static struct { struct nbd_request head; char data[BLOCK]; } __attribute__((packed)) q;

	while (n--) {   // each by itself, as libnbd and QEMU do
		q.head = (struct nbd_request){ htobe32(NBD_REQUEST_MAGIC), 0, htobe16(op == BH_DISK_WRITE ? NBD_CMD_WRITE : NBD_CMD_READ), n,
					       htobe64(somewhere()), htobe32(BLOCK) };
		if (fd_write_all(fd, &q, sizeof(q.head) + (op == BH_DISK_WRITE ? BLOCK : 0)) < 0) die("send", NULL);
	}
}

static double nbd_burst(int fd, clockid_t server, enum bh_disk_op op)
{
	static char in[DEPTH * (BLOCK + 16)];
	size_t one = sizeof(struct nbd_simple) + (op == BH_DISK_READ ? BLOCK : 0), have = 0;
	double began = cpu_ns(server);
	unsigned asked = DEPTH, got = 0;

	for (ask(fd, op, DEPTH); got < BURST;) {
		ssize_t n = recv(fd, in + have, sizeof(in) - have, 0);
		unsigned whole, more;

		if (n <= 0) die("receive", NULL);
		have += (size_t)n;
		whole = (unsigned)(have / one);
		memmove(in, in + whole * one, have - whole * one);
		have -= whole * one;
		got += whole;
		more = BURST - asked < whole ? BURST - asked : whole;
		asked += more;
		if (more) ask(fd, op, more);
	}
	return (cpu_ns(server) - began) / BURST;
}

/* ---- the table ---- */

static int by_size(const void *a, const void *b) { return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b; }

static double median(const double *v, const double *less, unsigned n)
{
	static double sorted[ROUNDS_MAX];

	for (unsigned i = 0; i < n; i++) sorted[i] = v[i] - (less ? less[i] : 0);
	qsort(sorted, n, sizeof(sorted[0]), by_size);
	return sorted[n / 2];
}

static void print(const struct chain *c, double *const whole[2], unsigned rounds)
{
	const struct chain *none = &c[0];

	for (int op = 0; op < 2; op++) {
		double nbd = median(whole[op], NULL, rounds);

		printf("%s: %.0f ns in a chain without filters, %.0f ns of the server when it comes over NBD\n\n", op ? "4k write" : "4k read",
		       median(none->ns[op], NULL, rounds), nbd);
		printf("| ns more than without | 1 | 2 | 4 | 8 | each | of a request over NBD |\n|---|---|---|---|---|---|---|\n");
		for (unsigned k = 0; k < KINDS; k++) {
			double more = 0;

			printf("| %s%s |", kinds[k].type, !strcmp(kinds[k].type, "throttle") ? *kinds[k].settings ? ", not reached" : ", no limits" : "");
			for (unsigned i = 0; i < COUNTS; i++) {
				more = median(c[1 + k * COUNTS + i].ns[op], none->ns[op], rounds);
				printf(" %.0f |", more);
			}
			more /= c[(k + 1) * COUNTS].n;
			printf(" %.1f | %.2f %% |\n", more, more / nbd * 100);
		}
		printf("\n");
	}
}

static void measure(unsigned rounds)
{
	static struct chain chains[CHAINS];
	double *whole[2];
	struct session s;
	clockid_t server;
	pthread_t thread;
	int fd[2];

	for (unsigned i = 0; i < CHAINS; i++) {
		struct chain *c = &chains[i];

		if (i) *c = (struct chain){ .kind = (i - 1) / COUNTS, .n = counts[(i - 1) % COUNTS] };
		if (!strcmp(kinds[c->kind].type, "cbt") && c->n > 1) c->n = 1;   // there can be one of a disk
		chain_open(c, i);
		for (int op = 0; op < 2; op++) c->ns[op] = calloc(rounds, sizeof(double));
	}
	for (int op = 0; op < 2; op++) whole[op] = calloc(rounds, sizeof(double));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0) die("socketpair", NULL);
	s = (struct session){ .x = { .disk = chains[0].d, .name = "", .connections_max = 1 }, .fd = fd[1] };
	if (pthread_create(&thread, NULL, serve, &s) || pthread_getcpuclockid(thread, &server)) die("thread", NULL);
	go(fd[0]);
	for (unsigned k = 0; k < rounds; k++)
		for (int op = 0; op < 2; op++) {
			for (unsigned i = 0; i < CHAINS; i++) {
				struct chain *c = &chains[(i + k) % CHAINS];

				c->ns[op][k] = burst(c, (enum bh_disk_op)op);
			}
			whole[op][k] = nbd_burst(fd[0], server, (enum bh_disk_op)op);
		}
	close(fd[0]);
	pthread_join(thread, NULL);
	print(chains, whole, rounds);
	for (unsigned i = 0; i < CHAINS; i++) chain_close(&chains[i]);
}

static void count(char **arg)
{
	struct chain c = { .n = (unsigned)atoi(arg[1]) };

	while (c.kind < KINDS && strcmp(kinds[c.kind].type, arg[0])) c.kind++;
	if (c.kind == KINDS) die("no such type", NULL);
	chain_open(&c, 0);
	requests(c.q, !strcmp(arg[2], "write") ? BH_DISK_WRITE : BH_DISK_READ, (unsigned)atoi(arg[3]));
	chain_close(&c);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc == 3 ? (unsigned)atoi(argv[2]) : 500;
	bool counting = argc == 7 && !strcmp(argv[2], "count");
	struct err e = ERR_INIT;

	if (argc < 2 || (argc > 3 && !counting) || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: disk-pass FOLDER [ROUNDS] | FOLDER count TYPE FILTERS read|write REQUESTS\n");
		return 2;
	}
	snprintf(dir, sizeof(dir), "%s/bh-pass-XXXXXX", argv[1]);
	if (!mkdtemp(dir)) die(dir, NULL);
	if (counting) count(argv + 3);
	else measure(rounds);
	return dir_remove(dir, &e) < 0;
}
