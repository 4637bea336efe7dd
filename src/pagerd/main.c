// SPDX-License-Identifier: Apache-2.0
// bulkhead-pagerd: the memory of all VMs of a host. Threads: control socket (this one), readers and workers for faults,
// one for eviction. See proto/pager_msg.h for who calls it, man bulkhead-pagerd(8) for its options.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/usock.h"
#include "evict.h"
#include "fault.h"
#include "prda/metrics.h"
#include "pressure.h"
#include "server.h"

struct options {
	const char *control, *store, *metrics;
	uint64_t store_mib, memory_mib, frames_mib;
	uint64_t readers, workers, cluster, sweep_s;
	enum store_codec codec;
};

#define VADS_MAX (1u << 20)
#define FRAMES_MIB_MAX ((1u << 21) - 4 * (VADS_MAX >> 8) - 1)   // 2^29 records, and VADs take four each

static struct pressure pressure;
static struct guests guests = { .epoll = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

static const char usage[] =
	"Usage: bulkhead-pagerd --control SOCKET --store FILE [options]\n"
	"  --store-mib N       size of a new compressed store (4096)\n"
	"  --memory-mib N      evict when all guests together have more (0: when the host runs short)\n"
	"  --frames-mib N      guest memory, resident and compressed, there are records for (65536)\n"
	"  --readers N         threads that take faults (number of processors, at most 8)\n"
	"  --workers N         threads for faults that must wait (4)\n"
	"  --cluster N         pages loaded at once, a power of two up to 64 (16)\n"
	"  --codec lz4|zstd|raw\n"
	"  --sweep-seconds N   drop compressed pages whose guest has not come back by then (600)\n"
	"  --metrics DIR       link the counters there for \"bulkhead top\" to read\n"
	"  --help, --version\n";

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *v)
{
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n < min || n > max)
		return false;
	*v = n;
	return true;
}

static bool codec(const char *text, enum store_codec *c)
{
	static const char *const name[] = { [STORE_RAW] = "raw", [STORE_LZ4] = "lz4", [STORE_ZSTD] = "zstd" };
	for (int i = STORE_RAW; i <= STORE_ZSTD; i++)
		if (!strcmp(text, name[i])) {
			*c = (enum store_codec)i;
			return true;
		}
	return false;
}

/* Returns -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{ "control", 1, 0, 'c' }, { "store", 1, 0, 's' }, { "store-mib", 1, 0, 'S' }, { "memory-mib", 1, 0, 'm' },
		{ "frames-mib", 1, 0, 'f' }, { "readers", 1, 0, 'r' }, { "workers", 1, 0, 'w' }, { "cluster", 1, 0, 'k' },
		{ "codec", 1, 0, 'z' }, { "sweep-seconds", 1, 0, 'x' }, { "metrics", 1, 0, 'M' }, { "help", 0, 0, 'h' }, { "version", 0, 0, 'v' }, { 0 },
	};
	int c, at = 0;
	while ((c = getopt_long(argc, argv, "", names, &at)) != -1) {
		bool good = true;
		switch (c) {
		case 'c': o->control = optarg; break;
		case 's': o->store = optarg; break;
		case 'S': good = number(optarg, 1, 1 << 20, &o->store_mib); break;
		case 'm': good = number(optarg, 0, 1 << 24, &o->memory_mib); break;
		case 'f': good = number(optarg, 1, FRAMES_MIB_MAX, &o->frames_mib); break;
		case 'r': good = number(optarg, 1, 64, &o->readers); break;
		case 'w': good = number(optarg, 1, 64, &o->workers); break;
		case 'k': good = number(optarg, 1, 64, &o->cluster) && !(o->cluster & (o->cluster - 1)); break;
		case 'z': good = codec(optarg, &o->codec); break;
		case 'x': good = number(optarg, 0, 1 << 20, &o->sweep_s); break;
		case 'M': o->metrics = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		case 'v': puts("bulkhead-pagerd " BULKHEAD_VERSION); return 0;
		default: fputs(usage, stderr); return 2;
		}
		if (!good) {
			fprintf(stderr, "bulkhead-pagerd: --%s cannot be '%s'; see --help\n", names[at].name, optarg);
			return 2;
		}
	}
	if (!o->control || !o->store || optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	return -1;
}

static int store_open_file(const struct options *o, struct err *e)
{
	own_fd int fd = open(o->store, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "open compressed store '%s'", o->store);
	int rc = store_new(fd, o->store_mib << 20, o->codec, NULL, &guests.store, e);
	return rc ? err_wrap(e, "compressed store '%s'", o->store) : 0;
}

static void on_signal(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)w, (void)events, (void)user;
	evloop_stop(l);
}

static void on_sweep(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events, (void)user;
	uint64_t n = store_sweep(guests.store);
	if (n)
		log_info("store", "pages of guests that did not come back were dropped pages=%lu", (unsigned long)n);
}

static int serve(const struct options *o, struct err *e)
{
	sigset_t set;
	pressure.max_pages = o->memory_mib << 8;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);                // before threads, which inherit it
	own_fd int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	struct evloop *loop = evloop_new();
	struct faults *faults = NULL;
	struct reclaim *reclaim = NULL;
	struct server *server = NULL;
	int rc = signals < 0 || !loop || !evloop_add(loop, signals, EPOLLIN, on_signal, NULL)
			|| !evloop_timer(loop, o->sweep_s * 1000 + 1, 0, on_sweep, NULL) ? err_set(e, ENOMEM, "no memory to start") : 0;
	if (!rc)
		rc = faults_start(&guests, (uint32_t)o->readers, (uint32_t)o->workers, (uint32_t)o->cluster, &faults, e);
	if (!rc)
		rc = reclaim_start(&guests, &pressure, &reclaim, e);
	own_fd int listener = rc ? -1 : usock_listen(o->control, SOCK_SEQPACKET, 0600, e);
	if (!rc && listener < 0)
		rc = listener;
	if (!rc)
		rc = server_start(loop, listener, &guests, (uint32_t)o->cluster, &pressure, &server, e);
	if (!rc) {
		(void)take_fd(listener);
		log_info("main", "ready control=%s store=%s", o->control, o->store);
		rc = evloop_run(loop);
		server_stop(server);
	}
	if (reclaim)
		reclaim_stop(reclaim);
	guests_close(&guests);
	if (faults)
		faults_stop(faults);
	evloop_free(loop);
	return rc;
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct options o = { .store_mib = 4096, .frames_mib = 65536, .workers = 4, .cluster = 16, .codec = STORE_LZ4,
		.sweep_s = 600, .readers = cpus < 1 ? 1 : cpus > 8 ? 8 : (uint64_t)cpus };
	struct err e = ERR_INIT;
	int rc = parse(argc, argv, &o);
	if (rc >= 0)
		return rc;
	log_init("bulkhead-pagerd");
	log_rotate(LOG_ROTATE_BYTES);
	struct metrics *metrics = NULL;
	rc = metrics_open(o.metrics, "pagerd", NULL, &metrics, &e);   // before threads
	if (!rc)
		rc = store_open_file(&o, &e);
	if (!rc)
		rc = pager_new(&(struct pager_options){ .frames = (uint32_t)((o.frames_mib << 8) - 1), .vads = VADS_MAX,
			.vms = GUESTS_MAX, .store = guests.store }, &guests.pager, &e);
	if (!rc)
		rc = serve(&o, &e);
	if (rc)
		log_error("main", "%s", e.text);
	pager_free(guests.pager);
	backing_put(guests.store);
	metrics_close(metrics);
	return rc ? 1 : 0;
}
