// SPDX-License-Identifier: Apache-2.0
// End-to-end latency of a fault: a process touches pages that are not there, and measures how long each touch takes.
// Beside it, in turns in the same run, a bare handler: a process that waits for the fault, copies a page, and does nothing
// else, with the priority that pagerd's readers have. 1, 2 and 8 faulting processes at once. Needs userfaultfd. Prints a table for docs/pager.md.
//
//	pager-fault-bench PAGERD [ROUNDS]        (the program; default 5 rounds; medians of the rounds)
//
// What is touched: template pages (copied) or zeros, in random order over 64 MiB, with one page or sixteen at a time. The
// figures for sixteen are per page touched: most touches then find their page there. The last row is of one process that
// touches a page a millisecond beside three that touch all they can.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/userfaultfd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/usock.h"
#include "pagerd/proto/pager_msg.h"
#include "base/uffd.h"

enum { PAGES = 16384, TOUCHES = 2000, QUIET = 100, GUESTS = 8, PAGE = 4096 };
#define BYTES ((uint64_t)PAGES * PAGE)

struct result { uint32_t p50_ns, p99_ns, mean_ns; uint64_t total_ns; };
struct guest { pid_t pid; int sock, uffd, memfd; uint64_t address; };

static char dir[] = "/tmp/bh-pager-fault-XXXXXX", control[96], store[96];
static int image;

static void must(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static struct result touch(volatile unsigned char *memory)
{
	static uint32_t ns[TOUCHES];
	struct result r = { 0 };
	uint64_t begin = clock_mono_ns(), last = begin;
	for (uint32_t i = 0; i < TOUCHES; i++) {
		uint64_t page = (uint64_t)i * 7919 % PAGES;
		(void)memory[page * PAGE];
		uint64_t now = clock_mono_ns();
		ns[i] = (uint32_t)(now - last);
		last = now;
	}
	r.total_ns = last - begin;
	qsort(ns, TOUCHES, sizeof(ns[0]), by_value);
	r.p50_ns = ns[TOUCHES / 2];
	r.p99_ns = ns[TOUCHES * 99 / 100];
	r.mean_ns = (uint32_t)(r.total_ns / TOUCHES);
	return r;
}

/* One page in each millisecond. */
static struct result touch_quietly(volatile unsigned char *memory)
{
	static uint32_t ns[QUIET];
	struct result r = { 0 };
	for (uint32_t i = 0; i < QUIET; i++) {
		usleep(1000);
		uint64_t start = clock_mono_ns();
		(void)memory[(uint64_t)i * 7919 % PAGES * PAGE];
		ns[i] = (uint32_t)(clock_mono_ns() - start);
		r.mean_ns += ns[i] / QUIET;
	}
	qsort(ns, QUIET, sizeof(ns[0]), by_value);
	r.p50_ns = ns[QUIET / 2];
	r.p99_ns = ns[QUIET * 99 / 100];
	return r;
}

static struct result flood(volatile unsigned char *memory)
{
	struct result r = { 0 };
	for (uint64_t i = 0; i < PAGES; i++)
		(void)memory[i * 7919 % PAGES * PAGE];
	return r;
}

typedef struct result behaviour(volatile unsigned char *memory);

static struct guest guest_start(behaviour *fn)
{
	struct guest g = { .uffd = -1 };
	int s[2];
	g.memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	must(g.memfd >= 0 && !ftruncate(g.memfd, BYTES) && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), "guest");
	g.pid = fork();
	if (g.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		void *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, g.memfd, 0);
		int uffd = uffd_open();
		uint64_t address = (uintptr_t)memory;
		char go;
		if (uffd < 0 || usock_send(s[1], &address, sizeof(address), &uffd, 1) || recv(s[1], &go, 1, 0) != 1)
			_exit(1);
		struct result r = fn(memory);
		_exit(send(s[1], &r, sizeof(r), 0) != sizeof(r));
	}
	size_t n = 1;
	close(s[1]);
	g.sock = s[0];
	must(usock_recv(g.sock, &g.address, sizeof(g.address), &g.uffd, &n) == sizeof(g.address) && n == 1, "guest");
	return g;
}

static void guest_end(struct guest *g)
{
	waitpid(g->pid, NULL, 0);
	close(g->sock);
	close(g->uffd);
	close(g->memfd);
}

// ---- The floor ----

static void bare(const struct guest *g, uint32_t guests, bool zero)
{
	setpriority(PRIO_PROCESS, 0, -10);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct pollfd p[GUESTS];
	unsigned char *from = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, image, 0);
	for (uint32_t i = 0; i < guests; i++)
		p[i] = (struct pollfd){ .fd = g[i].uffd, .events = POLLIN };
	for (;;) {
		poll(p, guests, -1);
		for (uint32_t i = 0; i < guests; i++) {
			struct uffd_msg m;
			uint64_t done;
			if (!p[i].revents || read(p[i].fd, &m, sizeof(m)) != sizeof(m))
				continue;
			uint64_t at = m.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
			uffd_copy(p[i].fd, at, zero ? NULL : from + (at - g[i].address), PAGE, &done);
		}
	}
}

static pid_t bare_start(const struct guest *g, uint32_t guests, bool zero)
{
	for (uint32_t i = 0; i < guests; i++)
		must(!uffd_check(g[i].uffd) && !uffd_register(g[i].uffd, g[i].address, BYTES), "register");
	pid_t pid = fork();
	if (pid == 0)
		bare(g, guests, zero);
	return pid;
}

// ---- pagerd ----

static pid_t pagerd_start(const char *program, const char *cluster, int *sock)
{
	struct err e = ERR_INIT;
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(2);
		execl(program, "bulkhead-pagerd", "--control", control, "--store", store, "--store-mib", "64", "--cluster", cluster,
			(char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 500; i++, usleep(10000)) {
		*sock = usock_connect(control, SOCK_SEQPACKET, &e);
		if (*sock >= 0)
			return pid;
	}
	must(false, "pagerd does not start");
	return 0;
}

static void attach(int sock, const struct guest *g, uint32_t n, bool zero)
{
	struct pager_attach a = { .head = { PAGER_MSG_VERSION, PAGER_MSG_ATTACH, n }, .memory_bytes = BYTES, .maps = 1, .vads = 1,
		.map = { { .address = g->address, .length = BYTES, .fd = 1 } },
		.vad = { { .kind = zero ? PAGER_VAD_ZERO : PAGER_VAD_TEMPLATE, .fd = 2, .pages = PAGES } } };
	struct pager_error reply;
	int fds[3] = { g->memfd, g->uffd, image };
	size_t none = 0;
	snprintf((char *)a.vm, sizeof(a.vm), "bench %u", n);
	must(!usock_send(sock, &a, sizeof(a), fds, 3) && usock_recv(sock, &reply, sizeof(reply), NULL, &none) > 0
		&& reply.head.type == PAGER_MSG_ATTACH, "attach");
}

// ---- One round: fresh guests, one of the handlers ----

static struct result round_of(const char *program, const char *cluster, uint32_t guests, bool zero, bool fair)
{
	struct guest g[GUESTS];
	struct result r, sum = { 0 };
	int sock = -1;
	for (uint32_t i = 0; i < guests; i++)
		g[i] = guest_start(!fair ? touch : i ? flood : touch_quietly);
	pid_t handler = program ? pagerd_start(program, cluster, &sock) : bare_start(g, guests, zero);
	for (uint32_t i = 0; program && i < guests; i++)
		attach(sock, &g[i], i, zero);
	uint64_t start = clock_mono_ns();
	for (uint32_t i = 0; i < guests; i++)
		must(send(g[i].sock, "g", 1, 0) == 1, "go");
	for (uint32_t i = 0; i < guests; i++) {
		must(recv(g[i].sock, &r, sizeof(r), 0) == sizeof(r), "result");
		uint32_t of = fair ? 1 : guests;               // of all, or of the quiet one
		sum.p50_ns += r.p50_ns / of;
		sum.p99_ns += r.p99_ns / of;
		sum.mean_ns += r.mean_ns / of;
	}
	sum.total_ns = clock_mono_ns() - start;
	kill(handler, SIGKILL);
	waitpid(handler, NULL, 0);
	for (uint32_t i = 0; i < guests; i++)
		guest_end(&g[i]);
	if (sock >= 0)
		close(sock);
	unlink(store);
	return sum;
}

static uint32_t median(struct result *r, uint32_t n, size_t at)
{
	uint32_t v[100];
	for (uint32_t i = 0; i < n; i++)
		memcpy(&v[i], (char *)&r[i] + at, sizeof(v[i]));
	qsort(v, n, sizeof(v[0]), by_value);
	return v[n / 2];
}

static void row(const char *program, uint32_t rounds, uint32_t guests, bool zero, bool fair)
{
	static struct result r[3][100];
	for (uint32_t i = 0; i < rounds; i++) {
		r[0][i] = round_of(NULL, NULL, guests, zero, fair);
		r[1][i] = round_of(program, "1", guests, zero, fair);
		r[2][i] = round_of(program, "16", guests, zero, fair);
	}
	if (fair)
		printf("| 1 quiet, %u flooding | zero     |", guests - 1);
	else
		printf("| %u | %-8s |", guests, zero ? "zero" : "template");
	for (int k = 0; k < 3; k++) {
		uint64_t total[100], best = 0;
		for (uint32_t i = 0; i < rounds; i++)
			best += total[i] = (fair ? (uint64_t)(guests - 1) * PAGES : (uint64_t)guests * TOUCHES) * NS_PER_S / r[k][i].total_ns;
		printf(" %5.1f / %5.1f / %5.1f, %4lu k/s |", median(r[k], rounds, offsetof(struct result, p50_ns)) / 1e3,
			median(r[k], rounds, offsetof(struct result, p99_ns)) / 1e3,
			median(r[k], rounds, offsetof(struct result, mean_ns)) / 1e3, (unsigned long)(best / rounds / 1000));
	}
	double floor50 = median(r[0], rounds, offsetof(struct result, p50_ns)), floor99 = median(r[0], rounds, offsetof(struct result, p99_ns));
	printf(" %.2f / %.2f |\n", median(r[1], rounds, offsetof(struct result, p50_ns)) / floor50,
		median(r[1], rounds, offsetof(struct result, p99_ns)) / floor99);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint32_t rounds = argc > 2 ? (uint32_t)atoi(argv[2]) : 5;
	rounds = rounds < 1 ? 1 : rounds > 100 ? 100 : rounds;
	must(argc > 1 && mkdtemp(dir), "pager-fault-bench PAGERD [ROUNDS]");
	snprintf(control, sizeof(control), "%s/control", dir);
	snprintf(store, sizeof(store), "%s/store", dir);
	image = memfd_create("template", MFD_CLOEXEC);
	must(image >= 0 && !ftruncate(image, BYTES), "template");
	unsigned char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, image, 0);
	memset(p, 7, BYTES);
	puts("us for each touch: p50 / p99 / mean; all processes' touches a second\n");
	puts("| guests | pages | bare handler | pagerd, 4 KiB | pagerd, 64 KiB | 4 KiB against bare: p50 / p99 |");
	puts("|---|---|---|---|---|---|");
	for (uint32_t guests = 1; guests <= GUESTS; guests *= guests == 2 ? 4 : 2)
		for (int zero = 0; zero < 2; zero++)
			row(argv[1], rounds, guests, zero, false);
	row(argv[1], rounds, 4, true, true);
	unlink(control);
	rmdir(dir);
	return 0;
}
