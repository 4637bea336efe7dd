// SPDX-License-Identifier: Apache-2.0
// Pressure on the host; see pressure.h.
#include "pressure.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "image.h"
#include "pager_client.h"
#include "pods.h"
#include "pods_balloon.h"
#include "pods_evict.h"
#include "pressure_pids.h"
#include "thrift.h"
#include "waiting.h"

#define LOOK_S 5
#define PID_HOLD_S 300           // as a kubelet's pressure transition period
#define PID_HOLD_MAX_S 86400
#define SETTINGS_MAX 65536
#define MIB (1ull << 20)

struct settings { long long gc_high, gc_low, disk_percent, memory_mib, pid_percent, pid_hold_s; };

struct pressure {
	const struct host *host;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	bool ballooned;            // some guest does without something; the thread's
};

static long long percent(const json_t *j, const char *key, long long fallback)
{
	long long n = jpath_int(j, key, fallback);
	return n >= 0 && n <= 100 ? n : fallback;
}

static void read_settings(const char *root, struct settings *s)
{
	char path[4096];
	own_buf struct buf text = BUF_INIT;
	own_json json_t *j = NULL;
	if (snprintf(path, sizeof(path), "%s/pressure.json", root) < (int)sizeof(path) && !file_read(path, SETTINGS_MAX, &text, NULL)) {
		j = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
		if (!json_is_object(j))
			log_limited(LOG_LEVEL_WARN, "pressure", "%s is not a JSON object, the defaults count", path);
	}
	*s = (struct settings){percent(j, "imageGCHighPercent", 85), percent(j, "imageGCLowPercent", 80), percent(j, "diskAvailablePercent", 10),
			       jpath_int(j, "memoryAvailableMiB", 100), percent(j, "pidAvailablePercent", 5),
			       jpath_int(j, "pidTransitionSeconds", PID_HOLD_S)};
	if (s->pid_hold_s < 0 || s->pid_hold_s > PID_HOLD_MAX_S)
		s->pid_hold_s = PID_HOLD_S;
}

static unsigned long long memory_available(void)
{
	own_buf struct buf b = BUF_INIT;
	const char *at = !file_read("/proc/meminfo", 65536, &b, NULL) && b.data ? strstr(b.data, "MemAvailable:") : NULL;
	return at ? strtoull(at + strlen("MemAvailable:"), NULL, 10) << 10 : ~0ull;
}

/* Used share of ROOT's file system, in percent, of what others than root may use. *bytes: its size. */
static long long disk_used(const char *root, unsigned long long *bytes)
{
	struct statvfs fs;
	if (statvfs(root, &fs) || !fs.f_blocks)
		return 0;
	unsigned long long used = fs.f_blocks - fs.f_bfree, all = used + fs.f_bavail;
	*bytes = all * fs.f_frsize;
	return all ? (long long)((used * 100 + all - 1) / all) : 0;
}

static void look(const char *root, const struct settings *s, struct pressure_state *out)
{
	unsigned long long bytes;
	out->memory = s->memory_mib > 0 && memory_available() < (unsigned long long)s->memory_mib * MIB;
	out->disk = 100 - disk_used(root, &bytes) < s->disk_percent;
	struct pressure_pids pids;
	out->pids_hold_s = (unsigned)s->pid_hold_s;
	out->pids = pressure_pids_read(&pids) && pressure_pids_low(&pids, s->pid_percent);
}

void pressure_read(const char *root, struct pressure_state *out)
{
	struct settings s;
	read_settings(root, &s);
	look(root, &s, out);
}

static void collect_images(const struct host *h, const struct settings *s)
{
	unsigned long long bytes = 0;
	long long used = disk_used(h->root, &bytes);
	if (used < s->gc_high || used <= s->gc_low)
		return;
	uint64_t freed = image_gc(h->images, bytes / 100 * (unsigned long long)(used - s->gc_low));
	if (freed)
		log_info("pressure", "disk used=%lld%%: images of %llu bytes removed", used, (unsigned long long)freed);
}

static void relieve(struct pressure *p)
{
	struct settings s;
	struct pressure_state now;
	read_settings(p->host->root, &s);
	collect_images(p->host, &s);
	look(p->host->root, &s, &now);
	if (now.disk) {   // whatever nobody uses, before anybody is sent away
		image_gc(p->host->images, ~0ull);
		look(p->host->root, &s, &now);
	}
	/* One at a time: what it gives back may be enough. */
	struct pager_host pager;
	bool paged = p->host->pager && !pager_client_host(p->host->pager, &pager, NULL);
	bool pressed = now.memory || (paged && pager.pressure);
	if (pressed || p->ballooned)
		p->ballooned = pods_balloon(p->host->pods, pressed);
	if ((pressed || now.pids) && waiting_drop(p->host->waiting))
		return;
	if (now.memory)
		pods_evict_one(p->host->pods, EVICT_MEMORY);
	else if (now.disk)
		pods_evict_one(p->host->pods, EVICT_DISK);
	else if (now.pids)
		pods_evict_one(p->host->pods, EVICT_PIDS);
}

static void *run(void *arg)
{
	struct pressure *p = arg;
	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LOOK_S;
		pthread_cond_timedwait(&p->wake, &p->lock, &until);
		if (p->stop)
			break;
		pthread_mutex_unlock(&p->lock);
		relieve(p);
		thrift_heap();
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pressure_start(const struct host *h, struct pressure **out, struct err *e)
{
	struct pressure *p = calloc(1, sizeof(*p));
	if (!p)
		return err_sys(e, ENOMEM, "watch for pressure");
	p->host = h;
	p->ballooned = true;       // by an earlier hostd, perhaps
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	int rc = pthread_create(&p->thread, NULL, run, p);
	if (rc) {
		free(p);
		return err_sys(e, rc, "watch for pressure");
	}
	*out = p;
	return 0;
}

void pressure_stop(struct pressure *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
