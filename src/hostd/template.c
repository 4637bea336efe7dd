// SPDX-License-Identifier: Apache-2.0
// Which templates there are, who uses them, and the thread that makes them; see template.h.
//
// Locks: `lock` guards the list and every template's fields. Building and reading files happens without it, by whoever has
// set `busy` on the template; others wait for `changed`, or boot.
#include "template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "pods.h"
#include "template_build.h"
#include "template_image.h"
#include "template_key.h"
#include "template_link.h"
#include "template_set.h"
#include "vm.h"
#include "waiting.h"

#define NAME_LEN 16                        // of the key, in folder names: paths of sockets are short
#define SET_FILE "workingset"
#define USUAL_VCPUS 1
#define USUAL_MIB 608                      // of a pod without limits
#define TEMPLATES_MAX 32
#define RETRY_NS (60 * NS_PER_S)           // after a build that failed
#define FAILURES_MAX 2                     // clones in a row that did not come up
#define IDLE_NS (600 * NS_PER_S)           // memory of a template that nobody uses is given back after that

struct template {
	struct templates *all;
	struct template *next;
	char key[DIGEST_MAX];
	unsigned vcpus, memory_mib;
	bool stored;                       // its folder is there
	bool busy;                         // being built, read or removed
	bool wanted;                       // to be built by the thread
	bool stale;                        // its inputs have changed: goes when nobody uses it
	int state, memory;                 // sealed memfds, owned; -1: not read
	unsigned users, failures;
	uint64_t clones;                   // that came up
	uint64_t last_used_ns, retry_ns;   // monotonic
	char made[CLOCK_TEXT_MAX], why[ERR_TEXT_MAX];
	uint64_t used_bytes, distinct_bytes, file_bytes;
	char digest[DIGEST_MAX];           // of the memory image
	struct template_set set;           // while memory is there
};

struct templates {
	const struct host *host;
	char *dir;                         // ROOT/templates
	struct template_key key;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool started;
	volatile int quit;
	struct template *list;
};

// ---- the list; lock held

static struct template *find(struct templates *ts, const char *key)
{
	struct template *t = ts->list;
	while (t && strcmp(t->key, key))
		t = t->next;
	return t;
}

static struct template *add(struct templates *ts, const char *key, unsigned vcpus, unsigned memory_mib)
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

static void forget_memory(struct template *t)
{
	own_fd int a = take_fd(t->state), b = take_fd(t->memory);
	(void)a, (void)b;
	template_memory_forget(t->digest);
	template_set_clear(&t->set);
}

static void unlink_template(struct template *t)
{
	struct template **p = &t->all->list;
	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	forget_memory(t);
	free(t);
}

static char *folder(const struct templates *ts, const char *key)
{
	char *path;
	return asprintf(&path, "%s/%.*s", ts->dir, NAME_LEN, key) < 0 ? NULL : path;
}

static void remove_folder(struct templates *ts, struct template *t)
{
	own_free char *path = folder(ts, t->key);
	struct err e = ERR_INIT;
	t->stored = false;
	if (path && dir_remove(path, &e))
		log_warn("template", "%s: %s", template_name(t), e.text);
}

/* Those of the same size that were made of something else: what they were made of is gone. */
static void retire_others(struct templates *ts, const struct template *but)
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
		remove_folder(ts, t);
		unlink_template(t);
	}
}

// ---- reading; t is busy, the lock is not held

/* name: the key, or its first NAME_LEN characters. */
static int read_description(const struct templates *ts, const char *name, json_t **out, struct err *e)
{
	own_free char *dir = folder(ts, name), *path = NULL;
	own_buf struct buf text = BUF_INIT;
	if (!dir || asprintf(&path, "%s/template.json", dir) < 0)
		return err_sys(e, ENOMEM, "read a template");
	int rc = file_read(path, 65536, &text, e);
	if (rc)
		return rc;
	own_json json_t *o = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
	if (jpath_int(o, "version", 0) != 1 || strlen(jpath_str(o, "key", "")) != DIGEST_MAX - 1 ||
	    strncmp(jpath_str(o, "key", ""), name, strlen(name)))
		return err_set(e, EBADMSG, "%s does not describe this template", path);
	*out = json_incref(o);
	return 0;
}

static int read_files(const struct templates *ts, const struct template *t, int *state, int *memory, char digest[DIGEST_MAX],
		      struct template_set *set, struct err *e)
{
	own_free char *dir = folder(ts, t->key), *state_path = NULL, *memory_path = NULL, *set_path = NULL;
	uint64_t bytes = (uint64_t)t->memory_mib << 20;
	own_json json_t *o = NULL;
	int rc = read_description(ts, t->key, &o, e);
	if (rc)
		return rc;
	if (!dir || asprintf(&state_path, "%s/state", dir) < 0 || asprintf(&memory_path, "%s/memory", dir) < 0 ||
	    asprintf(&set_path, "%s/" SET_FILE, dir) < 0)
		return err_sys(e, ENOMEM, "read a template");
	own_fd int s = template_file_read(state_path, jpath_str(o, "stateSHA256", ""), e);
	if (s < 0)
		return s;
	snprintf(digest, DIGEST_MAX, "%s", jpath_str(o, "memorySHA256", ""));
	int m = template_memory(memory_path, digest, bytes, e);
	if (m < 0)
		return m;
	template_set_read(set, set_path, bytes / 4096, m);
	*state = take_fd(s);
	*memory = m;
	return 0;
}

/* The lock is held before and after. True: its memory is there. */
static bool load(struct template *t)
{
	struct templates *ts = t->all;
	struct err e = ERR_INIT;
	int state = -1, memory = -1;
	char digest[DIGEST_MAX] = "";
	struct template_set set = TEMPLATE_SET_INIT;
	uint64_t began = clock_mono_ns();
	t->busy = true;
	pthread_mutex_unlock(&ts->lock);
	int rc = read_files(ts, t, &state, &memory, digest, &set, &e);
	pthread_mutex_lock(&ts->lock);
	t->busy = false;
	t->state = state;
	t->memory = memory;
	t->set = set;
	memcpy(t->digest, digest, sizeof(digest));
	if (rc) {
		log_warn("template", "refused and removed name=%s: %s", template_name(t), e.text);
		remove_folder(ts, t);
		t->wanted = true;
	} else {
		log_info("template", "read name=%s ms=%llu", template_name(t), (unsigned long long)((clock_mono_ns() - began) / NS_PER_MS));
	}
	pthread_cond_broadcast(&ts->changed);
	return !rc;
}

// ---- building

static void no_progress(void *user, const char *stage) { (void)user, (void)stage; }

static void take_description(struct template *t, const json_t *o)
{
	snprintf(t->made, sizeof(t->made), "%s", jpath_str(o, "made", ""));
	t->used_bytes = (uint64_t)jpath_int(o, "usedBytes", 0);
	t->distinct_bytes = (uint64_t)jpath_int(o, "distinctBytes", 0);
	t->file_bytes = (uint64_t)jpath_int(o, "fileBytes", 0);
}

static int make(struct templates *ts, const struct template *t, template_progress_fn *progress, void *user, json_t **description,
		struct err *e)
{
	own_free char *dir = folder(ts, t->key), *work = NULL;
	struct template_wish w = {.vcpus = t->vcpus, .memory_mib = t->memory_mib, .key = t->key, .inputs = t->key};
	unsigned number = pods_number_take(ts->host->pods);
	if (!number)
		return err_set(e, ENOSPC, "no VM number left on this host");
	w.uid = ts->host->vm_uid_base + number;
	int rc = dir && asprintf(&work, "%s/.new-%.*s", ts->dir, NAME_LEN, t->key) >= 0 ? dir_remove(work, e) : err_sys(e, ENOMEM, "make a template");
	if (!rc)
		rc = template_build(ts->host, &w, work, &ts->quit, progress, user, e);
	if (!rc)
		rc = dir_remove(dir, e);
	if (!rc && rename(work, dir))
		rc = err_sys(e, errno, "name the template's folder");
	if (rc && work)
		dir_remove(work, NULL);
	pods_number_drop(ts->host->pods, number);
	return rc ? rc : read_description(ts, t->key, description, e);
}

/* The lock is held before and after. */
static int build(struct template *t, template_progress_fn *progress, void *user, struct err *e)
{
	struct templates *ts = t->all;
	own_json json_t *description = NULL;
	uint64_t began = clock_mono_ns();
	t->busy = true;
	t->wanted = false;
	pthread_mutex_unlock(&ts->lock);
	int rc = make(ts, t, progress, user, &description, e);
	pthread_mutex_lock(&ts->lock);
	t->busy = false;
	t->stored = !rc;
	t->failures = 0;
	t->why[0] = '\0';
	if (rc) {
		snprintf(t->why, sizeof(t->why), "%s", e->text);
		t->retry_ns = clock_mono_ns() + RETRY_NS;
		log_warn("template", "not made vcpus=%u memory_mib=%u: %s", t->vcpus, t->memory_mib, e->text);
	} else {
		take_description(t, description);
		retire_others(ts, t);
		log_info("template", "made name=%s vcpus=%u memory_mib=%u ms=%llu", template_name(t), t->vcpus, t->memory_mib,
			 (unsigned long long)((clock_mono_ns() - began) / NS_PER_MS));
	}
	pthread_cond_broadcast(&ts->changed);
	return rc;
}

// ---- for pods

unsigned templates_memory_class(unsigned mib, unsigned most_mib)
{
	unsigned size = 256;
	while (size < mib)
		size += size & (size - 1) ? size / 3 : size / 2;   // 256 384 512 768 1024 1536 ...
	return size <= most_mib ? size : mib;
}

static struct template *get(struct templates *ts, unsigned vcpus, unsigned memory_mib, struct err *e)
{
	char key[DIGEST_MAX];
	pthread_mutex_unlock(&ts->lock);
	int rc = template_key(&ts->key, ts->host, vcpus, memory_mib, key, e);
	pthread_mutex_lock(&ts->lock);
	struct template *t = rc ? NULL : find(ts, key);
	if (!rc && !t && !(t = add(ts, key, vcpus, memory_mib)))
		err_set(e, ENOSPC, "there are %d templates already", TEMPLATES_MAX);
	return t;
}

struct template *template_take(struct templates *ts, unsigned vcpus, unsigned memory_mib)
{
	struct err e = ERR_INIT;
	if (!ts)
		return NULL;
	pthread_mutex_lock(&ts->lock);
	struct template *t = get(ts, vcpus, memory_mib, &e);
	if (!t)
		log_limited(LOG_LEVEL_WARN, "template", "no template: %s", e.text);
	if (t)
		t->users++;                                   // nobody frees it now
	while (t && t->stored && t->busy && !ts->quit)        // being read: that takes less than a boot
		pthread_cond_wait(&ts->changed, &ts->lock);
	bool ready = t && t->stored && (t->memory >= 0 || load(t));
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
		remove_folder(ts, t);
		forget_memory(t);
		t->wanted = true;
		t->failures = 0;
		t->retry_ns = clock_mono_ns() + RETRY_NS;
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
	own_free char *dir = folder(t->all, t->key), *image = NULL;
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
		own_free char *dir = folder(ts, t->key), *path = NULL;
		if (dir && asprintf(&path, "%s/" SET_FILE, dir) >= 0 &&
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
			forget_memory(t);
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
		if (t && !t->stored && !build(t, no_progress, NULL, &e) && t->memory < 0) {
			t->last_used_ns = clock_mono_ns();
			load(t);
		}
		if (t) {
			t->wanted = t->wanted && !t->stored;
			continue;
		}
		clear_stale(ts);
		give_back_idle(ts);
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 5;
		pthread_cond_timedwait(&ts->changed, &ts->lock, &until);
	}
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

// ---- for the operator

static json_t *row(const struct template *t)
{
	const char *state = t->stale ? "Stale" : t->busy && t->stored ? "Reading" : t->busy ? "Building" : t->stored ? "Ready" :
			    *t->why ? "Failed" : t->wanted ? "Wanted" : "Absent";
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:I, s:I, s:I, s:i, s:I, s:b, s:i, s:I, s:s}", "name", template_name(t), "key", t->key,
			 "state", state, "engine", t->all->host->engine, "vcpus", (int)t->vcpus, "memoryMiB", (int)t->memory_mib, "made", t->made,
			 "usedBytes", (json_int_t)t->used_bytes, "distinctBytes", (json_int_t)t->distinct_bytes, "fileBytes",
			 (json_int_t)t->file_bytes, "samples", (int)t->set.samples, "workingSetBytes",
			 (json_int_t)template_set_count(&t->set) * 4096, "loaded", t->memory >= 0, "users", (int)t->users, "clones", (json_int_t)t->clones, "error",
			 t->why);
}

json_t *templates_list(struct templates *ts)
{
	json_t *list = json_array(), *item;
	size_t i;
	if (!ts)
		return list;
	pthread_mutex_lock(&ts->lock);
	for (struct template *t = ts->list; t; t = t->next)
		json_array_append_new(list, row(t));
	pthread_mutex_unlock(&ts->lock);
	json_array_foreach(list, i, item)
		json_object_set_new(item, "waiting", json_integer(waiting_count(ts->host->waiting, jpath_str(item, "name", ""))));
	return list;
}

int templates_build(struct templates *ts, unsigned vcpus, unsigned memory_mib, template_progress_fn *progress, void *user, json_t **out,
		    struct err *e)
{
	if (!ts)
		return err_set(e, ENOTSUP, "this host makes no templates: hostd runs with --templates off");
	pthread_mutex_lock(&ts->lock);
	struct template *t = get(ts, vcpus, templates_memory_class(memory_mib, UINT32_MAX), e);
	if (t)
		t->users++;
	while (t && t->busy && !ts->quit)
		pthread_cond_wait(&ts->changed, &ts->lock);
	int rc = !t ? -e->code : t->stored ? 0 : build(t, progress ? progress : no_progress, user, e);
	if (!rc && t->memory < 0) {
		t->last_used_ns = clock_mono_ns();
		rc = load(t) ? 0 : err_set(e, EBADMSG, "what was stored cannot be read: see hostd's log");
	}
	if (!rc)
		*out = row(t);
	if (t)
		t->users--;
	pthread_mutex_unlock(&ts->lock);
	return rc;
}

int templates_remove(struct templates *ts, const char *name, struct err *e)
{
	bool all = !strcmp(name, "all"), any = all;
	if (!ts)
		return err_set(e, ENOENT, "there is no template '%s'", name);
	pthread_mutex_lock(&ts->lock);
	for (struct template *t = ts->list, *next; t; t = next) {
		next = t->next;
		if (!all && (strlen(name) < 4 || strncmp(t->key, name, strlen(name))))
			continue;
		any = true;
		if (t->busy)
			continue;
		remove_folder(ts, t);
		if (!t->users)
			unlink_template(t);
	}
	pthread_mutex_unlock(&ts->lock);
	return any ? 0 : err_set(e, ENOENT, "there is no template '%s'", name);
}

// ---- beginning and end

/* A build that an earlier hostd did not end: its VM runs on. */
static void clear_half_made(const char *dir)
{
	own_free char *vm_dir = NULL;
	if (asprintf(&vm_dir, "%s/vm", dir) < 0)
		return;
	vm_end_leftover(vm_dir);
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
		if (strlen(ent->d_name) == NAME_LEN && !read_description(ts, ent->d_name, &o, &why))
			t = add(ts, jpath_str(o, "key", ""), (unsigned)jpath_int(o, "vcpus", 0), (unsigned)jpath_int(o, "memoryMiB", 0));
		char key[DIGEST_MAX];
		if (!t) {
			if (why.code)
				log_warn("template", "removed: %s", why.text);
			clear_half_made(path);
			continue;
		}
		t->stored = true;
		take_description(t, o);
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
	pthread_cond_init(&ts->changed, NULL);
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
		unlink_template(ts->list);
	pthread_mutex_destroy(&ts->lock);
	pthread_cond_destroy(&ts->changed);
	free(ts->dir);
	free(ts);
}
