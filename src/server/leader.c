// SPDX-License-Identifier: Apache-2.0
#include "server/leader.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "server/registry.h"
#include "server/store.h"

#define NAMESPACE "kube-system"
#define NAME "bulkhead-controllers"
#define DURATION_S 10                 // a holder that has not renewed for so long is gone
#define GIVE_UP_NS (6 * NS_PER_S)     // a holder that could not renew for so long stops
#define RENEW_NS (2 * NS_PER_S)
#define LOOK_NS (1 * NS_PER_S)        // how often the others look

struct leader {
	struct server *srv;
	const struct leader_ops *ops;
	void *user;
	char me[300];
	pthread_t thread;
	bool threaded;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stopping;               // under lock

	// The thread's.
	bool leading;
	uint64_t renewed_ns;         // when we last held it for certain
	uint64_t seen_rv, seen_ns;   // the Lease as we know it, and when we came to know it
};

/* --- the Lease --- */

static json_t *make_lease(struct reg_write *w, const json_t *cur, json_t **next)
{
	struct leader *l = w->user;
	const char *holder = jpath_str(cur, "spec.holderIdentity", "");
	bool mine = !strcmp(holder, l->me);
	char now[CLOCK_TEXT_MAX];

	clock_text(clock_real_ns(), 6, now);
	*next = cur ? json_deep_copy(cur) : json_pack("{s:{s:s,s:s}}", "metadata", "name", NAME, "namespace", NAMESPACE);
	jpath_set(*next, "spec.holderIdentity", json_string(l->me));
	jpath_set(*next, "spec.leaseDurationSeconds", json_integer(DURATION_S));
	jpath_set(*next, "spec.renewTime", json_string(now));
	if (!mine) {
		jpath_set(*next, "spec.acquireTime", json_string(now));
		jpath_set(*next, "spec.leaseTransitions", json_integer(jpath_int(cur, "spec.leaseTransitions", -1) + 1));
	}
	return NULL;
}

static json_t *make_released(struct reg_write *w, const json_t *cur, json_t **next)
{
	(void)w;
	*next = json_deep_copy(cur);
	jpath_set(*next, "spec.holderIdentity", json_string(""));
	jpath_set(*next, "spec.leaseDurationSeconds", json_integer(1));
	return NULL;
}

/* Write the Lease if it still is the one that we know (cur; NULL: absent). */
static int write_lease(struct leader *l, struct obj *cur, reg_make *make)
{
	const struct k8s_kind *k = k8s_kind_find("coordination.k8s.io", "v1", "leases");
	own_json json_t *was = cur ? obj_json(cur) : NULL, *next = NULL;
	struct reg_write about = { .user = l };
	struct store_write w = { .expect = cur ? cur->rv : 0 };
	char key[REG_KEY_MAX];
	int r;

	if (!cur) {   // the first one ever: with everything that a new object gets
		struct reg_write create = { .srv = l->srv, .kind = k, .action = REG_CREATE, .ns = NAMESPACE, .name = "", .subresource = "",
					    .make = make, .user = l };
		struct err e = ERR_INIT;
		return reg_run(&create, NULL, &e);
	}
	make(&about, was, &next);
	r = next ? obj_encode(reg_key(k, NAMESPACE, NAME, key), next, &w.obj) : -ENOMEM;
	if (!r)
		r = store_commit(l->srv->store, &w);
	obj_unref(w.out);
	return r;
}

static struct obj *get_lease(struct leader *l)
{
	char key[REG_KEY_MAX];

	return store_get(l->srv->store, reg_key(k8s_kind_find("coordination.k8s.io", "v1", "leases"), NAMESPACE, NAME, key));
}

/* Is it ours, or free to be taken? */
static bool may_take(struct leader *l, struct obj *cur, uint64_t now)
{
	own_json json_t *j = cur ? obj_json(cur) : NULL;
	const char *holder = jpath_str(j, "spec.holderIdentity", "");

	if (!cur || !*holder || !strcmp(holder, l->me))
		return true;
	if (cur->rv != l->seen_rv) {
		l->seen_rv = cur->rv;
		l->seen_ns = now;
	}
	return now - l->seen_ns > jpath_int(j, "spec.leaseDurationSeconds", DURATION_S) * NS_PER_S;
}

/* --- leading --- */

static void step_down(struct leader *l, const char *why)
{
	log_warn("leader", "no longer leading: %s", why);
	l->ops->stop(l->user);
	l->leading = false;
}

static void release(struct leader *l)
{
	own_obj struct obj *cur = get_lease(l);
	own_json json_t *j = cur ? obj_json(cur) : NULL;

	if (cur && !strcmp(jpath_str(j, "spec.holderIdentity", ""), l->me))
		write_lease(l, cur, make_released);
}

static void step_up(struct leader *l)
{
	struct err e = ERR_INIT;

	log_info("leader", "leading as %s", l->me);
	if (l->ops->start(l->user, &e)) {
		log_error("leader", "%s", e.text);
		l->ops->stop(l->user);
		release(l);
		return;
	}
	l->leading = true;
}

/* One look at the Lease. Returns how long to wait for the next. */
static uint64_t look(struct leader *l)
{
	own_obj struct obj *cur = get_lease(l);
	uint64_t now = clock_mono_ns();

	if (!may_take(l, cur, now)) {
		if (l->leading)
			step_down(l, "another server took the Lease");
		return LOOK_NS;
	}
	if (write_lease(l, cur, make_lease) == 0) {
		l->renewed_ns = now;
		if (!l->leading)
			step_up(l);
		return RENEW_NS;
	}
	if (l->leading && clock_mono_ns() - l->renewed_ns > GIVE_UP_NS)
		step_down(l, "the Lease could not be renewed");
	return LOOK_NS;
}

static bool pause_ns(struct leader *l, uint64_t ns)
{
	uint64_t at = clock_mono_ns() + ns;
	struct timespec until = { at / NS_PER_S, at % NS_PER_S };
	bool stopping;

	pthread_mutex_lock(&l->lock);
	while (!l->stopping && pthread_cond_timedwait(&l->cond, &l->lock, &until) != ETIMEDOUT)
		;
	stopping = l->stopping;
	pthread_mutex_unlock(&l->lock);
	return !stopping;
}

static void *leader_main(void *arg)
{
	struct leader *l = arg;

	while (pause_ns(l, look(l)))
		;
	if (l->leading) {
		l->ops->stop(l->user);
		release(l);
	}
	return NULL;
}

/* --- starting and stopping --- */

static void leader_free(struct leader *l)
{
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->cond);
	free(l);
}

int leader_start(struct server *srv, const struct leader_ops *ops, void *user, struct leader **out, struct err *e)
{
	struct leader *l = calloc(1, sizeof *l);
	pthread_condattr_t monotonic;
	unsigned random = 0;
	int r;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->srv = srv;
	l->ops = ops;
	l->user = user;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (getrandom(&random, sizeof random, 0) < 0)
		random = clock_real_ns();
	snprintf(l->me, sizeof l->me, "%s_%08x", srv->node_name, random);
	if (!store_shared(srv->store)) {
		r = ops->start(user, e);
		l->leading = true;
	} else if ((r = -pthread_create(&l->thread, NULL, leader_main, l))) {
		err_sys(e, -r, "start the thread that keeps the Lease");
	} else {
		l->threaded = true;
	}
	*out = l;
	return r;
}

void leader_stop(struct leader *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->lock);
	if (l->threaded)
		pthread_join(l->thread, NULL);
	else
		l->ops->stop(l->user);
	leader_free(l);
}
