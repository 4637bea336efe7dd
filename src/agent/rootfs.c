// SPDX-License-Identifier: Apache-2.0
// Paths inside untrusted trees; see rootfs.h.
#include "rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/own.h"

static int open2(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
	for (int tries = 0;; tries++) {
		int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN || tries == 100)   // EAGAIN: a rename raced with ".."
			return -errno;
	}
}

int rootfs_read(const char *root, const char *path, size_t max, struct buf *out, struct err *e)
{
	own_fd int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "open %s", root);
	/* O_NONBLOCK: a named pipe in the image must not stop the agent. */
	own_fd int fd = open2(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, RESOLVE_IN_ROOT);
	if (fd < 0)
		return err_sys(e, -fd, "open %s of the container", path);
	struct stat st;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s of the container is not a regular file", path);
	if ((size_t)st.st_size > max)
		return err_set(e, EFBIG, "%s of the container has more than %zu bytes", path, max);
	size_t before = out->len;
	while (out->len - before < max) {
		if (buf_reserve(out, 4096))
			return err_set(e, ENOMEM, "no memory");
		size_t room = max - (out->len - before);
		ssize_t n = read(fd, out->data + out->len, room < 4096 ? room : 4096);
		if (n < 0)
			return err_sys(e, errno, "read %s of the container", path);
		if (n == 0)
			break;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
	return 0;
}

/* Whatever the umask: who may write to the volume may write to its sub path. */
static int set_mode(int dir, mode_t mode)
{
	char proc[64];
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", dir);   // fchmod wants more than O_PATH
	return chmod(proc, mode) ? -errno : 0;
}

/* mkdir -p beneath `at`, with its mode. Every prefix is resolved from the top, so that links inside the volume work and links
 * out of it do not. path: changed and restored. */
static int make_beneath(int at, char *path)
{
	own_fd int parent = dup(at);
	struct stat st;
	if (fstat(at, &st))
		return -errno;
	mode_t mode = st.st_mode & (0777 | S_ISGID);
	for (char *p = path; parent >= 0 && *p;) {
		char *name = p;
		p += strcspn(p, "/");
		char slash = *p;
		*p = '\0';
		int next = open2(at, path, O_PATH | O_DIRECTORY, RESOLVE_BENEATH);
		if (next == -ENOENT && !mkdirat(parent, name, 0755)) {
			next = open2(at, path, O_PATH | O_DIRECTORY, RESOLVE_BENEATH);
			int rc = next < 0 ? next : set_mode(next, mode);
			if (rc && next >= 0) {
				close(next);
				next = rc;
			}
		}
		*p = slash;
		close(parent);
		parent = next;
		p += strspn(p, "/");
	}
	return parent < 0 ? parent : 0;
}

static bool has_dotdot(const char *path)
{
	for (const char *p = path; *p; p += strspn(p, "/")) {
		size_t len = strcspn(p, "/");
		if (len == 2 && !memcmp(p, "..", 2))
			return true;
		p += len;
	}
	return false;
}

int rootfs_open_beneath(const char *dir, const char *path, struct err *e)
{
	if (*path == '/' || strlen(path) >= PATH_MAX || has_dotdot(path))
		return err_set(e, EINVAL, "subPath '%s' must be a relative path without '..'", path);
	own_fd int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return err_sys(e, errno, "open %s", dir);
	own_free char *copy = strdup(path);
	if (!copy)
		return err_set(e, ENOMEM, "no memory");
	int fd = open2(at, path, O_PATH, RESOLVE_BENEATH);
	if (fd == -ENOENT) {
		int rc = make_beneath(at, copy);
		fd = rc ? rc : open2(at, path, O_PATH, RESOLVE_BENEATH);
	}
	if (fd == -EXDEV || fd == -ELOOP)
		return err_set(e, EINVAL, "subPath '%s' leads out of its volume", path);
	return fd < 0 ? err_sys(e, -fd, "open subPath '%s'", path) : fd;
}
