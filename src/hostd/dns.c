// SPDX-License-Identifier: Apache-2.0
// One thread for all UDP: it answers at once or passes the question on to a nameserver and comes back to it when the answer,
// or the time for it, has come. A TCP connection has a thread of its own; there are few, and they are short.
#include "dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "dns_wire.h"
#include "dns_zone.h"

#define PORT 53
#define WAITING_MAX 128
#define SERVERS_MAX 3
#define TRY_NS (2 * NS_PER_S)          // until the next nameserver is asked
#define TRIES 4
#define TCP_MAX 32
#define TCP_IDLE_S 5

struct waiting {                       // a question that somebody else answers
	int fd;                        // connected to a nameserver; -1: free
	uint64_t until_ns;
	unsigned tries;
	uint16_t ask_id;
	struct sockaddr_in from;
	uint8_t msg[DNS_UDP_MAX];      // as it came
	size_t len;
	struct dns_question q;
	char target[DNS_NAME_MAX];     // what to ask for instead, where our own answer is a CNAME; ""
};

struct dns {
	char *domain;
	int udp, tcp, wake;
	pthread_t udp_thread, tcp_thread;
	pthread_rwlock_t model_lock;
	struct service_model *model;   // NULL: not known yet
	pthread_mutex_t lock;          // of what follows
	pthread_cond_t tcp_ended;
	int tcp_fds[TCP_MAX];
	bool stop;
	struct waiting waiting[WAITING_MAX];   // the UDP thread's
};

/* --- nameservers of the host --- */

static unsigned nameservers(struct sockaddr_in out[SERVERS_MAX])
{
	static const char *const paths[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
	unsigned n = 0;
	for (size_t i = 0; i < 2 && !n; i++) {
		own_buf struct buf text = BUF_INIT;
		if (file_read(paths[i], 65536, &text, NULL) || !text.data)
			continue;
		for (char *save, *line = strtok_r(text.data, "\n", &save); line && n < SERVERS_MAX; line = strtok_r(NULL, "\n", &save)) {
			char addr[64];
			struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
			if (sscanf(line, "nameserver %63s", addr) == 1 && inet_pton(AF_INET, addr, &a.sin_addr) == 1)
				out[n++] = a;
		}
	}
	return n;
}

static uint16_t random_id(void)
{
	uint16_t id = 0;
	while (getrandom(&id, sizeof(id), 0) != sizeof(id))
		;
	return id;
}

/* --- one question --- */

/* True: *len bytes are in out. False: not ours; a target of ours is in target, else it is empty. */
static bool answer(struct dns *d, const uint8_t *msg, size_t len, struct dns_question *q, uint8_t *out, size_t max, size_t *out_len,
		   char target[DNS_NAME_MAX], int *refused)
{
	struct dns_answer a;
	int rc = dns_question_read(msg, len, q);
	target[0] = '\0';
	*refused = rc == -EINVAL;
	if (*refused)
		return false;
	dns_answer_start(&a, out, max ? max : q->udp_max, msg, q);
	if (rc) {
		dns_answer_end(&a, rc == -ENOTSUP ? DNS_NOT_IMPLEMENTED : DNS_FORMAT_ERROR, false);
		*out_len = a.len;
		return true;
	}
	pthread_rwlock_rdlock(&d->model_lock);
	enum dns_result r = d->model ? dns_zone_answer(d->model, d->domain, q, &a, target) : DNS_NOT_OURS;
	bool early = !d->model && strstr(q->name, d->domain);
	pthread_rwlock_unlock(&d->model_lock);
	if (early)
		dns_answer_end(&a, DNS_SERVER_FAILURE, false);
	*out_len = a.len;
	return r == DNS_ANSWERED || early;
}

/* The answer when nobody could be asked. */
static size_t failure(const uint8_t *msg, const struct dns_question *q, uint8_t *out, size_t max)
{
	struct dns_answer a;
	dns_answer_start(&a, out, max, msg, q);
	dns_answer_end(&a, DNS_SERVER_FAILURE, false);
	return a.len;
}

/* What to send to a nameserver. */
static size_t question_for(const uint8_t *msg, size_t len, const struct dns_question *q, const char *target, uint16_t id, uint8_t *out,
			   size_t max)
{
	if (*target)
		return dns_ask(out, max, id, target, q->type);
	if (len > max)
		return 0;
	memcpy(out, msg, len);
	out[0] = (uint8_t)(id >> 8), out[1] = (uint8_t)id;
	return len;
}

/* A nameserver's answer, made into ours. Returns its length, 0: it is none. */
static size_t answer_from(struct dns *d, const uint8_t *msg, const struct dns_question *q, const char *target, uint16_t id, const uint8_t *got,
			  size_t got_len, uint8_t *out, size_t max)
{
	if (got_len < 12 || got[0] != id >> 8 || got[1] != (id & 255) || !(got[2] & 0x80))
		return 0;
	if (!*target) {
		if (got_len > max)
			return 0;
		memcpy(out, got, got_len);
		memcpy(out, msg, 2);
		return got_len;
	}
	struct dns_answer a;
	char again[DNS_NAME_MAX];
	dns_answer_start(&a, out, max, msg, q);
	pthread_rwlock_rdlock(&d->model_lock);
	enum dns_result r = d->model ? dns_zone_answer(d->model, d->domain, q, &a, again) : DNS_NOT_OURS;
	pthread_rwlock_unlock(&d->model_lock);
	if (r == DNS_ANSWERED)
		return a.len;
	int code = dns_answer_copy(&a, got, got_len, q->type);
	dns_answer_end(&a, code < 0 ? DNS_SERVER_FAILURE : code, false);
	return a.len;
}

/* --- UDP --- */

static void forget(struct waiting *w)
{
	close(w->fd);
	w->fd = -1;
}

static void give_up(struct dns *d, struct waiting *w)
{
	uint8_t out[DNS_UDP_MAX];
	size_t len = failure(w->msg, &w->q, out, w->q.udp_max);
	sendto(d->udp, out, len, 0, (struct sockaddr *)&w->from, sizeof(w->from));
	if (w->fd >= 0)
		forget(w);
}

/* Ask the next nameserver. */
static void ask(struct dns *d, struct waiting *w)
{
	struct sockaddr_in servers[SERVERS_MAX];
	unsigned n = nameservers(servers);
	uint8_t out[DNS_UDP_MAX];
	if (w->fd >= 0)
		forget(w);
	w->ask_id = random_id();
	size_t len = question_for(w->msg, w->len, &w->q, w->target, w->ask_id, out, sizeof(out));
	if (n && len && w->tries < TRIES)
		w->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&servers[w->tries % n], sizeof(*servers)) || send(w->fd, out, len, 0) < 0) {
		give_up(d, w);
		return;
	}
	w->tries++;
	w->until_ns = clock_mono_ns() + TRY_NS;
}

static void on_question(struct dns *d)
{
	uint8_t msg[DNS_UDP_MAX], out[DNS_UDP_MAX];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	struct dns_question q;
	char target[DNS_NAME_MAX];
	int refused;
	size_t out_len;
	ssize_t n = recvfrom(d->udp, msg, sizeof(msg), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
	if (n <= 0)
		return;
	if (answer(d, msg, (size_t)n, &q, out, 0, &out_len, target, &refused)) {
		sendto(d->udp, out, out_len, 0, (struct sockaddr *)&from, from_len);
		return;
	}
	for (struct waiting *w = d->waiting; !refused && w < d->waiting + WAITING_MAX; w++) {
		if (w->fd >= 0)
			continue;
		*w = (struct waiting){.fd = -1, .from = from, .q = q, .len = (size_t)n};
		memcpy(w->msg, msg, (size_t)n);
		strcpy(w->target, target);
		ask(d, w);
		return;
	}
}

static void on_answer(struct dns *d, struct waiting *w)
{
	uint8_t got[DNS_TCP_MAX], out[DNS_UDP_MAX];
	ssize_t n = recv(w->fd, got, sizeof(got), MSG_DONTWAIT);
	if (n < 0) {
		ask(d, w);             // refused: nobody serves there
		return;
	}
	size_t len = answer_from(d, w->msg, &w->q, w->target, w->ask_id, got, (size_t)n, out, sizeof(out));
	if (!len)
		return;                // not what was asked for
	sendto(d->udp, out, len, 0, (struct sockaddr *)&w->from, sizeof(w->from));
	forget(w);
}

static void *serve_udp(void *arg)
{
	struct dns *d = arg;
	static _Thread_local struct pollfd fds[WAITING_MAX + 2];
	static _Thread_local struct waiting *whose[WAITING_MAX + 2];
	for (;;) {
		nfds_t n = 2;
		uint64_t now = clock_mono_ns(), next = UINT64_MAX;
		fds[0] = (struct pollfd){.fd = d->wake, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = d->udp, .events = POLLIN};
		for (struct waiting *w = d->waiting; w < d->waiting + WAITING_MAX; w++) {
			if (w->fd >= 0 && w->until_ns <= now)
				ask(d, w);
			if (w->fd < 0)
				continue;
			next = w->until_ns < next ? w->until_ns : next;
			whose[n] = w;
			fds[n++] = (struct pollfd){.fd = w->fd, .events = POLLIN};
		}
		int wait = next == UINT64_MAX ? -1 : next <= now ? 0 : (int)((next - now) / NS_PER_MS) + 1;
		if (poll(fds, n, wait) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		for (nfds_t i = 2; i < n; i++)
			if (fds[i].revents && whose[i]->fd == fds[i].fd)
				on_answer(d, whose[i]);
		for (int i = 0; fds[1].revents && i < 64; i++)
			on_question(d);
	}
}

/* --- TCP --- */

static bool read_all(int fd, void *data, size_t len)
{
	return recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

/* A message with its length before it; its length, 0: none. */
static size_t read_message(int fd, uint8_t *out)
{
	uint8_t head[2];
	size_t len = read_all(fd, head, 2) ? (size_t)head[0] << 8 | head[1] : 0;
	return len && read_all(fd, out, len) ? len : 0;
}

static bool write_message(int fd, const uint8_t *msg, size_t len)
{
	uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};
	return send(fd, head, 2, MSG_NOSIGNAL | MSG_MORE) == 2 && send(fd, msg, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void set_times(int fd)
{
	struct timeval t = {.tv_sec = TCP_IDLE_S};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

struct tcp_room { uint8_t msg[DNS_TCP_MAX], got[DNS_TCP_MAX], out[DNS_TCP_MAX]; };

/* Pass a question on over TCP; the length of what is in room->out. */
static size_t ask_tcp(struct dns *d, struct tcp_room *room, size_t len, const struct dns_question *q, const char *target)
{
	struct sockaddr_in servers[SERVERS_MAX];
	unsigned n = nameservers(servers);
	for (unsigned i = 0; i < n; i++) {
		own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		uint16_t id = random_id();
		size_t ask_len = question_for(room->msg, len, q, target, id, room->got, sizeof(room->got));
		set_times(fd);
		if (fd < 0 || !ask_len || connect(fd, (struct sockaddr *)&servers[i], sizeof(*servers)) ||
		    !write_message(fd, room->got, ask_len) || !(ask_len = read_message(fd, room->got)))
			continue;
		ask_len = answer_from(d, room->msg, q, target, id, room->got, ask_len, room->out, sizeof(room->out));
		if (ask_len)
			return ask_len;
	}
	return failure(room->msg, q, room->out, sizeof(room->out));
}

struct tcp_client { struct dns *dns; unsigned slot; int fd; };

static void *serve_client(void *arg)
{
	struct tcp_client *c = arg;
	struct dns *d = c->dns;
	struct tcp_room *room = malloc(sizeof(*room));
	size_t len;
	while (room && (len = read_message(c->fd, room->msg))) {
		struct dns_question q;
		char target[DNS_NAME_MAX];
		size_t out_len;
		int refused;
		bool ours = answer(d, room->msg, len, &q, room->out, sizeof(room->out), &out_len, target, &refused);
		if (refused)
			break;
		if (!ours)
			out_len = ask_tcp(d, room, len, &q, target);
		if (!write_message(c->fd, room->out, out_len))
			break;
	}
	free(room);
	pthread_mutex_lock(&d->lock);
	close(c->fd);
	d->tcp_fds[c->slot] = -1;
	pthread_cond_broadcast(&d->tcp_ended);
	pthread_mutex_unlock(&d->lock);
	free(c);
	return NULL;
}

static bool client_start(struct dns *d, int fd)
{
	pthread_t t;
	pthread_mutex_lock(&d->lock);
	unsigned slot = 0;
	while (slot < TCP_MAX && d->tcp_fds[slot] >= 0)
		slot++;
	struct tcp_client *c = slot < TCP_MAX && !d->stop ? malloc(sizeof(*c)) : NULL;
	bool ok = false;
	if (c) {
		*c = (struct tcp_client){.dns = d, .slot = slot, .fd = fd};
		d->tcp_fds[slot] = fd;
		ok = !pthread_create(&t, NULL, serve_client, c);
		if (ok)
			pthread_detach(t);
		else
			d->tcp_fds[slot] = -1, free(c);
	}
	pthread_mutex_unlock(&d->lock);
	return ok;
}

static void *serve_tcp(void *arg)
{
	struct dns *d = arg;
	for (;;) {
		struct pollfd fds[2] = {{.fd = d->wake, .events = POLLIN}, {.fd = d->tcp, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		int fd = fds[1].revents ? accept4(d->tcp, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (fd < 0)
			continue;
		set_times(fd);
		if (!client_start(d, fd))
			close(fd);
	}
}

/* --- life --- */

static int open_socket(const char *addr, int type, int *out, struct err *e)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	own_fd int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	int one = 1;
	if (inet_pton(AF_INET, addr, &a.sin_addr) != 1)
		return err_set(e, EINVAL, "resolver: \"%s\" is no IPv4 address", addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || (type == SOCK_STREAM && listen(fd, 64)))
		return err_sys(e, errno, "resolver at %s port %d", addr, PORT);
	*out = take_fd(fd);
	return 0;
}

int dns_start(const char *addr, const char *domain, struct dns **out, struct err *e)
{
	struct dns *d = calloc(1, sizeof(*d));
	if (!d)
		return err_sys(e, ENOMEM, "resolver");
	d->udp = d->tcp = -1;
	for (size_t i = 0; i < WAITING_MAX; i++)
		d->waiting[i].fd = -1;
	for (size_t i = 0; i < TCP_MAX; i++)
		d->tcp_fds[i] = -1;
	d->domain = strdup(domain);
	d->wake = eventfd(0, EFD_CLOEXEC);
	pthread_rwlock_init(&d->model_lock, NULL);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->tcp_ended, NULL);
	int rc = d->domain && d->wake >= 0 ? 0 : err_sys(e, ENOMEM, "resolver");
	if (!rc)
		rc = open_socket(addr, SOCK_DGRAM, &d->udp, e);
	if (!rc)
		rc = open_socket(addr, SOCK_STREAM, &d->tcp, e);
	if (!rc && (rc = pthread_create(&d->udp_thread, NULL, serve_udp, d)))
		rc = err_sys(e, rc, "resolver");
	if (!rc && (rc = pthread_create(&d->tcp_thread, NULL, serve_tcp, d))) {
		eventfd_write(d->wake, 1);
		pthread_join(d->udp_thread, NULL);
		rc = err_sys(e, rc, "resolver");
	}
	if (rc) {
		if (d->udp >= 0)
			close(d->udp);
		if (d->tcp >= 0)
			close(d->tcp);
		if (d->wake >= 0)
			close(d->wake);
		free(d->domain);
		free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void dns_set(struct dns *d, struct service_model *m)
{
	pthread_rwlock_wrlock(&d->model_lock);
	struct service_model *old = d->model;
	d->model = m;
	pthread_rwlock_unlock(&d->model_lock);
	service_model_free(old);
}

void dns_stop(struct dns *d)
{
	if (!d)
		return;
	eventfd_write(d->wake, 1);
	pthread_join(d->udp_thread, NULL);
	pthread_join(d->tcp_thread, NULL);
	pthread_mutex_lock(&d->lock);
	d->stop = true;
	for (size_t i = 0; i < TCP_MAX; i++) {
		if (d->tcp_fds[i] >= 0)
			shutdown(d->tcp_fds[i], SHUT_RDWR);
		while (d->tcp_fds[i] >= 0)
			pthread_cond_wait(&d->tcp_ended, &d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; i < WAITING_MAX; i++)
		if (d->waiting[i].fd >= 0)
			close(d->waiting[i].fd);
	close(d->udp);
	close(d->tcp);
	close(d->wake);
	service_model_free(d->model);
	free(d->domain);
	free(d);
}
