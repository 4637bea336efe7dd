// SPDX-License-Identifier: Apache-2.0
// The vhost-user back-end; see vhost_user.h.
// Its messages; the rings are vhost_user_ring.c.
#include "virtio/vhost_user_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/log.h"
#include "base/own.h"

#define PROTOCOL_FEATURES (1ull << VHU_PF_MQ | 1ull << VHU_PF_REPLY_ACK | 1ull << VHU_PF_BACKEND_REQ | \
			   1ull << VHU_PF_CONFIG | 1ull << VHU_PF_RESET_DEVICE)

// What a handler gives back.
enum verdict {
	DONE,      // nothing to say, unless the front-end asked for an acknowledgement
	REPLY,     // u->in holds the reply: head.size and payload
	REFUSED,   // answer "failed" if an acknowledgement was asked for
	BROKEN,    // u->why says what is wrong; the connection ends
};

static enum verdict broken(struct vhost_user *u, const char *why)
{
	u->why = why;
	return BROKEN;
}

static struct ring *ring_at(struct vhost_user *u, uint32_t index)
{
	if (index < u->a.dev->nqueues)
		return &u->ring[index];
	u->why = "a queue index is out of range";
	return NULL;
}

static enum verdict reply_u64(struct vhost_user *u, uint64_t v)
{
	u->in.p.u64 = v;
	u->in.head.size = sizeof(u->in.p.u64);
	return REPLY;
}

static uint64_t offered(const struct vhost_user *u)
{
	return u->a.dev->ops->features(u->a.dev) | 1ull << VIRTIO_F_VERSION_1 | 1ull << VHU_F_PROTOCOL_FEATURES;
}

static enum verdict get_features(struct vhost_user *u) { return reply_u64(u, offered(u)); }

static enum verdict set_features(struct vhost_user *u)
{
	uint64_t f = u->in.p.u64;
	if (f & ~offered(u))
		return broken(u, "a feature that was not offered is set");
	rings_stop(u);
	u->features = f;
	if (!(f >> VHU_F_PROTOCOL_FEATURES & 1)) {
		for (unsigned i = 0; i < u->a.dev->nqueues; i++)
			u->ring[i].enabled = true;
	}
	return (u->why = rings_update(u)) ? BROKEN : DONE;
}

static enum verdict get_protocol_features(struct vhost_user *u) { return reply_u64(u, PROTOCOL_FEATURES); }

static enum verdict set_protocol_features(struct vhost_user *u)
{
	if (u->in.p.u64 & ~PROTOCOL_FEATURES)
		return broken(u, "a protocol feature that was not offered is set");
	u->protocol = u->in.p.u64;
	return DONE;
}

static enum verdict set_owner(struct vhost_user *u) { (void)u; return DONE; }

static enum verdict reset_device(struct vhost_user *u)
{
	rings_reset(u);
	return DONE;
}

static bool is_our_memory(const struct vhost_user *u, int fd)
{
	struct stat st;
	return !fstat(fd, &st) && st.st_dev == u->a.ram->dev && st.st_ino == u->a.ram->ino;
}

static enum verdict set_mem_table(struct vhost_user *u)
{
	const struct vhu_mem_table *t = &u->in.p.mem;
	if (u->in.head.size < offsetof(struct vhu_mem_table, region) || t->n > VHU_MEM_REGIONS || t->n != u->nfds ||
	    u->in.head.size != offsetof(struct vhu_mem_table, region) + t->n * sizeof(t->region[0]))
		return broken(u, "the memory table's length, count and descriptors do not agree");
	struct guest_mem mem = {.n = t->n};
	for (unsigned i = 0; i < t->n; i++) {
		struct vhu_mem_region g = t->region[i];
		if (!is_our_memory(u, u->fds[i]))
			return broken(u, "a memory region is not this VM's memory");
		if (g.offset > u->a.ram->size || g.size > u->a.ram->size - g.offset || g.gpa + g.size < g.gpa ||
		    g.user + g.size < g.user)
			return broken(u, "a memory region reaches past the end of memory");
		mem.r[i] = (struct gmem_region){.gpa = g.gpa, .len = g.size, .user = g.user,
						.host = u->a.ram->base + g.offset};
	}
	rings_stop(u);
	u->mem = mem;
	return (u->why = rings_update(u)) ? BROKEN : DONE;
}

static enum verdict set_vring_num(struct vhost_user *u)
{
	struct vhu_vring_state s = u->in.p.state;
	struct ring *r = ring_at(u, s.index);
	if (!r)
		return BROKEN;
	if (!s.num || s.num > VIRTQ_SIZE_MAX || (s.num & (s.num - 1)))
		return broken(u, "a queue size is not a power of two up to 1024");
	ring_stop(r);
	r->num = s.num;
	return (u->why = ring_update(r)) ? BROKEN : DONE;
}

static enum verdict set_vring_addr(struct vhost_user *u)
{
	struct vhu_vring_addr a = u->in.p.addr;
	struct ring *r = ring_at(u, a.index);
	if (!r)
		return BROKEN;
	ring_stop(r);
	r->desc = a.desc;
	r->avail = a.avail;
	r->used = a.used;
	r->has_addr = true;
	return (u->why = ring_update(r)) ? BROKEN : DONE;
}

static enum verdict set_vring_base(struct vhost_user *u)
{
	struct vhu_vring_state s = u->in.p.state;
	struct ring *r = ring_at(u, s.index);
	if (!r)
		return BROKEN;
	if (s.num > UINT16_MAX)
		return broken(u, "a queue's base is out of range");
	ring_stop(r);
	r->next = (uint16_t)s.num;
	return (u->why = ring_update(r)) ? BROKEN : DONE;
}

static enum verdict get_vring_base(struct vhost_user *u)
{
	struct ring *r = ring_at(u, u->in.p.state.index);
	if (!r)
		return BROKEN;
	ring_stop(r);
	own_fd int kick = take_fd(r->kick);   // the ring starts again with a new one
	(void)kick;
	u->in.p.state.num = r->next;
	u->in.head.size = sizeof(u->in.p.state);
	return REPLY;
}

// Take the descriptor of SET_VRING_KICK, CALL and ERR: into *slot of the ring, -1 when the message says there is none.
static struct ring *vring_fd(struct vhost_user *u, size_t slot)
{
	uint64_t v = u->in.p.u64;
	struct ring *r = ring_at(u, v & VHU_VRING_INDEX_MASK);
	if (!r)
		return NULL;
	if (u->nfds != (v & VHU_VRING_NO_FD ? 0u : 1u)) {
		u->why = "a vring message has the wrong number of descriptors";
		return NULL;
	}
	int *at = (int *)((char *)r + slot);
	own_fd int old = *at;
	(void)old;
	*at = u->nfds ? u->fds[--u->nfds] : -1;
	return r;
}

static enum verdict set_vring_kick(struct vhost_user *u)
{
	struct ring *r = ring_at(u, u->in.p.u64 & VHU_VRING_INDEX_MASK);
	if (r)
		ring_stop(r);
	r = vring_fd(u, offsetof(struct ring, kick));
	if (!r)
		return BROKEN;
	if (r->kick < 0)
		return broken(u, "a queue without kick descriptor would have to be polled");
	return (u->why = ring_update(r)) ? BROKEN : DONE;
}

static enum verdict set_vring_call(struct vhost_user *u)
{
	struct ring *r = vring_fd(u, offsetof(struct ring, call));
	if (!r)
		return BROKEN;
	if (ring_running(r))
		ring_signal(r->call);   // an interrupt that went to the old descriptor may have been lost
	return DONE;
}

static enum verdict set_vring_err(struct vhost_user *u)
{
	return vring_fd(u, offsetof(struct ring, err)) ? DONE : BROKEN;
}

static enum verdict get_queue_num(struct vhost_user *u) { return reply_u64(u, u->a.dev->nqueues); }

static enum verdict set_vring_enable(struct vhost_user *u)
{
	struct vhu_vring_state s = u->in.p.state;
	struct ring *r = ring_at(u, s.index);
	if (!r)
		return BROKEN;
	r->enabled = s.num;
	if (!r->enabled)
		ring_stop(r);
	return (u->why = ring_update(r)) ? BROKEN : DONE;
}

static enum verdict set_backend_req_fd(struct vhost_user *u)
{
	if (u->nfds != 1)
		return broken(u, "the back-end request descriptor is missing");
	own_fd int old = u->backend_fd;
	(void)old;
	u->backend_fd = u->fds[--u->nfds];
	return DONE;
}

static enum verdict get_config(struct vhost_user *u)
{
	struct vhu_config *c = &u->in.p.config;
	size_t head = offsetof(struct vhu_config, data);
	if (u->in.head.size < head || c->size > VHU_CONFIG_SIZE || c->offset > VHU_CONFIG_SIZE - c->size ||
	    u->in.head.size != head + c->size)
		return broken(u, "a configuration request has a bad length");
	uint8_t all[VHU_CONFIG_SIZE] = {0};
	u->a.dev->ops->config(u->a.dev, all, sizeof(all));
	memcpy(c->data, all + c->offset, c->size);
	return REPLY;
}

static enum verdict set_config(struct vhost_user *u) { (void)u; return REFUSED; }   // no device has anything to set

static const struct handler {
	enum verdict (*fn)(struct vhost_user *u);
	int size;                 // bytes of payload; -1: the handler checks
} handlers[VHU_REQUEST_MAX] = {
	[VHU_GET_FEATURES] = {get_features, 0},
	[VHU_SET_FEATURES] = {set_features, sizeof(uint64_t)},
	[VHU_SET_OWNER] = {set_owner, 0},
	[VHU_RESET_OWNER] = {reset_device, 0},
	[VHU_SET_MEM_TABLE] = {set_mem_table, -1},
	[VHU_SET_VRING_NUM] = {set_vring_num, sizeof(struct vhu_vring_state)},
	[VHU_SET_VRING_ADDR] = {set_vring_addr, sizeof(struct vhu_vring_addr)},
	[VHU_SET_VRING_BASE] = {set_vring_base, sizeof(struct vhu_vring_state)},
	[VHU_GET_VRING_BASE] = {get_vring_base, sizeof(struct vhu_vring_state)},
	[VHU_SET_VRING_KICK] = {set_vring_kick, sizeof(uint64_t)},
	[VHU_SET_VRING_CALL] = {set_vring_call, sizeof(uint64_t)},
	[VHU_SET_VRING_ERR] = {set_vring_err, sizeof(uint64_t)},
	[VHU_GET_PROTOCOL_FEATURES] = {get_protocol_features, 0},
	[VHU_SET_PROTOCOL_FEATURES] = {set_protocol_features, sizeof(uint64_t)},
	[VHU_GET_QUEUE_NUM] = {get_queue_num, 0},
	[VHU_SET_VRING_ENABLE] = {set_vring_enable, sizeof(struct vhu_vring_state)},
	[VHU_SET_BACKEND_REQ_FD] = {set_backend_req_fd, 0},
	[VHU_GET_CONFIG] = {get_config, -1},
	[VHU_SET_CONFIG] = {set_config, -1},
	[VHU_RESET_DEVICE] = {reset_device, 0},
};

static void fds_close(struct vhost_user *u)
{
	while (u->nfds)
		close(u->fds[--u->nfds]);
}

static int send_message(int fd, const struct vhu_head *h, const void *payload)
{
	struct iovec iov[2] = {{(void *)h, sizeof(*h)}, {(void *)payload, h->size}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;
	do
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)(sizeof(*h) + h->size) ? 0 : -EPIPE;   // messages are far smaller than a socket's buffer
}

static enum verdict dispatch(struct vhost_user *u)
{
	struct vhu_head *h = &u->in.head;
	const struct handler *handler = h->request < VHU_REQUEST_MAX ? &handlers[h->request] : NULL;
	if (!handler || !handler->fn)
		return broken(u, "a request is unknown");
	if (handler->size >= 0 && h->size != (uint32_t)handler->size)
		return broken(u, "a request has the wrong length");
	return handler->fn(u);
}

static int message_done(struct vhost_user *u)
{
	bool ack = u->in.head.flags & VHU_FLAG_NEED_REPLY && u->protocol >> VHU_PF_REPLY_ACK & 1;
	enum verdict v = dispatch(u);
	fds_close(u);
	u->have = 0;
	if (v == BROKEN)
		return -EPROTO;
	if (v != REPLY) {
		if (!ack)
			return 0;
		reply_u64(u, v == REFUSED);
	}
	u->in.head.flags = VHU_VERSION | VHU_FLAG_REPLY;
	return send_message(u->a.fd, &u->in.head, &u->in.p);
}

// ---- connection

static const char *head_check(const struct vhu_head *h)
{
	if ((h->flags & VHU_VERSION_MASK) != VHU_VERSION || h->flags & VHU_FLAG_REPLY)
		return "a message has wrong flags";
	return h->size > sizeof(union vhu_payload) ? "a message is too long" : NULL;
}

// Receive what there is of the current message, and its descriptors. Bytes, 0 at the end, -errno.
static ssize_t receive(struct vhost_user *u, size_t want)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	size_t head = sizeof(u->in.head);
	char *to = u->have < head ? (char *)&u->in.head + u->have : (char *)&u->in.p + (u->have - head);
	struct iovec iov = {.iov_base = to, .iov_len = want - u->have};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(u->a.fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (u->nfds == FDS_MAX) {
				close(fd);
				u->why = "a message carries too many descriptors";
				continue;
			}
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);   // signalling must never block
			u->fds[u->nfds++] = fd;
		}
	}
	if (m.msg_flags & MSG_CTRUNC)
		u->why = "a message carries too many descriptors";
	return u->why ? -EPROTO : n;
}

static void hang_up(struct vhost_user *u)
{
	evloop_remove(u->watch);
	u->watch = NULL;
	shutdown(u->a.fd, SHUT_RDWR);   // whoever writes to us sees the end
	fds_close(u);
	rings_reset(u);
	if (u->a.closed)
		u->a.closed(u->a.user, u->why);
}

static void on_message(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	struct vhost_user *u = user;
	for (;;) {
		size_t want = sizeof(u->in.head);
		if (u->have >= want) {
			u->why = head_check(&u->in.head);
			if (u->why)
				return hang_up(u);
			want += u->in.head.size;
		}
		if (u->have == want) {
			if (message_done(u))
				return hang_up(u);
			continue;
		}
		ssize_t n = receive(u, want);
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n <= 0)
			return hang_up(u);
		u->have += (size_t)n;
	}
}

static void config_changed(void *user)
{
	struct vhost_user *u = user;
	struct vhu_head h = {.request = VHU_BACKEND_CONFIG_CHANGE, .flags = VHU_VERSION};
	if (u->backend_fd >= 0 && send_message(u->backend_fd, &h, NULL))
		log_warn("virtio", "the front-end was not told of a changed configuration device=%s", u->a.dev->ops->name);
}

struct vhost_user *vhost_user_new(const struct vhost_user_attr *a)
{
	struct vhost_user *u = calloc(1, sizeof(*u));
	struct ring *ring = calloc(a->dev->nqueues, sizeof(*ring));
	if (u)
		u->watch = evloop_add(a->loop, a->fd, EPOLLIN, on_message, u);
	if (!u || !ring || !u->watch) {
		free(u);
		free(ring);
		return NULL;
	}
	u->a = *a;
	u->backend_fd = -1;
	u->ring = ring;
	for (unsigned i = 0; i < a->dev->nqueues; i++)
		ring[i] = (struct ring){.u = u, .index = i, .kick = -1, .call = -1, .err = -1};
	a->dev->config_changed = config_changed;
	a->dev->config_user = u;
	return u;
}

void vhost_user_free(struct vhost_user *u)
{
	if (!u)
		return;
	if (u->watch)
		evloop_remove(u->watch);
	u->a.dev->config_changed = NULL;
	fds_close(u);
	rings_reset(u);
	if (u->backend_fd >= 0)
		close(u->backend_fd);
	close(u->a.fd);
	free(u->ring);
	free(u);
}
