// SPDX-License-Identifier: Apache-2.0
#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// Of Linux 6.6, not in older headers.
struct bh_uffdio_poison { struct uffdio_range range; uint64_t mode; int64_t updated; };
#define BH_USERFAULTFD_IOC_NEW _IO(0xaa, 0x00)   // of 6.1
#define BH_UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct bh_uffdio_poison)

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

/* With the features that pagerd needs, or not at all. */
static int greet(int fd)
{
	struct uffdio_api api = { .api = UFFD_API,
		.features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	int rc = call(fd, UFFDIO_API, &api);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

int uffd_open_device(int device)
{
	int fd = ioctl(device, BH_USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : greet(fd);
}

int uffd_open(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		return greet(fd);
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -EPERM;
	fd = uffd_open_device(device);
	close(device);
	return fd;
}

int uffd_check(int fd)
{
	char path[64], name[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return -EINVAL;
	name[n] = 0;
	if (strcmp(name, "anon_inode:[userfaultfd]"))
		return -EINVAL;
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

int uffd_register(int fd, uint64_t address, uint64_t length)
{
	struct uffdio_register r = { .range = { address, length },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP };
	int rc = call(fd, UFFDIO_REGISTER, &r);
	return rc == -ENOMEM && !uffd_alive(fd, address) ? -ESRCH : rc;
}

bool uffd_alive(int fd, uint64_t page)
{
	struct uffdio_continue c = { .range = { page, 4096 } };
	return call(fd, UFFDIO_CONTINUE, &c) != -ESRCH;        // it never succeeds: minor faults are not registered
}

int uffd_copy(int fd, uint64_t to, const void *from, uint64_t length, uint64_t *done)
{
	int rc;
	int64_t moved;
	if (from) {
		struct uffdio_copy c = { .dst = to, .src = (uintptr_t)from, .len = length };
		rc = call(fd, UFFDIO_COPY, &c);
		moved = c.copy;
	} else {
		struct uffdio_zeropage z = { .range = { to, length } };
		rc = call(fd, UFFDIO_ZEROPAGE, &z);
		moved = z.zeropage;
	}
	*done = moved > 0 ? (uint64_t)moved : 0;
	return rc;
}

int uffd_wake(int fd, uint64_t address, uint64_t length)
{
	struct uffdio_range r = { address, length };
	return call(fd, UFFDIO_WAKE, &r);
}

static int protect(int fd, uint64_t address, uint64_t length, uint64_t mode)
{
	struct uffdio_writeprotect w = { .range = { address, length }, .mode = mode };
	int rc;
	do
		rc = call(fd, UFFDIO_WRITEPROTECT, &w);   // EAGAIN: the process is changing its mappings
	while (rc == -EAGAIN);
	return rc;
}

int uffd_protect(int fd, uint64_t address, uint64_t length)
{
	return protect(fd, address, length, UFFDIO_WRITEPROTECT_MODE_WP);
}

int uffd_unprotect(int fd, uint64_t address, uint64_t length)
{
	return protect(fd, address, length, 0);
}

int uffd_poison(int fd, uint64_t address, uint64_t length)
{
	struct bh_uffdio_poison p = { .range = { address, length } };
	return call(fd, BH_UFFDIO_POISON, &p);
}
