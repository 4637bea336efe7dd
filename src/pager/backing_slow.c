// SPDX-License-Identifier: Apache-2.0
// Backings that may have to wait: a file read page by page, and another host.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backing.h"
#include "base/clock.h"
#include "base/own.h"

struct file {
	struct backing backing;
	uint64_t pages;
	int fd;
};

static int file_load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	const struct file *f = (struct file *)b;
	size_t len = (size_t)n * PAGER_PAGE, done = 0;
	if (page >= f->pages || n > f->pages - page)
		return -EIO;
	while (done < len) {
		ssize_t got = pread(f->fd, (char *)buf + done, len - done, (off_t)(page * PAGER_PAGE + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)   // 0: the file has become shorter
			return got ? -errno : -EIO;
		done += (size_t)got;
	}
	*data = buf;
	return 0;
}

static bool file_same(struct backing *b, uint64_t page, const void *data)
{
	const struct file *f = (struct file *)b;
	return page < f->pages && backing_file_same(f->fd, page, data);
}

static void file_free(struct backing *b)
{
	struct file *f = (struct file *)b;
	close(f->fd);
	free(f);
}

int backing_file_new(int fd, struct backing **out, struct err *e)
{
	static const struct vad_ops ops = { .name = "file", .may_block = true, .cluster = 16, .load = file_load,
		.same = file_same, .free = file_free };
	own_fd int mine = -1;
	uint64_t pages;
	int rc = backing_image(fd, &mine, &pages, e);
	if (rc)
		return rc;
	struct file *f = pager_alloc(sizeof(*f));
	if (!f)
		return err_set(e, ENOMEM, "no memory for a file backing");
	*f = (struct file){ .backing = { .ops = &ops, .users = 1 }, .pages = pages, .fd = take_fd(mine) };
	*out = &f->backing;
	return 0;
}

uint64_t backing_file_pages(const struct backing *b)
{
	return ((const struct file *)b)->pages;
}

// ---- Another host ----

#define REMOTE_TIMEOUT_NS (5 * NS_PER_S)

struct remote {
	struct backing backing;
	uint64_t pages;
	pthread_mutex_t lock;        // one request at a time
	int fd;                      // -1: broken
};

struct remote_request { uint64_t page; uint32_t n, zero; };
struct remote_reply { int32_t status; uint32_t n; uint64_t page; };

/* Send or receive all of it before the deadline. */
static int remote_move(int fd, void *buf, size_t len, bool out, uint64_t deadline)
{
	for (size_t done = 0; done < len; ) {
		uint64_t now = clock_mono_ns();
		struct pollfd p = { .fd = fd, .events = out ? POLLOUT : POLLIN };
		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / NS_PER_MS) + 1) == 0)
			return -ETIMEDOUT;
		char *at = (char *)buf + done;
		ssize_t n = out ? send(fd, at, len - done, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(fd, at, len - done, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		done += (size_t)n;
	}
	return 0;
}

static int remote_ask(int fd, uint64_t page, uint32_t n, void *buf)
{
	struct remote_request ask = { .page = page, .n = n };
	struct remote_reply reply;
	uint64_t deadline = clock_mono_ns() + REMOTE_TIMEOUT_NS;
	int rc = remote_move(fd, &ask, sizeof(ask), true, deadline);
	if (!rc)
		rc = remote_move(fd, &reply, sizeof(reply), false, deadline);
	if (!rc && (reply.page != page || reply.n != n))
		rc = -EPROTO;
	if (!rc && reply.status == 0)
		rc = remote_move(fd, buf, (size_t)n * PAGER_PAGE, false, deadline);
	return rc ? rc : reply.status ? 1 : 0;
}

static int remote_load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	struct remote *r = (struct remote *)b;
	if (page >= r->pages || n > r->pages - page)
		return -EIO;
	pthread_mutex_lock(&r->lock);
	int rc = r->fd < 0 ? -EIO : remote_ask(r->fd, page, n, buf);
	if (rc < 0 && r->fd >= 0) {   // nobody knows any more which reply comes next
		close(r->fd);
		r->fd = -1;
	}
	pthread_mutex_unlock(&r->lock);
	if (rc)
		return -EIO;
	*data = buf;
	return 0;
}

static void remote_free(struct backing *b)
{
	struct remote *r = (struct remote *)b;
	if (r->fd >= 0)
		close(r->fd);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

int backing_remote_new(int fd, uint64_t pages, struct backing **out, struct err *e)
{
	static const struct vad_ops ops = { .name = "remote", .may_block = true, .cluster = 16, .load = remote_load,
		.free = remote_free };
	int type = 0;
	socklen_t len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM || !pages)
		return err_set(e, EINVAL, "a remote backing is a connected stream socket and a number of pages above 0");
	own_fd int mine = pager_fails() ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (mine < 0)
		return err_sys(e, EMFILE, "remote backing");
	struct remote *r = pager_alloc(sizeof(*r));
	if (!r)
		return err_set(e, ENOMEM, "no memory for a remote backing");
	r->backing = (struct backing){ .ops = &ops, .users = 1 };
	r->pages = pages;
	r->fd = take_fd(mine);
	pthread_mutex_init(&r->lock, NULL);
	*out = &r->backing;
	return 0;
}

uint64_t backing_remote_pages(const struct backing *b)
{
	return ((const struct remote *)b)->pages;
}
