// SPDX-License-Identifier: Apache-2.0
// The NBD server: any bytes of a client. The first byte chooses whether they begin with the handshake or behind one.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "disk/nbd/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* flags, structured replies, contexts, GO */
static const unsigned char hello[] =
	"\0\0\0\3"
	"IHAVEOPT\0\0\0\10\0\0\0\0"
	"IHAVEOPT\0\0\0\12\0\0\0\27\0\0\0\0\0\0\0\1\0\0\0\17base:allocation"
	"IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0";

static struct nbd_export export = { .name = "x", .connections_max = 1 };

static void *drain(void *arg)
{
	char buf[65536];
	int fd = *(int *)arg;

	while (recv(fd, buf, sizeof(buf), 0) > 0) continue;
	return NULL;
}

static void disk_make(void)
{
	char path[64];
	struct err e = ERR_INIT;
	int fd = memfd_create("disk", 0);

	if (fd < 0 || ftruncate(fd, 1 << 20) < 0) abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (bh_disk_open(path, NULL, &export.disk, &e) < 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pthread_t t;
	int pair[2];

	if (size < 1 || size > 200000) return 0;
	if (!export.disk) disk_make();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) abort();
	if (pthread_create(&t, NULL, drain, &pair[1])) abort();
	if (data[0] & 1) send(pair[1], hello, sizeof(hello) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	send(pair[1], data + 1, size - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(pair[1], SHUT_WR);
	nbd_connection(&export, pair[0], NULL);
	pthread_join(t, NULL);
	close(pair[1]);
	return 0;
}
