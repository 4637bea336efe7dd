// SPDX-License-Identifier: Apache-2.0
// Who is alive in a shared region. Each process holds a lock on one byte of the region's file, its seat, which the
// kernel releases when the process ends, however it ends. Open file description locks, because POSIX ones would be lost
// with the first close() of any descriptor of the file; so each process opens the file anew.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "region.h"

static int byte_lock(int fd, int cmd, short type, uint32_t seat, struct flock *f)
{
	*f = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = PRDA_SEAT_BASE + seat, .l_len = 1 };
	int rc;
	do
		rc = fcntl(fd, cmd, f);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

int prda_seat_take(struct prda_region *r, int fd, struct err *e)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own_fd int own = open(path, O_RDWR | O_CLOEXEC);
	if (own < 0) {   // no /proc in this jail: a seat cannot be told apart from the sender's, so take none
		own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (own < 0)
			return err_sys(e, errno, "duplicate the descriptor of the PRDA region");
		r->fd = take_fd(own);
		r->seat = PRDA_SEAT_NONE;
		return 0;
	}
	struct flock f;
	for (uint32_t seat = 1; seat <= PRDA_SEATS; seat++) {
		int rc = byte_lock(own, F_OFD_SETLK, F_WRLCK, seat, &f);
		if (rc == 0) {
			r->fd = take_fd(own);
			r->seat = seat;
			return 0;
		}
		if (rc != -EAGAIN && rc != -EACCES)
			return err_sys(e, -rc, "lock a byte of the PRDA region");
	}
	return err_set(e, EUSERS, "the PRDA region is in use by %d processes already", PRDA_SEATS);
}

bool prda_seat_empty(const struct prda_region *r, uint32_t seat)
{
	struct flock f;
	if (r->fd < 0 || seat == PRDA_SEAT_NONE || seat == r->seat)
		return false;
	return byte_lock(r->fd, F_OFD_GETLK, F_WRLCK, seat, &f) == 0 && f.l_type == F_UNLCK;
}

int prda_alloc_lock(struct prda_region *r, struct err *e)
{
	struct flock f;
	pthread_mutex_lock(&r->alloc_lock);
	int rc = r->fd < 0 ? 0 : byte_lock(r->fd, F_OFD_SETLKW, F_WRLCK, 0, &f);
	if (rc < 0) {
		pthread_mutex_unlock(&r->alloc_lock);
		return err_sys(e, -rc, "lock the PRDA region for allocation");
	}
	return 0;
}

void prda_alloc_unlock(struct prda_region *r)
{
	struct flock f;
	if (r->fd >= 0)
		byte_lock(r->fd, F_OFD_SETLK, F_UNLCK, 0, &f);
	pthread_mutex_unlock(&r->alloc_lock);
}
