// SPDX-License-Identifier: Apache-2.0
// The connection to pagerd; see pager_client.h. Requests are made one at a time, under the lock. Who finds the connection
// broken shuts it down; the keeper alone closes it and makes a new one.
#include "pager_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/uffd.h"
#include "base/usock.h"

#define AWAY_MS 20             // between attempts to reach pagerd
#define CHECK_MS 1000          // between attempts to attach who was refused
#define REPLY_TIMEOUT_S 10
#define BACK_S 2               // how long a VM's start waits for a pagerd that is being started again

struct entry {                 // a VM
	struct entry *next;
	struct pager_attach attach;
	int fd[PAGER_CLIENT_FDS_MAX];       // owned
	size_t fds;
	bool attached;
};

struct pager_client {
	char *control;
	int device;                // owned; -1: none
	char forbidden[200];       // why this host cannot page; empty: it can
	pthread_mutex_t lock;      // what follows
	int sock;                  // -1: pagerd is away
	uint64_t next_id;
	struct entry *first;
	bool stop;
	pthread_cond_t connected;
	int poke;                  // owned eventfd: the keeper shall look
	pthread_t keeper;
};

union reply {
	struct pager_msg head;
	struct pager_stats stats;
	struct pager_done done;
	struct pager_host host;
	struct pager_error error;
};

static void poke(struct pager_client *c) { eventfd_write(c->poke, 1); }

// ---- Requests, under the lock ----

static int broken(struct pager_client *c, struct err *e)
{
	shutdown(c->sock, SHUT_RDWR);
	poke(c);
	return err_set(e, ENOTCONN, "pagerd is away");
}

/* m: the request, its head is filled in here. */
static int call(struct pager_client *c, void *m, size_t len, uint32_t type, const int *fds, size_t nfds, union reply *out,
		size_t out_len, struct err *e)
{
	struct pager_msg *head = m;
	if (c->sock < 0)
		return err_set(e, ENOTCONN, "pagerd is away");
	*head = (struct pager_msg){PAGER_MSG_VERSION, type, ++c->next_id};
	if (usock_send(c->sock, m, len, fds, nfds))
		return broken(c, e);
	ssize_t n = usock_recv(c->sock, out, sizeof(*out), NULL, NULL);
	if (n < (ssize_t)sizeof(out->head) || out->head.version != PAGER_MSG_VERSION || out->head.id != head->id)
		return broken(c, e);   // late, gone or another version: the next connection starts afresh
	if (out->head.type == PAGER_MSG_ERROR && n == sizeof(out->error)) {
		out->error.text[sizeof(out->error.text) - 1] = '\0';
		return err_set(e, out->error.code > 0 ? out->error.code : EIO, "%s", out->error.text);
	}
	return out->head.type == type && (size_t)n == out_len ? 0 : broken(c, e);
}

static int limit_entry(struct pager_client *c, const struct entry *v, struct err *e)
{
	union reply r;
	struct pager_limit l = {.limit_bytes = v->attach.limit_bytes, .reserve_bytes = v->attach.reserve_bytes, .shares = v->attach.shares};
	memcpy(l.vm, v->attach.vm, sizeof(l.vm));
	return call(c, &l, sizeof(l), PAGER_MSG_LIMIT, NULL, 0, &r, sizeof(r.head), e);
}

static int attach_entry(struct pager_client *c, struct entry *v, struct err *e)
{
	union reply r;
	int rc = call(c, &v->attach, sizeof(v->attach), PAGER_MSG_ATTACH, v->fd, v->fds, &r, sizeof(r.head), e);
	if (rc == -EEXIST)   // by an earlier hostd
		rc = limit_entry(c, v, e);
	v->attached = !rc;
	return rc;
}

// ---- Who is attached ----

static void entry_free(struct entry *v)
{
	for (size_t i = 0; i < v->fds; i++)
		close(v->fd[i]);
	free(v);
}

static void entry_remove(struct pager_client *c, const uint8_t id[16])
{
	for (struct entry **at = &c->first; *at; at = &(*at)->next) {
		struct entry *v = *at;
		if (memcmp(v->attach.vm, id, sizeof(v->attach.vm)))
			continue;
		*at = v->next;
		entry_free(v);
		return;
	}
}

static int keep_fd(struct entry *v, int fd)
{
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (mine < 0)
		return -errno;
	v->fd[v->fds++] = mine;
	return 0;
}

static void fill(struct pager_attach *a, const struct pager_client_vm *vm)
{
	*a = (struct pager_attach){.memory_bytes = vm->memory.memory_bytes, .limit_bytes = vm->limit_bytes,
		.reserve_bytes = vm->reserve_bytes, .shares = vm->shares, .maps = vm->memory.maps, .vads = (uint32_t)vm->vads};
	memcpy(a->vm, vm->id, sizeof(a->vm));
	for (uint32_t i = 0; i < vm->memory.maps; i++)
		a->map[i] = (struct pager_map){vm->memory.map[i].address, vm->memory.map[i].offset, vm->memory.map[i].length,
					       vm->memory.map[i].fd, 0};
	for (size_t i = 0; i < vm->vads; i++) {
		a->vad[i] = vm->vad[i];
		a->vad[i].fd += vm->memory.fds;
	}
	if (!vm->vads) {
		a->vads = 1;
		a->vad[0] = (struct pager_vad){.kind = PAGER_VAD_ZERO, .pages = vm->memory.memory_bytes / 4096};
	}
}

static int entry_new(const struct pager_client_vm *vm, struct entry **out, struct err *e)
{
	if (vm->memory.maps > VMX_MAPS_MAX || vm->memory.fds > 1 + VMX_MAPS_MAX || vm->vads > PAGER_VADS_MAX ||
	    vm->memory.fds + vm->vad_fds > PAGER_CLIENT_FDS_MAX)
		return err_set(e, EINVAL, "a VM's memory can have %d mappings, %d VADs and %d descriptors", VMX_MAPS_MAX,
			       PAGER_VADS_MAX, PAGER_CLIENT_FDS_MAX);
	struct entry *v = calloc(1, sizeof(*v));
	if (!v)
		return err_sys(e, ENOMEM, "attach memory");
	fill(&v->attach, vm);
	int rc = 0;
	for (uint32_t i = 0; i < vm->memory.fds && !rc; i++)
		rc = keep_fd(v, vm->memory_fd[i]);
	for (size_t i = 0; i < vm->vad_fds && !rc; i++)
		rc = keep_fd(v, vm->vad_fd[i]);
	if (rc) {
		entry_free(v);
		return err_sys(e, -rc, "keep the descriptors of a VM's memory");
	}
	*out = v;
	return 0;
}

int pager_client_attach(struct pager_client *c, const struct pager_client_vm *vm, struct err *e)
{
	struct entry *v = NULL;
	int rc = entry_new(vm, &v, e);
	if (rc)
		return rc;
	pthread_mutex_lock(&c->lock);
	entry_remove(c, vm->id);
	v->next = c->first;
	c->first = v;
	rc = attach_entry(c, v, e);
	if (rc == -ENOTCONN)
		rc = 0;                            // the keeper will
	else if (rc)
		entry_remove(c, vm->id);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int pager_client_limit(struct pager_client *c, const uint8_t id[16], uint64_t limit_bytes, uint64_t reserve_bytes, uint32_t shares,
		       struct err *e)
{
	pthread_mutex_lock(&c->lock);
	struct entry *v = c->first;
	while (v && memcmp(v->attach.vm, id, sizeof(v->attach.vm)))
		v = v->next;
	int rc = v ? 0 : err_set(e, ENOENT, "the VM's memory is not attached");
	if (v) {
		v->attach.limit_bytes = limit_bytes;
		v->attach.reserve_bytes = reserve_bytes;
		v->attach.shares = shares;
		rc = v->attached ? limit_entry(c, v, e) : 0;
	}
	pthread_mutex_unlock(&c->lock);
	return rc == -ENOTCONN ? 0 : rc;           // with the next attaching
}

void pager_client_detach(struct pager_client *c, const uint8_t id[16])
{
	struct pager_vm_ref ref = {.head = {0}};
	union reply r;
	memcpy(ref.vm, id, sizeof(ref.vm));
	pthread_mutex_lock(&c->lock);
	call(c, &ref, sizeof(ref), PAGER_MSG_DETACH, NULL, 0, &r, sizeof(r.head), NULL);
	entry_remove(c, id);
	pthread_mutex_unlock(&c->lock);
}

// ---- Questions ----

int pager_client_stats(struct pager_client *c, const uint8_t id[16], struct pager_stats *out, struct err *e)
{
	struct pager_vm_ref ref = {.head = {0}};
	union reply r;
	memcpy(ref.vm, id, sizeof(ref.vm));
	pthread_mutex_lock(&c->lock);
	int rc = call(c, &ref, sizeof(ref), PAGER_MSG_STATS, NULL, 0, &r, sizeof(r.stats), e);
	pthread_mutex_unlock(&c->lock);
	if (!rc)
		*out = r.stats;
	return rc;
}

int pager_client_host(struct pager_client *c, struct pager_host *out, struct err *e)
{
	struct pager_msg m;
	union reply r;
	pthread_mutex_lock(&c->lock);
	int rc = call(c, &m, sizeof(m), PAGER_MSG_HOST, NULL, 0, &r, sizeof(r.host), e);
	pthread_mutex_unlock(&c->lock);
	if (!rc)
		*out = r.host;
	return rc;
}

int pager_client_prefetch(struct pager_client *c, const uint8_t id[16], uint64_t offset, uint64_t length, uint64_t *pages,
			  struct err *e)
{
	struct pager_range range = {.offset = offset, .length = length};
	union reply r;
	memcpy(range.vm, id, sizeof(range.vm));
	pthread_mutex_lock(&c->lock);
	int rc = call(c, &range, sizeof(range), PAGER_MSG_PREFETCH, NULL, 0, &r, sizeof(r.done), e);
	pthread_mutex_unlock(&c->lock);
	if (!rc)
		*pages = r.done.pages;
	return rc;
}

// ---- The keeper ----

/* Under the lock. */
static void attach_missing(struct pager_client *c)
{
	for (struct entry *v = c->first; v; v = v->next) {
		struct err e = ERR_INIT;
		int rc = v->attached ? 0 : attach_entry(c, v, &e);
		if (rc == -ENOTCONN)
			return;
		if (rc && rc != -ESRCH)   // ESRCH: that VM has just ended
			log_limited(LOG_LEVEL_ERROR, "pager", "a VM cannot be attached again: %s", e.text);
	}
}

static void reconnect(struct pager_client *c)
{
	struct timeval limit = {.tv_sec = REPLY_TIMEOUT_S};
	int fd = usock_connect(c->control, SOCK_SEQPACKET, NULL);
	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	c->sock = fd;
	pthread_cond_broadcast(&c->connected);
	for (struct entry *v = c->first; v; v = v->next)
		v->attached = false;
	log_info("pager", "connected to pagerd");
}

static void *keep(void *arg)
{
	struct pager_client *c = arg;
	struct pollfd p[2] = {{-1, POLLRDHUP, 0}, {c->poke, POLLIN, 0}};
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		if (c->sock >= 0 && p[0].revents) {
			log_warn("pager", "pagerd is away");
			close(take_fd(c->sock));
		}
		if (c->sock < 0)
			reconnect(c);
		attach_missing(c);
		p[0].fd = c->sock;
		pthread_mutex_unlock(&c->lock);
		p[0].revents = p[1].revents = 0;
		poll(p, 2, c->sock < 0 ? AWAY_MS : CHECK_MS);
		eventfd_t n;
		if (p[1].revents)
			eventfd_read(c->poke, &n);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

// ---- ----

/* Can processes of this host have their faults handled by another? */
static void probe(struct pager_client *c)
{
	c->device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int uffd = c->device >= 0 ? uffd_open_device(c->device) : -errno;
	if (uffd >= 0)
		close(uffd);
	else
		snprintf(c->forbidden, sizeof(c->forbidden), "this host does not give out userfaultfd (/dev/userfaultfd: %s)",
			 strerror(-uffd));
}

/* It may just be coming back. */
static bool wait_connected(struct pager_client *c)
{
	struct timespec until;
	int rc = 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += BACK_S;
	pthread_mutex_lock(&c->lock);
	while (c->sock < 0 && !rc)
		rc = pthread_cond_timedwait(&c->connected, &c->lock, &until);
	bool there = c->sock >= 0;
	pthread_mutex_unlock(&c->lock);
	return there;
}

bool pager_client_usable(struct pager_client *c, char *why, size_t len)
{
	if (c && c->forbidden[0]) {
		snprintf(why, len, "%s", c->forbidden);
		return false;
	}
	bool there = c && wait_connected(c);
	if (!there)
		snprintf(why, len, "%s", c ? "pagerd does not answer" : "this host runs no pagerd");
	return there;
}

int pager_client_device(const struct pager_client *c) { return c->device; }

int pager_client_start(const char *control, struct pager_client **out, struct err *e)
{
	struct pager_client *c = calloc(1, sizeof(*c));
	if (!c)
		return err_sys(e, ENOMEM, "start the pager's client");
	c->sock = -1;
	c->control = strdup(control);
	c->poke = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->connected, NULL);
	probe(c);
	int rc = !c->control || c->poke < 0 ? ENOMEM : pthread_create(&c->keeper, NULL, keep, c);
	if (rc) {
		if (c->poke >= 0)
			close(c->poke);
		if (c->device >= 0)
			close(c->device);
		free(c->control);
		free(c);
		return err_sys(e, rc, "start the pager's client");
	}
	*out = c;
	return 0;
}

void pager_client_stop(struct pager_client *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_mutex_unlock(&c->lock);
	poke(c);
	pthread_join(c->keeper, NULL);
	while (c->first)
		entry_remove(c, c->first->attach.vm);
	if (c->sock >= 0)
		close(c->sock);
	if (c->device >= 0)
		close(c->device);
	close(c->poke);
	pthread_cond_destroy(&c->connected);
	pthread_mutex_destroy(&c->lock);
	free(c->control);
	free(c);
}
