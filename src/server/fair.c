// SPDX-License-Identifier: Apache-2.0
#include "server/fair.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/request.h"
#include "server/status.h"

#define THREADS_MAX 4              // of HTTP
#define REQUEST_NS 50000           // reading a request, TLS, sending the answer's head
#define WRITE_NS 100000            // the store's part of a change
#define BYTE_NS 2                  // of an answer

struct fair {
	struct flows *flows;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

static struct request *request_of(struct flow_ticket *t)
{
	return (struct request *)((char *)t - offsetof(struct request, ticket));
}

/* --- who is counted --- */

static bool is_node_business(const struct route *t)
{
	return (!strcmp(t->resource, "leases") && !strcmp(t->group, "coordination.k8s.io")) ||
	       ((!strcmp(t->resource, "nodes") || !strcmp(t->resource, "pods")) && !strcmp(t->subresource, "status"));
}

static bool is_exempt(const struct request *r)
{
	const struct route *t = &r->route;

	if (!r->srv->fair || identity_in(r->who, "system:masters"))
		return true;
	if (!t->is_resource)
		return !strncmp(t->path, "/healthz", 8) || !strncmp(t->path, "/livez", 6) || !strncmp(t->path, "/readyz", 7);
	return identity_in(r->who, "system:nodes") && is_node_business(t);
}

/* --- the thread: gives those who wait their turn --- */

static void wait_until(struct fair *f, uint64_t at)
{
	struct timespec t = { .tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S) };

	if (at == FLOWS_NEVER)
		pthread_cond_wait(&f->wake, &f->lock);
	else
		pthread_cond_timedwait(&f->wake, &f->lock, &t);
}

static void *run(void *arg)
{
	struct fair *f = arg;

	pthread_mutex_lock(&f->lock);
	for (;;) {
		uint64_t at;
		// At the end everybody's time has come.
		struct flow_ticket *t = flows_next(f->flows, f->stop ? FLOWS_NEVER / 2 : clock_mono_ns(), &at);
		if (t)
			request_wake(request_of(t));
		else if (f->stop)
			break;
		else
			wait_until(f, at);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int fair_start(unsigned percent, struct fair **out, struct err *e)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t threads = processors > 2 ? THREADS_MAX : 2;
	pthread_condattr_t monotonic;
	struct fair *f;
	int r;

	*out = NULL;
	if (percent >= 100)
		return 0;
	f = calloc(1, sizeof *f);
	if (f)
		f->flows = flows_new((processors < (long)threads ? (uint64_t)processors : threads) * NS_PER_S / 100 * percent);
	if (!f || !f->flows) {
		free(f);
		return err_set(e, ENOMEM, "out of memory");
	}
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&f->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = pthread_create(&f->thread, NULL, run, f);
	if (r) {
		flows_free(f->flows);
		free(f);
		return err_sys(e, r, "start the thread of fairness");
	}
	*out = f;
	return 0;
}

void fair_stop(struct fair *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
}

void fair_free(struct fair *f)
{
	if (!f)
		return;
	flows_free(f->flows);
	free(f);
}

void fair_counts(struct fair *f, struct flow_counts *c)
{
	pthread_mutex_lock(&f->lock);
	flows_counts(f->flows, c);
	pthread_mutex_unlock(&f->lock);
}

/* --- a request's way --- */

static void refuse(struct request *r)
{
	json_t *s = status_new(429, "TooManyRequests", "too many requests from user \"%.128s\": more than a fair part of the server's time; "
			       "try again later", r->who->name);

	json_object_set_new(s, "details", json_pack("{s:i}", "retryAfterSeconds", 1));
	reply_status(r, s);
}

static void turn_has_come(struct request *r)
{
	bool late = r->ticket.late;

	if (!late && !r->srv->stopping) {
		r->fair_admit(r);
		return;
	}
	fair_leave(r);
	if (r->srv->stopping)
		reply_status(r, status_new(503, "ServiceUnavailable", "the server is shutting down"));
	else
		refuse(r);
}

static uint64_t base_cost(const struct request *r)
{
	return REQUEST_NS + (strcmp(r->route.method, "GET") ? WRITE_NS : 0);
}

void fair_enter(struct request *r, void (*admit)(struct request *r))
{
	struct fair *f = r->srv->fair;
	enum flow_answer answer;

	if (is_exempt(r)) {
		admit(r);
		return;
	}
	r->fair_admit = admit;
	r->ticket = (struct flow_ticket){ 0 };   // it may have been under way for somebody else
	pthread_mutex_lock(&f->lock);
	answer = f->stop ? FLOW_REFUSE : flows_ask(f->flows, &r->ticket, r->who->name, clock_mono_ns());
	if (answer == FLOW_WAIT) {
		request_suspend(r, turn_has_come);   // under the lock: its turn may come at once
		pthread_cond_signal(&f->wake);
	}
	flow_charge(&r->ticket, base_cost(r));
	pthread_mutex_unlock(&f->lock);
	if (answer == FLOW_REFUSE)
		refuse(r);
	else if (answer == FLOW_GO)
		admit(r);
}

void fair_worked(struct request *r, uint64_t ns)
{
	flow_charge(&r->ticket, ns);       // the ticket is the request's; the account is only touched at the end
	if (r->follows)
		fair_leave(r);
}

void fair_sent(struct request *r, uint64_t bytes)
{
	flow_charge(&r->ticket, bytes * BYTE_NS);
}

void fair_leave(struct request *r)
{
	struct fair *f = r->srv->fair;

	if (!f || !r->ticket.flow)
		return;
	pthread_mutex_lock(&f->lock);
	flows_leave(f->flows, &r->ticket);
	pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
}
