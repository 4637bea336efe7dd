// SPDX-License-Identifier: Apache-2.0
#include "announce.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/own.h"
#include "base/usock.h"
#include "pagerd/proto/engine_msg.h"
#include "base/uffd.h"

/* The mappings of one file, from /proc/self/maps: addresses, protection, offset, device, inode. */
static int find_mappings(int memfd, struct engine_memory *m)
{
	struct stat st;
	if (fstat(memfd, &st))
		return -errno;
	own_file FILE *f = fopen("/proc/self/maps", "re");
	own_free char *line = NULL;
	size_t size = 0;
	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		unsigned long from, to, offset, inode;
		unsigned major_, minor_;
		char how[5];
		if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &from, &to, how, &offset, &major_, &minor_, &inode) != 7
				|| inode != st.st_ino || makedev(major_, minor_) != st.st_dev || how[3] != 's')
			continue;
		if (m->maps == PAGER_MAPS_MAX)
			return -E2BIG;
		m->map[m->maps++] = (struct pager_map){ .address = from, .offset = offset, .length = to - from };
	}
	return m->maps ? 0 : -ENOENT;
}

int memory_announce(int sock, int memfd, int device)
{
	struct engine_memory m = { .version = ENGINE_MSG_VERSION };
	int rc = find_mappings(memfd, &m);
	if (rc)
		return rc;
	own_fd int uffd = device >= 0 ? uffd_open_device(device) : uffd_open();
	if (uffd < 0)
		return uffd;
	rc = usock_send(sock, &m, sizeof(m), &uffd, 1);
	if (rc)
		return rc;
	unsigned char answer = 0;
	size_t none = 0;
	ssize_t n = usock_recv(sock, &answer, 1, NULL, &none);
	return n < 0 ? (int)n : n == 1 && answer == 1 ? 0 : -ECANCELED;
}
