// SPDX-License-Identifier: Apache-2.0
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/usock.h"
#include "evict.h"
#include "fault.h"
#include "pressure.h"

enum { CLIENTS_MAX = 64 };

struct server {
	struct evloop *loop;
	struct guests *g;
	uint32_t cluster;
	const struct pressure *pressure;
	struct evwatch *listener;
	struct evwatch *client[CLIENTS_MAX];
};

union request {
	struct pager_msg head;
	struct pager_attach attach;
	struct pager_vm_ref ref;
	struct pager_range range;
	struct pager_limit limit;
};

union reply {
	struct pager_msg head;
	struct pager_stats stats;
	struct pager_done done;
	struct pager_host host;
	struct pager_error error;
};

struct call {
	struct server *s;
	const union request *in;
	const int *fds;
	size_t nfds;
	union reply *out;
};

// ---- Requests. Return 0 and fill in the reply, or -errno with text. ----

static int on_attach(struct call *c, struct err *e)
{
	return guest_attach(c->s->g, &c->in->attach, c->fds, c->nfds, e);
}

static int on_detach(struct call *c, struct err *e)
{
	return guest_detach(c->s->g, c->in->ref.vm, e);
}

static int find(struct call *c, struct guest **guest, struct err *e)
{
	*guest = guest_find(c->s->g, c->in->ref.vm);           // the id is at the same place in all of them
	return *guest ? 0 : err_set(e, ENOENT, "no such guest is attached");
}

static int on_stats(struct call *c, struct err *e)
{
	struct guest *guest;
	struct pager_stats *s = &c->out->stats;
	struct pager_vm_usage u;
	int rc = find(c, &guest, e);
	if (rc)
		return rc;
	pager_vm_usage(guest->vm, &u);
	s->memory_bytes = pager_vm_pages(guest->vm) * PAGER_PAGE;
	s->resident_bytes = u.resident * PAGER_PAGE;
	s->evicted_bytes = u.evicted * PAGER_PAGE;
	s->faults = guest->faults;
	s->zero = guest->zero;
	s->copied = guest->copied;
	s->restored = guest->restored;
	s->evictions = guest->evictions;
	s->dropped = guest->dropped;
	s->failed = guest->failed;
	s->shared_bytes = guest_shared(guest) * PAGER_PAGE;
	for (int i = 0; i < 32; i++)
		s->latency_ns[i] = guest->latency[i];
	guest_put(c->s->g, guest);
	return 0;
}

static int on_evict(struct call *c, struct err *e)
{
	struct guest *guest;
	int rc = find(c, &guest, e);
	if (rc)
		return rc;
	c->out->done.pages = evict_pages(c->s->g, guest, c->in->range.length / PAGER_PAGE);
	guest_put(c->s->g, guest);
	return 0;
}

static int range(struct call *c, const struct guest *guest, uint64_t *first, uint64_t *pages, struct err *e)
{
	uint64_t all = pager_vm_pages(guest->vm);
	const struct pager_range *r = &c->in->range;
	if ((r->offset | r->length) % PAGER_PAGE || r->offset / PAGER_PAGE > all
			|| r->length / PAGER_PAGE > all - r->offset / PAGER_PAGE)
		return err_set(e, EINVAL, "a range must be whole pages within the guest's memory");
	*first = r->offset / PAGER_PAGE;
	*pages = r->length / PAGER_PAGE;
	return 0;
}

static int on_discard(struct call *c, struct err *e)
{
	struct guest *guest;
	uint64_t first = 0, pages = 0;
	int rc = find(c, &guest, e);
	if (rc)
		return rc;
	rc = range(c, guest, &first, &pages, e);
	for (uint64_t i = 0; !rc && i < pages; i++)
		c->out->done.pages += evict_discard(c->s->g, guest, (uint32_t)(first + i)) == 0;
	guest_put(c->s->g, guest);
	return rc;
}

static int map_of(const struct guest *guest, uint64_t page)
{
	for (uint32_t i = 0; i < guest->maps; i++)
		if (page >= guest->map[i].first && page - guest->map[i].first < guest->map[i].pages)
			return (int)i;
	return -1;
}

static int on_prefetch(struct call *c, struct err *e)
{
	struct guest *guest;
	uint64_t first = 0, pages = 0;
	int rc = find(c, &guest, e);
	if (rc)
		return rc;
	rc = range(c, guest, &first, &pages, e);
	for (uint64_t i = first; !rc && i < first + pages; i++) {
		int map = map_of(guest, i);
		if (map < 0 || pager_state(guest->vm, i) != PAGER_UNLOADED)
			continue;
		int failed = fault_resolve(guest, (uint32_t)map, (uint32_t)i, c->s->cluster, true);
		c->out->done.pages += failed == 0;
		if (failed == -ENOMEM || failed == -ESRCH)
			break;
	}
	guest_put(c->s->g, guest);
	return rc;
}

static int on_limit(struct call *c, struct err *e)
{
	struct guest *guest;
	int rc = find(c, &guest, e);
	if (rc)
		return rc;
	guest->limit = c->in->limit.limit_bytes / PAGER_PAGE;
	guest->reserve = c->in->limit.reserve_bytes / PAGER_PAGE;
	guest->shares = c->in->limit.shares ? c->in->limit.shares : GUEST_SHARES;
	guest_put(c->s->g, guest);
	return 0;
}

static void sum_guests(struct guests *g, struct pager_host *h)
{
	for (uint32_t i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = guest_at(g, i);
		struct pager_vm_usage u;
		if (!guest)
			continue;
		pager_vm_usage(guest->vm, &u);
		h->resident_bytes += u.resident * PAGER_PAGE;
		h->evicted_bytes += u.evicted * PAGER_PAGE;
		guest_put(g, guest);
	}
}

static int on_host(struct call *c, struct err *e)
{
	struct pager_usage u;
	struct store_usage s;
	(void)e;
	pager_usage(c->s->g->pager, &u);
	store_usage(c->s->g->store, &s);
	c->out->host = (struct pager_host){ .vms = u.vms, .vads = u.vads, .frames_used = u.frames_used, .frames = u.frames,
		.memory_limit_bytes = c->s->pressure->max_pages * PAGER_PAGE, .store_pages = s.pages, .store_bytes = s.bytes,
		.store_file_bytes = s.file_bytes, .pressure = pressure_now(c->s->pressure) };
	sum_guests(c->s->g, &c->out->host);
	return 0;
}

static const struct handler { size_t in, out; int (*fn)(struct call *c, struct err *e); } handlers[] = {
	[PAGER_MSG_ATTACH] = { sizeof(struct pager_attach), sizeof(struct pager_msg), on_attach },
	[PAGER_MSG_DETACH] = { sizeof(struct pager_vm_ref), sizeof(struct pager_msg), on_detach },
	[PAGER_MSG_STATS] = { sizeof(struct pager_vm_ref), sizeof(struct pager_stats), on_stats },
	[PAGER_MSG_EVICT] = { sizeof(struct pager_range), sizeof(struct pager_done), on_evict },
	[PAGER_MSG_DISCARD] = { sizeof(struct pager_range), sizeof(struct pager_done), on_discard },
	[PAGER_MSG_PREFETCH] = { sizeof(struct pager_range), sizeof(struct pager_done), on_prefetch },
	[PAGER_MSG_LIMIT] = { sizeof(struct pager_limit), sizeof(struct pager_msg), on_limit },
	[PAGER_MSG_HOST] = { sizeof(struct pager_msg), sizeof(struct pager_host), on_host },
};

static int dispatch(struct call *c, size_t len, size_t *out_len, struct err *e)
{
	const struct pager_msg *m = &c->in->head;
	if (len < sizeof(*m) || m->version != PAGER_MSG_VERSION)
		return err_set(e, EPROTO, "pagerd speaks version %d of its messages", PAGER_MSG_VERSION);
	const struct handler *h = m->type < sizeof(handlers) / sizeof(handlers[0]) ? &handlers[m->type] : NULL;
	if (!h || !h->fn)
		return err_set(e, EPROTO, "there is no message of type %u", m->type);
	if (len != h->in)
		return err_set(e, EPROTO, "a message of type %u has %zu bytes, not %zu", m->type, h->in, len);
	*out_len = h->out;
	return h->fn(c, e);
}

/* Returns 0, or -errno: the peer has no answer, and must not wait for one. */
static int answer(struct server *s, int fd, const union request *in, size_t len, const int *fds, size_t nfds)
{
	union reply out;
	struct err e = ERR_INIT;
	size_t out_len = 0;
	memset(&out, 0, sizeof(out));
	struct call c = { s, in, fds, nfds, &out };
	if (dispatch(&c, len, &out_len, &e)) {
		memset(&out, 0, sizeof(out));
		out_len = sizeof(out.error);
		out.head.type = PAGER_MSG_ERROR;
		out.error.code = e.code;
		snprintf(out.error.text, sizeof(out.error.text), "%s", e.text);
		if (e.code != EEXIST)                          // hostd asks, it does not know what an earlier one did
			log_limited(LOG_LEVEL_WARN, "control", "%s", e.text);
	} else {
		out.head.type = in->head.type;
	}
	out.head.version = PAGER_MSG_VERSION;
	out.head.id = len >= sizeof(in->head) ? in->head.id : 0;
	return usock_send(fd, &out, out_len, NULL, 0);
}

// ---- Connections ----

static void drop(struct server *s, struct evwatch *w)
{
	for (int i = 0; i < CLIENTS_MAX; i++)
		if (s->client[i] == w)
			s->client[i] = NULL;
	int fd = evwatch_fd(w);
	evloop_remove(w);
	close(fd);
}

static void on_client(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct server *s = user;
	union request in;
	int fds[USOCK_FDS_MAX];
	size_t nfds = USOCK_FDS_MAX;
	(void)l, (void)events;
	ssize_t n = usock_recv(evwatch_fd(w), &in, sizeof(in), fds, &nfds);
	if (n <= 0) {
		drop(s, w);
		return;
	}
	int rc = answer(s, evwatch_fd(w), &in, (size_t)n, fds, nfds);
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	if (rc)
		drop(s, w);
}

static void on_listener(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct server *s = user;
	(void)events;
	int fd = accept4(evwatch_fd(w), NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	/* A peer that does not read its answers must not hold up the others. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){ .tv_sec = 1 }, sizeof(struct timeval));
	for (int i = 0; i < CLIENTS_MAX; i++)
		if (!s->client[i]) {
			s->client[i] = evloop_add(l, fd, EPOLLIN, on_client, s);
			if (s->client[i])
				return;
			break;
		}
	log_limited(LOG_LEVEL_WARN, "control", "too many connections, at most %d", CLIENTS_MAX);
	close(fd);
}

int server_start(struct evloop *l, int listener, struct guests *g, uint32_t cluster, const struct pressure *p, struct server **out,
	struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));
	if (s)
		*s = (struct server){ .loop = l, .g = g, .cluster = cluster, .pressure = p };
	if (!s || !(s->listener = evloop_add(l, listener, EPOLLIN, on_listener, s))) {
		free(s);
		return err_set(e, ENOMEM, "no memory for the control socket");
	}
	*out = s;
	return 0;
}

void server_stop(struct server *s)
{
	for (int i = 0; i < CLIENTS_MAX; i++)
		if (s->client[i])
			drop(s, s->client[i]);
	drop(s, s->listener);
	free(s);
}
