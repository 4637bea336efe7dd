// SPDX-License-Identifier: Apache-2.0
#include "disk/nbd/client.h"

#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"
#include "base/usock.h"
#include "disk/nbd/proto.h"

struct nbd_client { int fd; uint64_t size, cookie; uint16_t flags; };

static int send_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int connect_tcp(char *host, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *a;
	char *port = strrchr(host, ':');
	int fd = -1, rc;

	if (!port) return err_set(e, EINVAL, "'%s' has no port", host);
	*port++ = 0;
	rc = getaddrinfo(host, port, &hints, &list);
	if (rc) return err_set(e, EHOSTUNREACH, "cannot look up '%s': %s", host, gai_strerror(rc));
	for (a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd < 0 ? err_set(e, ECONNREFUSED, "cannot connect to '%s' port %s", host, port) : fd;
}

/* GO; structured replies are not asked for. */
static int negotiate(struct nbd_client *c, const char *export)
{
	struct { uint64_t magic, opts; uint16_t flags; } __attribute__((packed)) hello;
	struct { uint32_t flags; uint64_t magic; uint32_t option, len, name_len; } __attribute__((packed)) go = {
		htobe32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES), htobe64(NBD_OPTS_MAGIC), htobe32(NBD_OPT_GO),
		htobe32((uint32_t)strlen(export) + 6), htobe32((uint32_t)strlen(export)) };
	uint16_t infos = 0;
	int rc = fd_read_all(c->fd, &hello, sizeof(hello));

	if (rc < 0) return rc;
	if (be64toh(hello.magic) != NBD_MAGIC || be64toh(hello.opts) != NBD_OPTS_MAGIC || !(be16toh(hello.flags) & NBD_FLAG_FIXED_NEWSTYLE)) return -EPROTO;
	rc = send_all(c->fd, &go, sizeof(go));
	if (rc == 0) rc = send_all(c->fd, export, strlen(export));
	if (rc == 0) rc = send_all(c->fd, &infos, sizeof(infos));
	for (int i = 0; rc == 0 && i < 100; i++) {
		struct { uint64_t magic; uint32_t option, type, len; } __attribute__((packed)) h;
		unsigned char data[4096];
		uint32_t len;

		rc = fd_read_all(c->fd, &h, sizeof(h));
		if (rc < 0) return rc;
		len = be32toh(h.len);
		if (be64toh(h.magic) != NBD_REP_MAGIC || len > sizeof(data)) return -EPROTO;
		rc = len ? fd_read_all(c->fd, data, len) : 0;
		if (rc < 0) return rc;
		if (be32toh(h.type) == NBD_REP_ACK) return c->flags ? 0 : -EPROTO;
		if (be32toh(h.type) & 0x80000000u) return -ENOENT;
		if (be32toh(h.type) == NBD_REP_INFO && len >= 12 && data[0] == 0 && data[1] == NBD_INFO_EXPORT) {
			memcpy(&c->size, data + 2, 8);
			memcpy(&c->flags, data + 10, 2);
			c->size = be64toh(c->size);
			c->flags = be16toh(c->flags);
		}
	}
	return rc < 0 ? rc : -EPROTO;
}

int nbd_client_open(const char *target, struct nbd_client **out, struct err *e)
{
	own_free char *copy = strdup(target);
	own_free struct nbd_client *c = calloc(1, sizeof(*c));
	struct timeval limit = { .tv_sec = 10 };
	char *hash = copy ? strrchr(copy, '#') : NULL;
	own_fd int fd = -1;
	int rc;

	if (!copy || !c) return err_set(e, ENOMEM, "no memory");
	if (hash) *hash++ = 0;
	if (!strncmp(copy, "unix:", 5)) fd = usock_connect(copy + 5, SOCK_STREAM, e);
	else if (!strncmp(copy, "tcp:", 4)) fd = connect_tcp(copy + 4, e);
	else return err_set(e, EINVAL, "'%s' is neither unix:PATH nor tcp:HOST:PORT", target);
	if (fd < 0) return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	c->fd = fd;
	rc = negotiate(c, hash ? hash : "");
	if (rc < 0) return err_sys(e, -rc, "'%s' refuses", target);
	if (c->flags & NBD_TF_READ_ONLY) return err_set(e, EROFS, "'%s' is read-only", target);
	take_fd(fd);
	*out = take(c);
	return 0;
}

static int request(struct nbd_client *c, uint16_t type, uint64_t off, uint32_t len, const void *data)
{
	struct nbd_request q = { htobe32(NBD_REQUEST_MAGIC), 0, htobe16(type), ++c->cookie, htobe64(off), htobe32(len) };
	struct nbd_simple a;
	int rc = send_all(c->fd, &q, sizeof(q));

	if (rc == 0 && data) rc = send_all(c->fd, data, len);
	if (rc == 0 && type != NBD_CMD_DISC) rc = fd_read_all(c->fd, &a, sizeof(a));
	if (rc < 0 || type == NBD_CMD_DISC) return rc;
	if (be32toh(a.magic) != NBD_SIMPLE_MAGIC || a.cookie != c->cookie) return -EPROTO;
	return a.error ? be32toh(a.error) == 28 ? -ENOSPC : -EIO : 0;
}

void nbd_client_close(struct nbd_client *c)
{
	if (!c) return;
	request(c, NBD_CMD_DISC, 0, 0, NULL);
	close(c->fd);
	free(c);
}

uint64_t nbd_client_size(const struct nbd_client *c) { return c->size; }
int nbd_client_write(struct nbd_client *c, uint64_t off, const void *data, uint32_t len) { return request(c, NBD_CMD_WRITE, off, len, data); }
int nbd_client_flush(struct nbd_client *c) { return c->flags & NBD_TF_FLUSH ? request(c, NBD_CMD_FLUSH, 0, 0, NULL) : 0; }

int nbd_client_zero(struct nbd_client *c, uint64_t off, uint32_t len)
{
	own_free void *zeroes = NULL;

	if (c->flags & NBD_TF_WRITE_ZEROES) return request(c, NBD_CMD_WRITE_ZEROES, off, len, NULL);
	zeroes = calloc(1, len);
	return zeroes ? nbd_client_write(c, off, zeroes, len) : -ENOMEM;
}
