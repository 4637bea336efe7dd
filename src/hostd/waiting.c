// SPDX-License-Identifier: Apache-2.0
// Clones that wait; see waiting.h. One thread makes and removes them. `lock` guards the lists; nothing that blocks is done under it.
// The thread sleeps until something happens (a pod starts, a clone ends, a template comes or goes: all of which write to `event`) or
// until the time that it knows of comes; with nothing to make and nothing that waits, it never wakes.
#include "waiting.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "clone.h"
#include "pager_client.h"
#include "pod.h"
#include "pods.h"
#include "pressure.h"
#include "scratch.h"

#define QUIET_NS (1 * NS_PER_S)            // no pod has started for so long: nobody is disturbed
#define USED_NS (600 * NS_PER_S)           // a template that no pod has asked for since is not "used lately"
#define FAILED_NS (60 * NS_PER_S)          // after one that did not come up
#define PRESSED_NS (60 * NS_PER_S)         // after the host was short of memory
#define SHARES 50                          // as a pod of class BestEffort
#define SIZES_MAX 8

#define NEVER UINT64_MAX

struct size {
	unsigned vcpus, memory_mib;
	char template[16];
	uint64_t used_ns, retry_ns;        // retry_ns: NEVER: when templates have changed
};

struct waiting {
	const struct host *host;
	unsigned count;                    // of each template
	char *dir;                         // ROOT/waiting
	int event;                         // eventfd: the thread has to look
	atomic_bool templates_changed;
	pthread_mutex_t lock;
	pthread_t thread;
	volatile int quit;
	int starts;                        // pods whose VMs come up now
	uint64_t disturbed_ns, pressed_ns;  // when a pod began or ended to start; until when none is made
	struct waiting_clone *list;        // ready
	struct size size[SIZES_MAX];       // of pods that started lately
};

static void poke(struct waiting *w)
{
	if (eventfd_write(w->event, 1))
		log_limited(LOG_LEVEL_WARN, "waiting", "cannot wake: %s", strerror(errno));
}

static void on_end(void *user) { poke(user); }

static void on_templates(void *user)
{
	struct waiting *w = user;
	atomic_store(&w->templates_changed, true);
	poke(w);
}

static void nobody_hears(void *user, const Bulkhead__Agent__Event *ev) { (void)user, (void)ev; }

bool waiting_end(struct waiting *w, struct waiting_clone *c)
{
	bool ended = !c->vm || vm_kill(c->vm);
	if (!ended)                                // its folder is the next hostd's
		pods_number_hold(w->host->pods, c->number, vm_gone_fd(c->vm), "a clone that waits");
	agent_client_close(c->agent);
	vm_close(c->vm);
	if (c->number)
		pods_number_drop(w->host->pods, c->number);
	if (ended && *c->dir)
		dir_remove(c->dir, NULL);
	free(c);
	return ended;
}

// ---- making one; without the lock

static struct waiting_clone *clone_new(struct waiting *w, const char *template, struct err *e)
{
	struct waiting_clone *c = calloc(1, sizeof(*c));
	if (!c) {
		err_sys(e, ENOMEM, "make a clone that waits");
		return NULL;
	}
	snprintf(c->template, sizeof(c->template), "%s", template);
	if (snprintf(c->dir, sizeof(c->dir), "%s/%llx", w->dir, (unsigned long long)clock_real_ns()) >= (int)sizeof(c->dir)) {
		c->dir[0] = '\0';
		err_set(e, ENAMETOOLONG, "%s is too long", w->dir);
	} else if (!(c->number = pods_number_take(w->host->pods))) {
		err_set(e, ENOSPC, "no VM number left on this host");
	} else if (!dir_remove(c->dir, e) && !dir_make(c->dir, 0700, e)) {
		return c;
	}
	waiting_end(w, c);
	return NULL;
}

static int bring_up(struct waiting *w, struct waiting_clone *c, struct template *t, const struct size *s, struct err *e)
{
	const struct host *h = w->host;
	char vm_dir[sizeof(c->dir) + 4], scratch[sizeof(c->dir) + 16], id[32];
	const struct vm_disk disk = {.serial = POD_SCRATCH_SERIAL, .path = scratch};
	snprintf(vm_dir, sizeof(vm_dir), "%s/vm", c->dir);
	snprintf(scratch, sizeof(scratch), "%s/scratch.bhd", c->dir);
	snprintf(id, sizeof(id), "waiting-%u", c->number);
	struct vm_paging paging = {.client = h->pager, .limit_bytes = (uint64_t)s->memory_mib << 20, .shares = SHARES};
	bool paged = h->pager && pager_client_usable(h->pager, NULL, 0);
	struct vm_config v = {.dir = vm_dir, .id = id, .name = "waiting", .vmx_path = h->vmx_path, .guest_dir = h->guest_dir, .engine = h->engine,
			      .vcpus = s->vcpus, .memory_mib = s->memory_mib, .disks = &disk, .disks_count = 1, .tap_fd = -1, .mac = "", .metrics_dir = h->metrics_dir,
			      .uid = h->vm_uid_base + c->number, .waiting = true, .restore_state_fd = -1, .restore_memory_fd = -1,
			      .paging = paged ? &paging : NULL};
	int rc = scratch_make(h->root, scratch, POD_SCRATCH_BYTES, e);
	if (!rc)
		rc = clone_start(t, &v, on_end, w, &c->sampled, &c->vm, e);
	if (!rc)
		rc = agent_client_open(vm_vsock_path(c->vm), AGENT_ANSWER_MS, &w->quit, nobody_hears, NULL, &c->agent, NULL, e);
	if (rc && c->vm && !vm_alive(c->vm)) {
		char words[256];
		vm_last_words(vm_dir, words, sizeof(words));
		err_set(e, EIO, "its VM ended: %s", words);
	}
	return rc;
}

static struct waiting_clone *make(struct waiting *w, struct size *s, struct err *e)
{
	struct template *t = template_take(w->host->templates, s->vcpus, s->memory_mib);
	uint64_t began = clock_mono_ns();
	if (!t)
		return NULL;                               // it is being made
	snprintf(s->template, sizeof(s->template), "%s", template_name(t));
	struct waiting_clone *c = clone_new(w, s->template, e);
	if (c && bring_up(w, c, t, s, e)) {
		waiting_end(w, c);
		c = NULL;
	}
	template_release(t);
	if (c) {
		c->made_ns = clock_mono_ns();
		log_info("waiting", "ready template=%s ms=%llu", s->template, (unsigned long long)((c->made_ns - began) / NS_PER_MS));
	}
	return c;
}

// ---- the thread

static unsigned count_of(const struct waiting *w, const char *template)
{
	unsigned n = 0;
	for (const struct waiting_clone *c = w->list; c; c = c->next)
		n += !strcmp(c->template, template);
	return n;
}

/* When one of this size may be made, if nothing happens before. */
static uint64_t due(const struct waiting *w, const struct size *s, uint64_t now)
{
	if (!s->vcpus || w->starts || s->retry_ns == NEVER || now >= s->used_ns + USED_NS || count_of(w, s->template) >= w->count)
		return NEVER;
	uint64_t at = w->disturbed_ns + QUIET_NS;
	at = at > w->pressed_ns ? at : w->pressed_ns;
	return at > s->retry_ns ? at : s->retry_ns;
}

/* The next size to make one of; NULL: all is well, or the moment is bad. */
static struct size *next_size(struct waiting *w)
{
	uint64_t now = clock_mono_ns();
	for (struct size *s = w->size; s < w->size + SIZES_MAX; s++)
		if (due(w, s, now) <= now)
			return s;
	return NULL;
}

static bool host_is_short(const struct waiting *w)
{
	struct pressure_state now;
	struct pager_host pager;
	pressure_read(w->host->root, &now);
	return now.memory || now.pids || (w->host->pager && !pager_client_host(w->host->pager, &pager, NULL) && pager.pressure);
}

/* Lock held before and after. */
static void make_next(struct waiting *w, struct size *s)
{
	struct err e = ERR_INIT;
	struct size made = *s;
	pthread_mutex_unlock(&w->lock);
	bool short_ = host_is_short(w);
	struct waiting_clone *c = short_ ? NULL : make(w, &made, &e);
	pthread_mutex_lock(&w->lock);
	if (s->vcpus != made.vcpus || s->memory_mib != made.memory_mib)
		s = &made;                                 // its place is another size's by now
	memcpy(s->template, made.template, sizeof(s->template));
	if (c) {
		c->next = w->list;
		w->list = c;
		return;
	}
	if (short_)
		w->pressed_ns = clock_mono_ns() + PRESSED_NS;
	else
		s->retry_ns = e.code ? clock_mono_ns() + FAILED_NS : NEVER;   // or its template is being made
	if (e.code && !w->quit)
		log_warn("waiting", "no clone waits for a pod: %s", e.text);
}

/* It is of a template that is no more, or was not used for long, or has ended. */
static bool useless(const struct waiting *w, const struct waiting_clone *c)
{
	uint64_t now = clock_mono_ns();
	bool used = false;
	for (const struct size *s = w->size; s < w->size + SIZES_MAX; s++)
		used |= s->vcpus && !strcmp(s->template, c->template) && now < s->used_ns + USED_NS;
	return !used || !vm_alive(c->vm) || !templates_have(w->host->templates, c->template);
}

static struct waiting_clone *take_useless(struct waiting *w)
{
	for (struct waiting_clone **at = &w->list; *at; at = &(*at)->next) {
		struct waiting_clone *c = *at;
		if (!useless(w, c))
			continue;
		*at = c->next;
		return c;
	}
	return NULL;
}

/* Lock held before and after. */
static void sleep_until_something(struct waiting *w)
{
	uint64_t now = clock_mono_ns(), until = NEVER;
	for (struct size *s = w->size; s < w->size + SIZES_MAX; s++) {
		uint64_t at = due(w, s, now), expires = s->used_ns + USED_NS;
		until = at < until ? at : until;
		until = expires > now && expires < until && count_of(w, s->template) ? expires : until;
	}
	pthread_mutex_unlock(&w->lock);
	struct pollfd p = {w->event, POLLIN, 0};
	poll(&p, 1, until == NEVER ? -1 : until <= now ? 0 : (int)((until - now) / NS_PER_MS) + 1);
	eventfd_t n;
	if (p.revents)
		eventfd_read(w->event, &n);
	pthread_mutex_lock(&w->lock);
	bool changed = atomic_exchange(&w->templates_changed, false);
	for (struct size *s = w->size; changed && s < w->size + SIZES_MAX; s++)
		s->retry_ns = s->retry_ns == NEVER ? 0 : s->retry_ns;
}

static void *run(void *arg)
{
	struct waiting *w = arg;
	pthread_mutex_lock(&w->lock);
	while (!w->quit) {
		struct waiting_clone *old = take_useless(w);
		struct size *s = old ? NULL : next_size(w);
		if (old) {
			pthread_mutex_unlock(&w->lock);
			log_info("waiting", "ended template=%s", old->template);
			waiting_end(w, old);
			pthread_mutex_lock(&w->lock);
		} else if (s) {
			make_next(w, s);
		} else {
			sleep_until_something(w);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

// ---- for pods

static void remember(struct waiting *w, const struct template *t)
{
	unsigned vcpus, memory_mib;
	struct size *oldest = w->size;
	template_size(t, &vcpus, &memory_mib);
	for (struct size *s = w->size; s < w->size + SIZES_MAX; s++) {
		if (s->vcpus == vcpus && s->memory_mib == memory_mib) {
			s->used_ns = clock_mono_ns();
			if (s->retry_ns == NEVER)
				s->retry_ns = 0;           // there is a template: t
			return;
		}
		if (s->used_ns < oldest->used_ns)
			oldest = s;
	}
	*oldest = (struct size){.vcpus = vcpus, .memory_mib = memory_mib, .used_ns = clock_mono_ns()};
}

struct waiting_clone *waiting_take(struct waiting *w, const struct template *t)
{
	if (!w)
		return NULL;
	pthread_mutex_lock(&w->lock);
	remember(w, t);
	struct waiting_clone **at = &w->list, *c;
	while (*at && (strcmp((*at)->template, template_name(t)) || !vm_alive((*at)->vm)))
		at = &(*at)->next;
	c = w->quit ? NULL : *at;
	if (c)
		*at = c->next;
	poke(w);
	pthread_mutex_unlock(&w->lock);
	return c;
}

void waiting_starts(struct waiting *w, int change)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->starts += change;
	w->disturbed_ns = clock_mono_ns();
	poke(w);
	pthread_mutex_unlock(&w->lock);
}

bool waiting_drop(struct waiting *w)
{
	if (!w)
		return false;
	pthread_mutex_lock(&w->lock);
	struct waiting_clone *all = w->list, *next;
	w->list = NULL;
	w->pressed_ns = clock_mono_ns() + PRESSED_NS;
	pthread_mutex_unlock(&w->lock);
	bool any = all;
	for (; all; all = next) {
		next = all->next;
		log_info("waiting", "ended template=%s: the host is short of memory", all->template);
		waiting_end(w, all);
	}
	return any;
}

// ---- for the operator

json_t *waiting_list(struct waiting *w)
{
	json_t *rows = json_array(), *row;
	struct vm *vms[WAITING_MAX * SIZES_MAX];
	size_t n = 0, i;
	if (!w)
		return rows;
	pthread_mutex_lock(&w->lock);
	for (struct waiting_clone *c = w->list; c && n < WAITING_MAX * SIZES_MAX; c = c->next)
		if (!json_array_append_new(rows, json_pack("{s:s, s:s}", "template", c->template, "start", "waiting")))
			vms[n++] = vm_get(c->vm);
	pthread_mutex_unlock(&w->lock);
	json_array_foreach(rows, i, row) {
		pods_vm_ask(row, vms[i]);
		vm_put(vms[i]);
	}
	return rows;
}

unsigned waiting_count(struct waiting *w, const char *template)
{
	if (!w)
		return 0;
	pthread_mutex_lock(&w->lock);
	unsigned n = count_of(w, template);
	pthread_mutex_unlock(&w->lock);
	return n;
}

// ---- beginning and end

static void end_leftovers(const struct host *h, const char *dir)
{
	own_dir DIR *d = opendir(dir);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		own_free char *one = NULL, *vm_dir = NULL;
		if (ent->d_name[0] == '.' || asprintf(&one, "%s/%s", dir, ent->d_name) < 0 || asprintf(&vm_dir, "%s/vm", one) < 0)
			continue;
		pods_end_leftover(h, vm_dir, "a clone that waited");
		dir_remove(one, NULL);
	}
}

int waiting_start(const struct host *h, unsigned count, struct waiting **out, struct err *e)
{
	own_free char *dir = NULL;
	if (asprintf(&dir, "%s/waiting", h->root) < 0)
		return err_sys(e, ENOMEM, "clones that wait");
	end_leftovers(h, dir);
	if (!count || !h->templates)
		return 0;
	struct waiting *w = calloc(1, sizeof(*w));
	if (!w)
		return err_sys(e, ENOMEM, "clones that wait");
	w->host = h;
	w->count = count;
	w->dir = take(dir);
	pthread_mutex_init(&w->lock, NULL);
	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = w->event < 0 ? err_sys(e, errno, "clones that wait") : dir_make(w->dir, 0700, e);
	if (!rc && (rc = pthread_create(&w->thread, NULL, run, w)))
		rc = err_sys(e, rc, "start the thread of the clones that wait");
	if (rc) {
		waiting_free(w);
		return rc;
	}
	pthread_setname_np(w->thread, "bh-waiting");
	templates_listen(h->templates, on_templates, w);
	*out = w;
	return 0;
}

void waiting_stop(struct waiting *w)
{
	if (!w)
		return;
	templates_listen(w->host->templates, NULL, NULL);
	pthread_mutex_lock(&w->lock);
	w->quit = 1;
	poke(w);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_mutex_lock(&w->lock);
	struct waiting_clone *left = take(w->list);
	pthread_mutex_unlock(&w->lock);
	for (struct waiting_clone *next; left; left = next) {
		next = left->next;
		waiting_end(w, left);
	}
}

void waiting_free(struct waiting *w)
{
	if (!w)
		return;
	if (w->event >= 0)
		close(w->event);
	pthread_mutex_destroy(&w->lock);
	free(w->dir);
	free(w);
}
