// SPDX-License-Identifier: Apache-2.0
#include "server/etcd_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

#define SILENCE_NS (10 * NS_PER_S)   // then the member may be cut off from the others without knowing
#define BACKOFF_MS 100

enum state { OPEN, BROKEN, LOST };

struct etcd_watch {
	const struct etcd_place *place;
	const char *first, *last;
	const struct etcd_watch_ops *ops;
	void *user;
	pthread_t thread;
	CURLM *multi;
	_Atomic bool stopping, hurry;

	// The thread's.
	CURL *easy;
	int member;
	int64_t next;                // revision to go on with
	enum state state;
	struct buf request, reply;
	size_t sent;
	uint64_t heard_ns, tick_ns;
};

/* --- the stream's bytes --- */

/* The request stays open behind its one message: an end of it would end the stream. */
static size_t give_request(char *out, size_t size, size_t n, void *user)
{
	struct etcd_watch *w = user;
	size_t len = w->request.len - w->sent;

	if (!len)
		return CURL_READFUNC_PAUSE;
	if (len > size * n)
		len = size * n;
	memcpy(out, w->request.data + w->sent, len);
	w->sent += len;
	return len;
}

static void take_answer(struct etcd_watch *w, const Etcd__WatchResponse *a)
{
	if (a->canceled) {
		w->state = a->compact_revision ? LOST : BROKEN;
		if (w->state == BROKEN)
			log_warn("store", "etcd ended a watch: %s", a->cancel_reason);
		return;
	}
	if (!a->n_events)
		return;
	w->ops->events(w->user, a->events, a->n_events);
	w->next = a->events[a->n_events - 1]->kv->mod_revision + 1;
}

static bool events_complete(const Etcd__WatchResponse *a)
{
	for (size_t i = 0; i < a->n_events; i++)
		if (!a->events[i]->kv || a->events[i]->kv->mod_revision <= 0)
			return false;
	return true;
}

static size_t take_bytes(char *data, size_t size, size_t n, void *user)
{
	struct etcd_watch *w = user;
	ssize_t len;

	if (buf_append(&w->reply, data, size * n))
		return 0;
	w->heard_ns = clock_mono_ns();
	while (w->state == OPEN && (len = etcd_frame_len(&w->reply)) >= 0) {
		Etcd__WatchResponse *a = etcd__watch_response__unpack(NULL, len, (uint8_t *)w->reply.data + 5);
		if (a && events_complete(a))
			take_answer(w, a);
		else
			w->state = BROKEN;
		if (a)
			etcd__watch_response__free_unpacked(a, NULL);
		buf_consume(&w->reply, 5 + len);
	}
	return w->state != OPEN || (w->reply.len >= 5 && etcd_frame_len(&w->reply) == -EPROTO) ? 0 : size * n;
}

/* --- the stream --- */

static int make_request(struct etcd_watch *w)
{
	Etcd__WatchCreateRequest create = ETCD__WATCH_CREATE_REQUEST__INIT;
	Etcd__WatchRequest request = ETCD__WATCH_REQUEST__INIT;

	create.key = (ProtobufCBinaryData){ strlen(w->first), (uint8_t *)w->first };
	create.range_end = (ProtobufCBinaryData){ strlen(w->last), (uint8_t *)w->last };
	create.start_revision = w->next;
	request.request_union_case = ETCD__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	request.create_request = &create;
	w->request.len = 0;
	return etcd_frame(&request.base, &w->request);
}

static void close_stream(struct etcd_watch *w)
{
	if (w->easy) {
		curl_multi_remove_handle(w->multi, w->easy);
		curl_easy_cleanup(w->easy);
	}
	w->easy = NULL;
}

static int open_stream(struct etcd_watch *w)
{
	w->easy = etcd_easy_new(w->place);
	w->sent = w->reply.len = 0;
	if (!w->easy || make_request(w) || etcd_easy_aim(w->easy, w->place, w->member, "Watch/Watch", false))
		return -ENOMEM;
	curl_easy_setopt(w->easy, CURLOPT_READFUNCTION, give_request);
	curl_easy_setopt(w->easy, CURLOPT_READDATA, w);
	curl_easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(w->easy, CURLOPT_WRITEDATA, w);
	curl_easy_setopt(w->easy, CURLOPT_FRESH_CONNECT, 1L);   // the last one may be what was wrong
	w->state = OPEN;
	w->hurry = false;
	w->heard_ns = clock_mono_ns();
	return curl_multi_add_handle(w->multi, w->easy) == CURLM_OK ? 0 : -ENOMEM;
}

static void tick(struct etcd_watch *w)
{
	uint64_t now = clock_mono_ns();

	if (now - w->tick_ns < NS_PER_S)
		return;
	w->tick_ns = now;
	w->ops->tick(w->user);
}

/* Read until the stream is over for some reason. */
static void run_stream(struct etcd_watch *w)
{
	int running = 1, left;
	CURLMsg *m;

	while (!w->stopping && w->state == OPEN) {
		curl_multi_perform(w->multi, &running);
		while ((m = curl_multi_info_read(w->multi, &left)))
			if (m->msg == CURLMSG_DONE && w->state == OPEN) {
				log_limited(LOG_LEVEL_WARN, "store", "etcd watch at %s: %s", w->place->urls[w->member],
					    curl_easy_strerror(m->data.result));
				w->state = BROKEN;
			}
		if (w->state != OPEN)
			return;
		if (w->hurry || clock_mono_ns() - w->heard_ns > SILENCE_NS)
			w->state = BROKEN;
		tick(w);
		curl_multi_poll(w->multi, NULL, 0, 1000, NULL);
	}
}

static void *watch_main(void *arg)
{
	struct etcd_watch *w = arg;

	while (!w->stopping) {
		if (open_stream(w) == 0)
			run_stream(w);
		close_stream(w);
		if (w->state == LOST) {
			int64_t after = w->ops->lost(w->user);
			if (after >= 0)
				w->next = after + 1;
		}
		w->member = (w->member + 1) % w->place->count;
		tick(w);
		if (!w->stopping)
			curl_multi_poll(w->multi, NULL, 0, BACKOFF_MS, NULL);
	}
	return NULL;
}

/* --- from other threads --- */

void etcd_watch_hurry(struct etcd_watch *w)
{
	w->hurry = true;
	curl_multi_wakeup(w->multi);
}

static void watch_free(struct etcd_watch *w)
{
	if (w->multi)
		curl_multi_cleanup(w->multi);
	buf_fini(&w->request);
	buf_fini(&w->reply);
	free(w);
}

int etcd_watch_start(const struct etcd_place *p, const char *first, const char *last, int64_t after,
		     const struct etcd_watch_ops *ops, void *user, struct etcd_watch **out, struct err *e)
{
	struct etcd_watch *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return err_set(e, ENOMEM, "store: out of memory");
	*w = (struct etcd_watch){ .place = p, .first = first, .last = last, .next = after + 1, .ops = ops, .user = user,
				  .multi = curl_multi_init() };
	r = w->multi ? -pthread_create(&w->thread, NULL, watch_main, w) : -ENOMEM;
	if (r) {
		watch_free(w);
		return err_sys(e, -r, "store: start the thread that follows etcd");
	}
	pthread_setname_np(w->thread, "etcd-watch");
	*out = w;
	return 0;
}

void etcd_watch_stop(struct etcd_watch *w)
{
	if (!w)
		return;
	w->stopping = true;
	curl_multi_wakeup(w->multi);
	pthread_join(w->thread, NULL);
	watch_free(w);
}
