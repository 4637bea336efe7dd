// SPDX-License-Identifier: Apache-2.0
// All pods of this host; see pods.h. A pod enters from the API's watch or, at start, from its folder; it leaves when its
// worker has cleaned up.
#include "pods.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "cpu_rates.h"
#include "k8s/client.h"
#include "netw.h"
#include "pod.h"
#include "pods_internal.h"
#include "pods_shutdown.h"
#include "static_manifest.h"

#define WORKER_STACK (256 * 1024)

void pod_poke(struct pod *p)
{
	pthread_mutex_lock(&p->lock);
	p->dirty = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

void pod_wake_at(struct pod *p, uint64_t mono_ns)
{
	if (!p->next_wake_mono_ns || mono_ns < p->next_wake_mono_ns)
		p->next_wake_mono_ns = mono_ns;
}

unsigned pods_number_take(struct pods *ps)
{
	pthread_mutex_lock(&ps->lock);
	unsigned found = vm_numbers_take(&ps->numbers);
	pthread_mutex_unlock(&ps->lock);
	return found;
}

void pods_number_drop(struct pods *ps, unsigned n)
{
	pthread_mutex_lock(&ps->lock);
	vm_numbers_drop(&ps->numbers, n);
	pthread_mutex_unlock(&ps->lock);
}

void pods_number_hold(struct pods *ps, unsigned n, int gone, const char *who)
{
	log_warn("pods", "VM number %u stays taken until its process is gone: the VM of %s does not end", n, who);
	pthread_mutex_lock(&ps->lock);
	vm_numbers_hold(&ps->numbers, n, gone);
	pthread_mutex_unlock(&ps->lock);
}

void pods_end_leftover(const struct host *h, const char *vm_dir, const char *who)
{
	int gone = -1;
	uid_t uid = 0;
	if (!vm_ended_leftover(vm_dir, &gone, &uid))
		pods_number_hold(h->pods, uid - h->vm_uid_base, gone, who);
}

static void pod_free(struct pod *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		free(c->image_id), free(c->image_ref), free(c->image_asked), free(c->waiting_message), free(c->message);
		json_decref(c->image_config);
		json_decref(c->last_state);
		json_decref(c->resources);
	}
	free(p->containers);
	pod_claims_free(p);
	json_decref(p->obj);
	json_decref(p->seen);
	json_decref(p->kept_spec);
	json_decref(p->reported);
	json_decref(p->remembered);
	free(p->message);
	free(p->dir);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* uid comes from the API and becomes a folder name. */
static bool uid_ok(const char *uid)
{
	size_t n = strspn(uid, "0123456789abcdefghijklmnopqrstuvwxyzABCDEF-");
	return n > 0 && n < 64 && !uid[n];
}

static struct pod *pod_new(const struct host *h, json_t *obj)
{
	const char *uid = jpath_str(obj, "metadata.uid", "");
	const char *ns = jpath_str(obj, "metadata.namespace", ""), *name = jpath_str(obj, "metadata.name", "");
	struct pod *p = calloc(1, sizeof(*p));
	if (!p || !uid_ok(uid) || strlen(ns) >= sizeof(p->ns) || strlen(name) >= sizeof(p->name)) {
		free(p);
		return NULL;
	}
	p->host = h;
	p->net.tap_fd = -1;
	p->shutdown_grace_s = -1;
	strcpy(p->uid, uid);
	strcpy(p->ns, ns);
	strcpy(p->name, name);
	strcpy(p->phase, "Pending");
	snprintf(p->host_ip, sizeof(p->host_ip), "%s", h->node_addr);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	p->obj = json_incref(obj);
	p->dirty = true;
	p->start_ns = clock_real_ns();
	if (asprintf(&p->dir, "%s/pods/%s", h->root, uid) < 0) {
		p->dir = NULL;
		pod_free(p);
		return NULL;
	}
	return p;
}

/* With ps->lock held. */
static struct pod *find_uid(struct pods *ps, const char *uid)
{
	struct pod *p = ps->head;
	while (p && strcmp(p->uid, uid))
		p = p->next;
	return p;
}

/* With ps->lock held: forget pods whose worker has ended. */
static void reap(struct pods *ps)
{
	for (struct pod **at = &ps->head; *at;) {
		struct pod *p = *at;
		pthread_mutex_lock(&p->lock);
		bool finished = p->finished;
		pthread_mutex_unlock(&p->lock);
		if (!finished) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		pthread_join(p->worker, NULL);
		pod_free(p);
	}
}

static int start_worker(struct pod *p)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	int rc = pthread_create(&p->worker, &attr, pod_worker, p);
	pthread_attr_destroy(&attr);
	return rc;
}

/* With ps->lock held. */
static void admit(struct pods *ps, json_t *obj, bool is_static)
{
	struct pod *p = pod_new(ps->host, obj);
	if (!p) {
		log_warn("pods", "pod %s/%s not taken: bad uid or no memory", jpath_str(obj, "metadata.namespace", "?"),
			 jpath_str(obj, "metadata.name", "?"));
		return;
	}
	p->is_static = is_static;
	p->known = !pod_state_load(p);
	const char *phase = jpath_str(obj, "status.phase", "");
	if (!p->known && (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed")))
		strcpy(p->phase, phase);   // it has run before, not from this folder: it does not run again
	if (ps->shutdown && !p->known) {
		p->shutdown_grace_s = 0;
		strcpy(p->shut_reason, "NodeShutdown");
	}
	if (p->vm_number)
		vm_numbers_mark(&ps->numbers, p->vm_number);
	if (start_worker(p)) {
		log_error("pods", "no thread for pod %s/%s", p->ns, p->name);
		pod_free(p);
		return;
	}
	p->next = ps->head;
	ps->head = p;
}

static void update(struct pod *p, json_t *obj, bool gone)
{
	pthread_mutex_lock(&p->lock);
	if (obj) {
		json_incref(obj);
		json_decref(p->obj);
		p->obj = obj;
	}
	p->gone |= gone;
	if (gone || (obj && jpath_get(obj, "metadata.deletionTimestamp")))
		p->cancel = p->boot_cancel = 1;
	p->dirty = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

/* With ps->lock held: a static pod that has not ended, by its name. */
static struct pod *find_static(struct pods *ps, const char *ns, const char *name)
{
	for (struct pod *p = ps->head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		bool it = p->is_static && !p->mirror_over && !p->finished && !strcmp(p->ns, ns) && !strcmp(p->name, name);
		pthread_mutex_unlock(&p->lock);
		if (it)
			return p;
	}
	return NULL;
}

static json_t *as_deleted(const json_t *obj)
{
	char now[CLOCK_TEXT_MAX];
	json_t *copy = json_deep_copy(obj);
	jpath_set(copy, "metadata.deletionTimestamp", json_string(clock_text(clock_real_ns(), 0, now)));
	return copy;
}

/* With ps->lock held. An object that shows a static pod; one that shows none is deleted. */
static void mirror_event(struct pods *ps, json_t *obj, bool gone)
{
	struct pod *p = find_static(ps, jpath_str(obj, "metadata.namespace", ""), jpath_str(obj, "metadata.name", ""));
	if (p) {
		pod_mirror_seen(p, obj, gone);
		return;
	}
	own_json json_t *orphan = gone ? NULL : as_deleted(obj);
	if (orphan)
		admit(ps, orphan, false);
}

/* An object is kept as long as its pod. Who changed which field is more than half of it, and its status is what this host wrote. */
static void keep_needed(json_t *obj)
{
	const json_t *status = json_object_get(obj, "status");
	json_object_del(json_object_get(obj, "metadata"), "managedFields");
	if (json_is_object(status))
		json_object_set_new(obj, "status", json_pack("{s:O*, s:O*}", "phase", json_object_get(status, "phase"), "qosClass",
							     json_object_get(status, "qosClass")));
}

static void on_event(void *user, const char *type, json_t *obj)
{
	struct pods *ps = user;
	keep_needed(obj);
	const char *uid = jpath_str(obj, "metadata.uid", "");
	bool gone = !strcmp(type, "DELETED");
	pthread_mutex_lock(&ps->lock);
	reap(ps);
	struct pod *p = find_uid(ps, uid);
	if (p)
		update(p, obj, gone);
	else if (*static_annotation(obj, STATIC_MIRROR_KEY))
		mirror_event(ps, obj, gone);
	else if (!gone)
		admit(ps, obj, false);
	pthread_mutex_unlock(&ps->lock);
}

static void on_sync(void *user, json_t *items)
{
	struct pods *ps = user;
	size_t i;
	json_t *obj;
	json_array_foreach(items, i, obj)
		on_event(ps, "ADDED", obj);
	pthread_mutex_lock(&ps->lock);
	ps->synced = true;
	for (struct pod *p = ps->head; p; p = p->next) {
		bool there = false;
		json_array_foreach(items, i, obj)
			there |= !strcmp(jpath_str(obj, "metadata.uid", ""), p->uid);
		if (p->is_static)
			pod_mirror_listed(p, items);
		else if (!there)
			update(p, NULL, true);
	}
	pthread_mutex_unlock(&ps->lock);
}

static void on_state(void *user, int connected, const char *why)
{
	(void)user;
	if (connected)
		log_info("pods", "watching the API server");
	else
		log_limited(LOG_LEVEL_WARN, "pods", "API server not reachable: %s", why ? why : "?");
}

static json_t *read_state(const char *dir, const char *uid)
{
	own_free char *path = NULL;
	own_buf struct buf text = BUF_INIT;
	if (asprintf(&path, "%s/%s/state.json", dir, uid) < 0 || file_read(path, 16 << 20, &text, NULL))
		return NULL;
	return json_loadb(text.data, text.len, 0, NULL);
}

/* Before anybody takes a number: VMs of an earlier hostd still have theirs. */
static void mark_numbers(struct pods *ps, const char *dir)
{
	own_dir DIR *d = opendir(dir);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		own_json json_t *state = uid_ok(ent->d_name) ? read_state(dir, ent->d_name) : NULL;
		json_int_t n = jpath_int(state, "vmNumber", 0);
		if (n > 0 && n < VM_NUMBERS)
			vm_numbers_mark(&ps->numbers, (unsigned)n);
	}
}

/* A static pod that ended because the host went down: its file starts it anew. */
static bool went_down(const char *dir, const char *uid)
{
	own_json json_t *state = read_state(dir, uid);
	return jpath_bool(state, "static", false) && !jpath_int(state, "vmNumber", 0) && !strcmp(jpath_str(state, "reason", ""), "Terminated");
}

/* Pods that an earlier hostd left: known before the API answers, so that their VMs are watched at once. */
static void adopt_folders(struct pods *ps)
{
	own_free char *dir = NULL;
	if (asprintf(&dir, "%s/pods", ps->host->root) < 0)
		return;
	own_dir DIR *d = opendir(dir);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		if (!uid_ok(ent->d_name))
			continue;
		own_free char *path = NULL;
		own_buf struct buf text = BUF_INIT;
		if (asprintf(&path, "%s/%s/pod.json", dir, ent->d_name) < 0)
			return;
		own_json json_t *obj = file_read(path, 8 << 20, &text, NULL) ? NULL : json_loadb(text.data, text.len, 0, NULL);
		if (obj && !strcmp(jpath_str(obj, "metadata.uid", ""), ent->d_name) && !went_down(dir, ent->d_name)) {
			admit(ps, obj, false);   // its state says whether it is static
		} else {
			log_info("pods", "folder %s/%s %s, removed", dir, ent->d_name, obj ? "starts anew" : "has no readable pod.json");
			netw_teardown(ps->host->net, ent->d_name, NULL);
			char *at = strrchr(path, '/');
			*at = '\0';
			dir_remove(path, NULL);
		}
	}
}

int pods_open(const struct host *h, struct pods **out, struct err *e)
{
	own_free char *dir = NULL;
	struct pods *ps = calloc(1, sizeof(*ps));
	if (!ps || asprintf(&dir, "%s/pods", h->root) < 0) {
		free(ps);
		return err_sys(e, ENOMEM, "open pods");
	}
	int rc = dir_make(dir, 0700, e);
	if (rc) {
		free(ps);
		return rc;
	}
	ps->host = h;
	ps->rates = cpu_rates_new();
	mark_numbers(ps, dir);
	pthread_mutex_init(&ps->lock, NULL);
	*out = ps;
	return 0;
}

void pods_adopt(struct pods *ps)
{
	pthread_mutex_lock(&ps->lock);
	adopt_folders(ps);
	pthread_mutex_unlock(&ps->lock);
}

/* --- static pods --- */

static bool has_uid(const json_t *objects, const char *uid)
{
	size_t i;
	json_t *obj;
	json_array_foreach((json_t *)objects, i, obj)
		if (!strcmp(jpath_str(obj, "metadata.uid", ""), uid))
			return true;
	return false;
}

/* With the pod's lock held: its file is there, but nobody can say what is in it. */
static bool is_unclear(const struct pod *p, const json_t *unclear)
{
	size_t i;
	json_t *file;
	json_array_foreach((json_t *)unclear, i, file)
		if (!strcmp(json_string_value(file), static_annotation(p->obj, STATIC_FILE_KEY)))
			return true;
	return false;
}

/* With ps->lock held: the file is gone or says something else. The pod has its grace period like any other. */
static void static_end(struct pod *p)
{
	own_json json_t *deleted = NULL;
	pthread_mutex_lock(&p->lock);
	if (!jpath_get(p->obj, "metadata.deletionTimestamp"))
		deleted = as_deleted(p->obj);
	pthread_mutex_unlock(&p->lock);
	if (deleted)
		update(p, deleted, false);
}

bool pods_static_set(struct pods *ps, const json_t *wanted, const json_t *unclear)
{
	bool some_wait = false;
	size_t i;
	json_t *obj;
	pthread_mutex_lock(&ps->lock);
	reap(ps);
	for (struct pod *p = ps->head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		bool stays = !p->is_static || has_uid(wanted, p->uid) || is_unclear(p, unclear);
		pthread_mutex_unlock(&p->lock);
		if (!stays)
			static_end(p);
	}
	json_array_foreach((json_t *)wanted, i, obj) {
		const struct pod *p = find_uid(ps, jpath_str(obj, "metadata.uid", ""));
		if (p ? jpath_get(p->obj, "metadata.deletionTimestamp") != NULL :
			find_static(ps, jpath_str(obj, "metadata.namespace", ""), jpath_str(obj, "metadata.name", "")) != NULL)
			some_wait = true;   // for the end of what it replaces
		else if (!p)
			admit(ps, obj, true);
	}
	pthread_mutex_unlock(&ps->lock);
	return some_wait;
}

int pods_watch(struct pods *ps, struct err *e)
{
	static const struct k8s_informer_ops ops = {.on_sync = on_sync, .on_event = on_event, .on_state = on_state};
	char path[512];
	snprintf(path, sizeof(path), "/api/v1/pods?fieldSelector=spec.nodeName%%3D%s", ps->host->node_name);
	return k8s_informer_start(ps->host->api, path, &ops, ps, &ps->informer, e);
}

void pods_close(struct pods *ps)
{
	if (!ps)
		return;
	if (ps->informer)
		k8s_informer_stop(ps->informer);
	pods_shutdown_end(ps);
	for (struct pod *p = ps->head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		p->quit = p->dirty = true;
		p->cancel = p->boot_cancel = p->leave = 1;
		pthread_cond_signal(&p->wake);
		pthread_mutex_unlock(&p->lock);
	}
	while (ps->head) {
		struct pod *p = ps->head;
		ps->head = p->next;
		pthread_join(p->worker, NULL);
		pod_free(p);
	}
	pthread_mutex_destroy(&ps->lock);
	vm_numbers_fini(&ps->numbers);
	cpu_rates_free(ps->rates);
	free(ps);
}
