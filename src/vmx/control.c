// SPDX-License-Identifier: Apache-2.0
// The control socket; see control.h. A client that does not take its replies is dropped.
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/evloop.h"
#include "base/log.h"
#include "base/usock.h"
#include "vmx/vm.h"

#define CLIENTS_MAX 16

struct control {
	struct evloop *loop;
	struct vm *vm;
	int listen_fd;
	struct evwatch *listen_watch;               // NULL while there are CLIENTS_MAX
	struct evwatch *client[CLIENTS_MAX];        // NULL: free
	struct { bool asked; uint64_t id; } memory[CLIENTS_MAX];   // a request for memory that waits for the engine
};

union message {
	struct vmx_msg head;
	struct vmx_status status;
	struct vmx_stop stop;
	struct vmx_resize resize;
	struct vmx_balloon balloon;
	struct vmx_memory memory;
	struct vmx_error error;
	char bytes[VMX_MSG_MAX];
};
_Static_assert(sizeof(union message) == VMX_MSG_MAX, "every message fits");

// Each handler turns the request in m into its reply. Returns the reply's length, or -errno with text in e.

static int on_status(struct control *c, union message *m, const int *fds, struct err *e)
{
	(void)fds, (void)e;
	struct vmx_status s = {.head = m->head};
	vm_status(c->vm, &s);
	m->status = s;
	return sizeof(s);
}

static int on_stop(struct control *c, union message *m, const int *fds, struct err *e)
{
	(void)fds;
	switch (m->stop.how) {
	case 0:
		vm_kill(c->vm);
		return sizeof(m->head);
	case 1: {
		int rc = vm_power_button(c->vm, e);
		return rc ? rc : (int)sizeof(m->head);
	}
	default:
		return err_set(e, EINVAL, "stop: how must be 0 (kill) or 1 (power button), not %u", m->stop.how);
	}
}

static int on_resize(struct control *c, union message *m, const int *fds, struct err *e)
{
	(void)fds;
	char serial[sizeof(m->resize.serial) + 1] = "";
	memcpy(serial, m->resize.serial, sizeof(m->resize.serial));
	int rc = vm_resize(c->vm, serial, m->resize.size_bytes, e);
	return rc ? rc : (int)sizeof(m->head);
}

static int on_balloon(struct control *c, union message *m, const int *fds, struct err *e)
{
	(void)fds;
	int rc = vm_balloon(c->vm, m->balloon.target_bytes, e);
	return rc ? rc : (int)sizeof(m->head);
}

#define LATER INT32_MIN   // instead of a length: the reply comes when the engine has mapped the guest's memory

static int on_memory(struct control *c, union message *m, const int *fds, struct err *e)
{
	(void)fds;
	const struct paging *p = &c->vm->paging;
	if (!p->on)
		return err_set(e, ENODATA, "the memory of this VM is not paged");
	if (!p->known)
		return LATER;
	struct vmx_msg head = m->head;
	m->memory = p->memory;
	m->memory.head = head;
	return sizeof(m->memory);
}

static int on_save(struct control *c, union message *m, const int *fds, struct err *e)
{
	int rc = vm_save(c->vm, fds[0], fds[1], e);
	return rc ? rc : (int)sizeof(m->head);
}

static int on_plug(struct control *c, union message *m, const int *fds, struct err *e)
{
	size_t nfds = 0;
	while (nfds < USOCK_FDS_MAX && fds[nfds] >= 0)
		nfds++;
	int rc = vm_plug(c->vm, fds, nfds, e);
	return rc ? rc : (int)sizeof(m->head);
}

#define FDS_ANY SIZE_MAX

static const struct handler {
	int (*fn)(struct control *c, union message *m, const int *fds, struct err *e);
	size_t size;   // of the request
	size_t fds;    // that come with it, -1 after the last; borrowed by the handler
} handlers[] = {
	[VMX_MSG_STATUS] = {on_status, sizeof(struct vmx_msg), 0},
	[VMX_MSG_STOP] = {on_stop, sizeof(struct vmx_stop), 0},
	[VMX_MSG_RESIZE] = {on_resize, sizeof(struct vmx_resize), 0},
	[VMX_MSG_BALLOON] = {on_balloon, sizeof(struct vmx_balloon), 0},
	[VMX_MSG_MEMORY] = {on_memory, sizeof(struct vmx_msg), 0},
	[VMX_MSG_SAVE] = {on_save, sizeof(struct vmx_msg), 2},
	[VMX_MSG_PLUG] = {on_plug, sizeof(struct vmx_msg), FDS_ANY},
};

static int handle(struct control *c, union message *m, size_t len, const int *fds, size_t nfds, struct err *e)
{
	if (len < sizeof(m->head))
		return err_set(e, EINVAL, "a message of %zu bytes is shorter than its head", len);
	if (m->head.version != VMX_MSG_VERSION)
		return err_set(e, EPROTONOSUPPORT, "message version %u, not %u", m->head.version, VMX_MSG_VERSION);
	uint32_t type = m->head.type;
	if (type >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[type].fn)
		return err_set(e, ENOSYS, "message type %u is not known", type);
	if (len != handlers[type].size)
		return err_set(e, EINVAL, "message type %u has %zu bytes, not %zu", type, len, handlers[type].size);
	if (nfds != handlers[type].fds && handlers[type].fds != FDS_ANY)
		return err_set(e, EINVAL, "message type %u comes with %zu descriptors, not %zu", type, nfds, handlers[type].fds);
	return handlers[type].fn(c, m, fds, e);
}

static void client_drop(struct control *c, struct evwatch *w);
static void on_listen(struct evloop *l, struct evwatch *w, uint32_t events, void *user);

// The descriptors of guest memory go with the reply to that question, and with no other.
static int reply(struct control *c, int fd, const union message *m, size_t len)
{
	struct paging *p = &c->vm->paging;
	bool memory = m->head.type == VMX_MSG_MEMORY;
	int rc = usock_send(fd, m, len, memory ? p->fds : NULL, memory ? p->memory.fds : 0);
	return rc;
}

static void wait_for_memory(struct control *c, const struct evwatch *w, uint64_t id)
{
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (c->client[i] == w) {
			c->memory[i].asked = true;
			c->memory[i].id = id;
		}
	}
}

static void on_memory_known(void *user)
{
	struct control *c = user;
	struct err e = ERR_INIT;
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (!c->client[i] || !c->memory[i].asked)
			continue;
		union message m = {.head = {VMX_MSG_VERSION, VMX_MSG_MEMORY, c->memory[i].id}};
		c->memory[i].asked = false;
		int len = on_memory(c, &m, NULL, &e);
		if (len < 0 || reply(c, evwatch_fd(c->client[i]), &m, (size_t)len))
			client_drop(c, c->client[i]);
	}
}

static void on_client(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)events;
	struct control *c = user;
	union message m = {.bytes = ""};
	int fds[USOCK_FDS_MAX];
	size_t nfds = USOCK_FDS_MAX;
	memset(fds, -1, sizeof(fds));
	ssize_t n = usock_recv(evwatch_fd(w), &m, sizeof(m), fds, &nfds);   // the socket does not block
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0)
		return client_drop(c, w);
	struct err e = ERR_INIT;
	int len = handle(c, &m, (size_t)n, fds, nfds, &e);
	while (nfds)
		close(fds[--nfds]);
	if (len == LATER)
		return wait_for_memory(c, w, m.head.id);
	if (len < 0) {
		struct vmx_error reply = {.head = {VMX_MSG_VERSION, VMX_MSG_ERROR, m.head.id}, .code = -len};
		snprintf(reply.text, sizeof(reply.text), "%s", e.text);
		m.error = reply;
		len = sizeof(reply);
	}
	if (reply(c, evwatch_fd(w), &m, (size_t)len))
		client_drop(c, w);
}

static void client_drop(struct control *c, struct evwatch *w)
{
	int fd = evwatch_fd(w);
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (c->client[i] != w)
			continue;
		c->client[i] = NULL;
		c->memory[i].asked = false;
	}
	evloop_remove(w);
	close(fd);
	if (!c->listen_watch)
		c->listen_watch = evloop_add(c->loop, c->listen_fd, EPOLLIN, on_listen, c);
}

static void on_listen(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)events;
	struct control *c = user;
	int slot = 0;
	while (slot < CLIENTS_MAX && c->client[slot])
		slot++;
	if (slot == CLIENTS_MAX) {   // the others wait in the socket's queue
		evloop_remove(w);
		c->listen_watch = NULL;
		return;
	}
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	c->client[slot] = evloop_add(l, fd, EPOLLIN, on_client, c);
	if (!c->client[slot])
		close(fd);
}

struct control *control_new(struct evloop *l, int listen_fd, struct vm *vm)
{
	struct control *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	*c = (struct control){.loop = l, .vm = vm, .listen_fd = listen_fd};
	fcntl(listen_fd, F_SETFL, fcntl(listen_fd, F_GETFL) | O_NONBLOCK);
	c->listen_watch = evloop_add(l, listen_fd, EPOLLIN, on_listen, c);
	if (!c->listen_watch) {
		free(c);
		return NULL;
	}
	vm->paging.on_known = on_memory_known;
	vm->paging.user = c;
	return c;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	for (int i = 0; i < CLIENTS_MAX; i++) {
		if (!c->client[i])
			continue;
		int fd = evwatch_fd(c->client[i]);
		evloop_remove(c->client[i]);
		close(fd);
	}
	if (c->listen_watch)
		evloop_remove(c->listen_watch);
	free(c);
}
