// SPDX-License-Identifier: Apache-2.0
// Which templates there are, who uses them, and the thread that makes them; see template.h.
#include "template_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "pods.h"
#include "template_link.h"
#include "vm.h"

#define USUAL_VCPUS 1
#define USUAL_MIB 608                      // of a pod without limits
#define TEMPLATES_MAX 32
#define FAILURES_MAX 2                     // clones in a row that did not come up
#define IDLE_NS (600 * NS_PER_S)           // memory of a template that nobody uses is given back after that

// ---- the list; lock held

static struct template *find(struct templates *ts, const char *key)
{
	struct template *t = ts->list;
	while (t && strcmp(t->key, key))
		t = t->next;
	return t;
}

struct template *templates_add(struct templates *ts, const char *key, unsigned vcpus, unsigned memory_mib)
{
	unsigned n = 0;
	for (struct template *t = ts->list; t; t = t->next)
		n++;
	struct template *t = n < TEMPLATES_MAX ? calloc(1, sizeof(*t)) : NULL;
	if (!t)
		return NULL;
	*t = (struct template){.all = ts, .next = ts->list, .vcpus = vcpus, .memory_mib = memory_mib, .state = -1, .memory = -1,
				.set = TEMPLATE_SET_INIT};
	snprintf(t->key, sizeof(t->key), "%s", key);
	return ts->list = t;
}

void template_forget(struct template *t)
{
	own_fd int a = take_fd(t->state), b = take_fd(t->memory);
	(void)a, (void)b;
	template_memory_forget(t->digest);
	template_set_clear(&t->set);
}

void template_unlist(struct template *t)
{
	struct template **p = &t->all->list;
	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	template_forget(t);
	free(t);
}

void templates_say(struct templates *ts)
{
	pthread_cond_broadcast(&ts->changed);
	if (ts->notice)
		ts->notice(ts->notice_user);
}

void templates_listen(struct templates *ts, void (*fn)(void *user), void *user)
{
	pthread_mutex_lock(&ts->lock);
	ts->notice = fn;
	ts->notice_user = user;
	pthread_mutex_unlock(&ts->lock);
}

char *templates_folder(const struct templates *ts, const char *key)
{
	char *path;
	return asprintf(&path, "%s/%.*s", ts->dir, TEMPLATE_NAME_LEN, key) < 0 ? NULL : path;
}

void template_remove_folder(struct templates *ts, struct template *t)
{
	own_free char *path = templates_folder(ts, t->key);
	struct err e = ERR_INIT;
	t->stored = false;
	templates_say(ts);
	if (path && dir_remove(path, &e))
		log_warn("template", "%s: %s", template_name(t), e.text);
}

/* What they were made of is gone. */
void templates_retire_others(struct templates *ts, const struct template *but)
{
	for (struct template *t = ts->list; t; t = t->next)
		t->stale |= t != but && t->vcpus == but->vcpus && t->memory_mib == but->memory_mib;
}

static void clear_stale(struct templates *ts)
{
	for (struct template *t = ts->list, *next; t; t = next) {
		next = t->next;
		if (!t->stale || t->busy || t->users)
			continue;
		log_info("template", "removed name=%s: what it was made of has changed", template_name(t));
		template_remove_folder(ts, t);
		template_unlist(t);
	}
}

// ---- for pods

unsigned templates_memory_class(unsigned mib, unsigned most_mib)
{
	unsigned size = 256;
	while (size < mib)
		size += size & (size - 1) ? size / 3 : size / 2;   // 256 384 512 768 1024 1536 ...
	return size <= most_mib ? size : mib;
}

struct template *templates_get(struct templates *ts, unsigned vcpus, unsigned memory_mib, struct err *e)
{
	char key[DIGEST_MAX];
	pthread_mutex_unlock(&ts->lock);
	int rc = template_key(&ts->key, ts->host, vcpus, memory_mib, key, e);
	pthread_mutex_lock(&ts->lock);
	struct template *t = rc ? NULL : find(ts, key);
	if (!rc && !t && !(t = templates_add(ts, key, vcpus, memory_mib)))
		err_set(e, ENOSPC, "there are %d templates already", TEMPLATES_MAX);
	return t;
}

struct template *template_take(struct templates *ts, unsigned vcpus, unsigned memory_mib)
{
	struct err e = ERR_INIT;
	if (!ts)
		return NULL;
	pthread_mutex_lock(&ts->lock);
	struct template *t = templates_get(ts, vcpus, memory_mib, &e);
	if (!t)
		log_limited(LOG_LEVEL_WARN, "template", "no template: %s", e.text);
	if (t)
		t->users++;                                   // nobody frees it now
	while (t && t->stored && t->busy && !ts->quit)        // being read: that takes less than a boot
		pthread_cond_wait(&ts->changed, &ts->lock);
	bool ready = t && t->stored && (t->memory >= 0 || template_load(t));
	if (t && !ready) {
		t->wanted = true;
		t->users--;
	}
	if (ready)
		t->last_used_ns = clock_mono_ns();
	pthread_cond_broadcast(&ts->changed);
	pthread_mutex_unlock(&ts->lock);
	return ready ? t : NULL;
}

void template_put(struct template *t, bool worked)
{
	struct templates *ts = t->all;
	pthread_mutex_lock(&ts->lock);
	t->users--;
	t->clones += worked;
	t->failures = worked ? 0 : t->failures + 1;
	if (t->failures >= FAILURES_MAX && t->stored && !t->busy && !t->users) {
		log_warn("template", "removed name=%s: %u clones in a row did not come up", template_name(t), t->failures);
		template_remove_folder(ts, t);
		template_forget(t);
		t->wanted = true;
		t->failures = 0;
		t->retry_ns = clock_mono_ns() + TEMPLATE_RETRY_NS;
	}
	pthread_cond_broadcast(&ts->changed);
	pthread_mutex_unlock(&ts->lock);
}

void template_release(struct template *t)
{
	struct templates *ts = t->all;
	pthread_mutex_lock(&ts->lock);
	t->users--;
	pthread_cond_broadcast(&ts->changed);
	pthread_mutex_unlock(&ts->lock);
}

void template_size(const struct template *t, unsigned *vcpus, unsigned *memory_mib)
{
	*vcpus = t->vcpus;
	*memory_mib = t->memory_mib;
}

bool templates_have(struct templates *ts, const char *name)
{
	pthread_mutex_lock(&ts->lock);
	const struct template *t = ts->list;
	while (t && strncmp(t->key, name, strlen(name)))
		t = t->next;
	bool have = t && t->stored && !t->stale;
	pthread_mutex_unlock(&ts->lock);
	return have;
}

const char *template_name(const struct template *t)
{
	static _Thread_local char name[13];
	snprintf(name, sizeof(name), "%.12s", t->key);
	return name;
}

static int open_again(int fd)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = open(path, O_RDONLY | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

int template_open_state(const struct template *t) { return open_again(t->state); }
int template_open_memory(const struct template *t) { return open_again(t->memory); }

int template_open_set(struct template *t)
{
	struct templates *ts = t->all;
	pthread_mutex_lock(&ts->lock);
	bool known = t->set.fd >= 0 && t->set.samples >= TEMPLATE_SAMPLES;
	int fd = known ? open_again(t->set.fd) : memfd_create("template-set", MFD_CLOEXEC);
	pthread_mutex_unlock(&ts->lock);
	if (fd >= 0 && !known && ftruncate(fd, (off_t)t->memory_mib << 20)) {
		close(fd);
		return -EIO;
	}
	return fd < 0 && !known ? -errno : fd;
}

int template_link_to(const struct template *t, const char *vm_dir, struct err *e)
{
	own_free char *dir = templates_folder(t->all, t->key), *image = NULL;
	if (!dir || asprintf(&image, "%s/memory", dir) < 0)
		return err_sys(e, ENOMEM, "link a template");
	return template_link(vm_dir, image, t->digest, (uint64_t)t->memory_mib << 20, e);
}

bool template_wants_sample(const struct template *t)
{
	pthread_mutex_lock(&t->all->lock);
	bool wants = t->set.samples < TEMPLATE_SAMPLES;
	pthread_mutex_unlock(&t->all->lock);
	return wants;
}

void templates_sample(struct templates *ts, const char *name, int memory)
{
	struct err e = ERR_INIT;
	pthread_mutex_lock(&ts->lock);
	struct template *t = ts->list;
	while (t && strncmp(t->key, name, strlen(name)))
		t = t->next;
	if (t && !t->busy && t->stored && t->memory >= 0 && t->set.samples < TEMPLATE_SAMPLES) {
		own_free char *dir = templates_folder(ts, t->key), *path = NULL;
		if (dir && asprintf(&path, "%s/" TEMPLATE_SET_FILE, dir) >= 0 &&
		    template_set_sample(&t->set, path, (uint64_t)t->memory_mib << 8, t->memory, memory, &e))
			log_warn("template", "working set of %s: %s", template_name(t), e.text);
	}
	pthread_mutex_unlock(&ts->lock);
}

// ---- the thread

static struct template *next_wanted(struct templates *ts)
{
	struct template *t = ts->list;
	while (t && (!t->wanted || t->busy || clock_mono_ns() < t->retry_ns))
		t = t->next;
	return t;
}

static void give_back_idle(struct templates *ts)
{
	uint64_t now = clock_mono_ns();
	for (struct template *t = ts->list; t; t = t->next)
		if (!t->users && !t->busy && t->memory >= 0 && now - t->last_used_ns > IDLE_NS)
			template_forget(t);
}

/* Until something changes, or until the time comes to try again or to give memory back. */
static void sleep_until_something(struct templates *ts)
{
	uint64_t until = UINT64_MAX;
	for (const struct template *t = ts->list; t; t = t->next) {
		uint64_t idle = t->last_used_ns + IDLE_NS + 1;
		if (t->wanted && !t->busy && t->retry_ns < until)
			until = t->retry_ns;
		if (!t->users && !t->busy && t->memory >= 0 && idle < until)
			until = idle;
	}
	struct timespec at = {.tv_sec = (time_t)(until / NS_PER_S), .tv_nsec = (long)(until % NS_PER_S)};
	if (until == UINT64_MAX)
		pthread_cond_wait(&ts->changed, &ts->lock);
	else
		pthread_cond_timedwait(&ts->changed, &ts->lock, &at);
}

static void *work(void *arg)
{
	struct templates *ts = arg;
	struct err e = ERR_INIT;
	struct template *usual = template_take(ts, USUAL_VCPUS, templates_memory_class(USUAL_MIB, UINT32_MAX));   // read, or wanted
	pthread_mutex_lock(&ts->lock);
	if (usual)
		usual->users--;
	while (!ts->quit) {
		struct template *t = next_wanted(ts);
		if (t && !t->stored && !template_make(t, NULL, NULL, &e) && t->memory < 0) {
			t->last_used_ns = clock_mono_ns();
			template_load(t);
		}
		if (t) {
			t->wanted = t->wanted && !t->stored;
			continue;
		}
		clear_stale(ts);
		give_back_idle(ts);
		sleep_until_something(ts);
	}
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

// ---- beginning and end

/* A build that an earlier hostd did not end: its VM runs on. */
static void clear_half_made(const struct host *h, const char *dir)
{
	own_free char *vm_dir = NULL;
	if (asprintf(&vm_dir, "%s/vm", dir) < 0)
		return;
	pods_end_leftover(h, vm_dir, "a template");
	dir_remove(dir, NULL);
}

static int read_folder(struct templates *ts, struct err *e)
{
	own_dir DIR *d = opendir(ts->dir);
	struct dirent *ent;
	if (!d)
		return err_sys(e, errno, "read %s", ts->dir);
	while ((ent = readdir(d))) {
		own_free char *path = NULL;
		own_json json_t *o = NULL;
		struct err why = ERR_INIT;
		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, "..") || asprintf(&path, "%s/%s", ts->dir, ent->d_name) < 0)
			continue;
		struct template *t = NULL;
		if (strlen(ent->d_name) == TEMPLATE_NAME_LEN && !templates_describe(ts, ent->d_name, &o, &why))
			t = templates_add(ts, jpath_str(o, "key", ""), (unsigned)jpath_int(o, "vcpus", 0), (unsigned)jpath_int(o, "memoryMiB", 0));
		char key[DIGEST_MAX];
		if (!t) {
			if (why.code)
				log_warn("template", "removed: %s", why.text);
			clear_half_made(ts->host, path);
			continue;
		}
		t->stored = true;
		template_describe(t, o);
		t->stale = template_key(&ts->key, ts->host, t->vcpus, t->memory_mib, key, &why) || strcmp(key, t->key);
	}
	return 0;
}

int templates_open(const struct host *h, struct templates **out, struct err *e)
{
	struct templates *ts = calloc(1, sizeof(*ts));
	if (!ts || asprintf(&ts->dir, "%s/templates", h->root) < 0) {
		free(ts);
		return err_sys(e, ENOMEM, "templates");
	}
	ts->host = h;
	template_key_init(&ts->key);
	pthread_mutex_init(&ts->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ts->changed, &attr);
	pthread_condattr_destroy(&attr);
	int rc = dir_make(ts->dir, 0700, e);
	if (!rc)
		rc = read_folder(ts, e);
	if (!rc && (rc = pthread_create(&ts->thread, NULL, work, ts)))
		err_sys(e, rc, "start the templates' thread");
	ts->started = !rc;
	if (rc) {
		templates_close(ts);
		return -e->code;
	}
	*out = ts;
	return 0;
}

void templates_close(struct templates *ts)
{
	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	ts->quit = 1;
	pthread_cond_broadcast(&ts->changed);
	pthread_mutex_unlock(&ts->lock);
	if (ts->started)
		pthread_join(ts->thread, NULL);
	while (ts->list)
		template_unlist(ts->list);
	pthread_mutex_destroy(&ts->lock);
	pthread_cond_destroy(&ts->changed);
	free(ts->dir);
	free(ts);
}
