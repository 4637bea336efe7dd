// SPDX-License-Identifier: Apache-2.0
// Shares; see share.h. A process of its own carries the messages between /dev/fuse and the stream: whoever in this VM
// waits for the host, the agent among them, must not be the one that carries. When the stream ends the process ends, and
// with it the mount answers ENOTCONN at once.
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fuse.h>
#include <linux/loop.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "base/file.h"
#include "base/own.h"
#include "machine.h"
#include "volume.h"

#define MESSAGE_MAX (1024 * 1024 + 8192)
#define LOOP_TRIES 16

static void share_dir(const struct agent *a, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/share/%.253s", a->run_dir, name);
}

static bool is_mounted(const char *dir)
{
	char up[PATH_MAX + 8];
	struct stat st, parent;
	snprintf(up, sizeof(up), "%s/..", dir);
	return !stat(dir, &st) && !stat(up, &parent) && st.st_dev != parent.st_dev;
}

int share_place(const struct agent *a, const char *name, char out[PATH_MAX], struct err *e)
{
	if (!volume_name_ok(name))
		return err_set(e, EINVAL, "'%s' is not the name of a share", name);
	share_dir(a, name, out);
	return is_mounted(out) ? 0 : err_set(e, ENOENT, "share '%s' is not there, or its host has closed it", name);
}

/* --- carrying --- */

static bool wait_for(int fd, short events)
{
	struct pollfd p = {fd, events, 0};
	return poll(&p, 1, -1) > 0 || errno == EINTR;
}

static bool send_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (!wait_for(fd, POLLOUT))
				return false;
			continue;
		}
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* The host's answers, put together and handed to the kernel one by one. False: the end. */
static bool take_answers(int stream, int fuse, uint8_t *buf, size_t *have)
{
	struct fuse_out_header h;
	ssize_t n = read(stream, buf + *have, MESSAGE_MAX - *have);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	*have += (size_t)n;
	while (*have >= sizeof(h)) {
		memcpy(&h, buf, sizeof(h));
		if (h.len < sizeof(h) || h.len > MESSAGE_MAX)
			return false;
		if (*have < h.len)
			break;
		if (write(fuse, buf, h.len) < 0 && errno == ENODEV)
			return false;   // unmounted; other errors: the request was given up meanwhile
		memmove(buf, buf + h.len, *have - h.len);
		*have -= h.len;
	}
	return true;
}

static _Noreturn void carry(int fuse, int stream)
{
	uint8_t *up = malloc(MESSAGE_MAX), *down = malloc(MESSAGE_MAX);
	struct pollfd p[2] = {{fuse, POLLIN, 0}, {stream, POLLIN, 0}};
	size_t have = 0;
	while (up && down && (poll(p, 2, -1) > 0 || errno == EINTR)) {
		if (p[0].revents) {
			ssize_t n = read(fuse, up, MESSAGE_MAX);
			if ((n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOENT) || (n > 0 && !send_all(stream, up, (size_t)n)))
				break;
		}
		if (p[1].revents && !take_answers(stream, fuse, down, &have))
			break;
	}
	_exit(0);
}

static int start_carrier(int fuse, int stream, struct err *e)
{
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "start the carrier of a share");
	if (pid)
		return 0;
	prctl(PR_SET_NAME, "share");
	/* Nothing of the agent's stays open here. */
	int high_fuse = fcntl(fuse, F_DUPFD, 64), high_stream = fcntl(stream, F_DUPFD, 64);
	if (high_fuse < 0 || high_stream < 0 || dup2(high_fuse, 3) < 0 || dup2(high_stream, 4) < 0)
		_exit(1);
	close_range(5, ~0u, 0);
	carry(3, 4);
}

static int mount_share(struct agent *a, const Bulkhead__Agent__ShareOpen *open_, int fuse, const char *dir, struct err *e)
{
	char options[128];
	int rc = dir_make(dir, 0755, e);
	if (rc)
		return rc;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fuse);
	return a->machine->mount("share", dir, "fuse", MS_NODEV | MS_NOSUID | (open_->read_only ? MS_RDONLY : 0), options, e);
}

static int make_share(struct agent *a, struct stream *s, const Bulkhead__Agent__ShareOpen *o, struct err *e)
{
	char dir[PATH_MAX];
	if (!volume_name_ok(o->name))
		return err_set(e, EINVAL, "'%s' is not the name of a share", o->name);
	share_dir(a, o->name, dir);
	if (is_mounted(dir))
		return err_set(e, EEXIST, "share '%s' is there", o->name);
	a->machine->unmount(dir);   // one whose host has gone
	int rc = a->machine->load_module("fuse", e);
	if (rc)
		return rc;
	own_fd int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse < 0)
		return err_sys(e, errno, "open /dev/fuse");
	rc = mount_share(a, o, fuse, dir, e);
	if (rc)
		return rc;
	stream_ready(s);   // before the carrier: it owns the stream from then on
	rc = start_carrier(fuse, ep_fd(stream_endpoint(s)), e);
	if (rc)
		a->machine->unmount(dir);
	return rc;
}

void share_open(struct agent *a, struct stream *s, const Bulkhead__Agent__ShareOpen *o)
{
	struct err e = ERR_INIT;
	if (make_share(a, s, o, &e))
		stream_refuse(s, &e);
	else
		stream_close(s);   // the carrier has it
}

/* --- images --- */

static int attach_loop(int file, char device[32], struct err *e)
{
	own_fd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config c = {.fd = (uint32_t)file, .info = {.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR}};
	if (control < 0)
		return err_sys(e, errno, "open /dev/loop-control");
	for (int i = 0; i < LOOP_TRIES; i++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);
		if (n < 0)
			return err_sys(e, errno, "find a loop device");
		snprintf(device, 32, "/dev/loop%d", n);
		int fd = open(device, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, errno, "open %s", device);
		if (!ioctl(fd, LOOP_CONFIGURE, &c))
			return fd;
		int error = errno;
		close(fd);
		if (error != EBUSY)
			return err_sys(e, error, "set up %s", device);
	}
	return err_set(e, EBUSY, "no loop device is free");
}

static int attach_image(struct agent *a, const Bulkhead__Agent__AttachImage *rq, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX + 8], target[PATH_MAX], device[32];
	if (!volume_name_ok(rq->serial))
		return err_set(e, EINVAL, "'%s' is not a serial number", rq->serial);
	snprintf(target, sizeof(target), "%s/disk/%s", a->run_dir, rq->serial);
	if (is_mounted(target))
		return 0;   // asked again
	int rc = share_place(a, rq->share, dir, e);
	if (!rc)
		rc = a->machine->load_module("loop", e);
	if (!rc)
		rc = dir_make(target, 0755, e);
	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/file", dir);
	own_fd int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return err_sys(e, errno, "open %s", path);
	own_fd int loop = attach_loop(file, device, e);   // held until mounted: it goes with its last user
	return loop < 0 ? loop : a->machine->mount(device, target, "erofs", MS_NODEV | MS_RDONLY, NULL, e);
}

void share_attach_image(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	struct err e = ERR_INIT;
	int rc = attach_image(a, rq->attach_image, &e);
	call_end(call, rc, &e);
}
