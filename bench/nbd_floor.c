// SPDX-License-Identifier: Apache-2.0
// The floor for NBD servers: answers every request at once without any disk (reads give whatever is in memory). What a
// server of disks costs above this is what it spends on disks. Usage: nbd_floor SOCKET SIZE
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/usock.h"
#include "disk/nbd/proto.h"

#define IN (1u << 20)
#define BATCH 256

static unsigned char in[2 * IN], body[1u << 20];

static int handshake(int fd, uint64_t size)
{
	struct { uint64_t magic, opts; uint16_t flags; } __attribute__((packed)) hello = {
		htobe64(NBD_MAGIC), htobe64(NBD_OPTS_MAGIC), htobe16(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES) };
	uint32_t flags;

	if (fd_write_all(fd, &hello, sizeof(hello)) < 0 || fd_read_all(fd, &flags, 4) < 0) return -1;
	for (;;) {
		struct { uint64_t magic; uint32_t code, len; } __attribute__((packed)) o;
		struct { uint64_t magic; uint32_t option, type, len; } __attribute__((packed)) r = { .magic = htobe64(NBD_REP_MAGIC) };
		struct { uint16_t type; uint64_t size; uint16_t flags; } __attribute__((packed)) x = {
			htobe16(NBD_INFO_EXPORT), htobe64(size), htobe16(NBD_TF_HAS_FLAGS | NBD_TF_FLUSH) };

		if (fd_read_all(fd, &o, sizeof(o)) < 0 || be32toh(o.len) > IN || (o.len && fd_read_all(fd, in, be32toh(o.len)) < 0)) return -1;
		r.option = o.code;
		if (be32toh(o.code) == NBD_OPT_GO || be32toh(o.code) == NBD_OPT_INFO) {
			r.type = htobe32(NBD_REP_INFO);
			r.len = htobe32(sizeof(x));
			if (fd_write_all(fd, &r, sizeof(r)) < 0 || fd_write_all(fd, &x, sizeof(x)) < 0) return -1;
			r.type = htobe32(NBD_REP_ACK);
		} else {
			r.type = htobe32(NBD_REP_ERR_UNSUP);   // simple replies only: the least work
		}
		r.len = 0;
		if (fd_write_all(fd, &r, sizeof(r)) < 0) return -1;
		if (be32toh(o.code) == NBD_OPT_GO) return 0;
	}
}

static int send_all(int fd, struct iovec *v, int n)
{
	while (n) {
		ssize_t got = writev(fd, v, n);

		if (got <= 0) return -1;
		while (n && (size_t)got >= v->iov_len) {
			got -= (ssize_t)v->iov_len;
			v++;
			n--;
		}
		if (n) {
			v->iov_base = (char *)v->iov_base + got;
			v->iov_len -= (size_t)got;
		}
	}
	return 0;
}

static void serve(int fd)
{
	static struct nbd_simple head[BATCH];
	struct iovec v[2 * BATCH];
	size_t have = 0;

	for (;;) {
		ssize_t got = recv(fd, in + have, sizeof(in) - have, 0);
		size_t at = 0;
		int n = 0, nv = 0;

		if (got <= 0) return;
		have += (size_t)got;
		while (have - at >= sizeof(struct nbd_request) && n < BATCH) {
			struct nbd_request q;
			size_t len;

			memcpy(&q, in + at, sizeof(q));
			len = be32toh(q.length);
			if (be16toh(q.type) == NBD_CMD_DISC || len > sizeof(body)) return;
			if (be16toh(q.type) == NBD_CMD_WRITE && have - at < sizeof(q) + len) break;
			at += sizeof(q) + (be16toh(q.type) == NBD_CMD_WRITE ? len : 0);
			head[n] = (struct nbd_simple){ htobe32(NBD_SIMPLE_MAGIC), 0, q.cookie };
			v[nv++] = (struct iovec){ &head[n++], sizeof(head[0]) };
			if (be16toh(q.type) == NBD_CMD_READ) v[nv++] = (struct iovec){ body, len };
		}
		memmove(in, in + at, have - at);
		have -= at;
		if (nv && send_all(fd, v, nv) < 0) return;
	}
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int listener;

	if (argc != 3) {
		fprintf(stderr, "usage: nbd_floor SOCKET SIZE\n");
		return 2;
	}
	listener = usock_listen(argv[1], SOCK_STREAM, 0600, &e);
	if (listener < 0) {
		fprintf(stderr, "nbd_floor: %s\n", e.text);
		return 1;
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0) continue;
		if (handshake(fd, strtoull(argv[2], NULL, 0)) == 0) serve(fd);
		close(fd);
	}
}
