// SPDX-License-Identifier: Apache-2.0
// FUSE requests (protocol 7.31, linux/fuse.h); see fuse.h.
#include "fuse.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "nodes.h"

#define MINOR 31
#define VALID_S 1                 // how long the guest may believe attributes and names
#define IO_MAX (1024 * 1024)
#define XATTR_MAX 65536

struct fuse {
	struct nodes *nodes;
	int proc_fd;              // /proc/self/fd: the way from a node to an open file
	bool read_only;
};

/* A request while it is answered. Arguments are taken from the front; running out of them marks it broken. */
struct ask {
	struct fuse *f;
	struct fuse_in_header in;
	const uint8_t *at, *end;
	bool broken;
	uint8_t *out;             // behind the answer's header
};

/* --- arguments --- */

static void take_bytes(struct ask *a, void *to, size_t len)
{
	if ((size_t)(a->end - a->at) < len) {
		memset(to, 0, len);
		a->broken = true;
		return;
	}
	memcpy(to, a->at, len);
	a->at += len;
}

#define TAKE(a, variable) take_bytes(a, &(variable), sizeof(variable))

/* A string up to its NUL. */
static const char *take_text(struct ask *a)
{
	const uint8_t *nul = memchr(a->at, 0, (size_t)(a->end - a->at));
	const char *text = (const char *)a->at;
	if (!nul) {
		a->broken = true;
		return "";
	}
	a->at = nul + 1;
	return text;
}

/* A name in a folder. */
static const char *take_name(struct ask *a)
{
	const char *name = take_text(a);
	if (!*name || strlen(name) > NAME_MAX || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		a->broken = true;
	return a->broken ? "?" : name;
}

static int node(struct ask *a) { return nodes_fd(a->f->nodes, a->in.nodeid); }

static int sys(int rc) { return rc < 0 ? -errno : rc; }

/* --- answers --- */

static void put_attr(const struct stat *st, struct fuse_attr *at)
{
	*at = (struct fuse_attr){.ino = st->st_ino, .size = (uint64_t)st->st_size, .blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec, .mtime = (uint64_t)st->st_mtim.tv_sec, .ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec, .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec, .mode = st->st_mode, .nlink = (uint32_t)st->st_nlink, .uid = st->st_uid,
		.gid = st->st_gid, .rdev = (uint32_t)makedev(major(st->st_rdev), minor(st->st_rdev)), .blksize = (uint32_t)st->st_blksize};
}

/* What lies in the folder under this name becomes known to the guest. */
static int put_entry(struct ask *a, int dir, const char *name, struct fuse_entry_out *e)
{
	struct stat st;
	uint64_t id;
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	int rc = nodes_get(a->f->nodes, fd, &st, &id);
	if (rc)
		return rc;
	*e = (struct fuse_entry_out){.nodeid = id, .entry_valid = VALID_S, .attr_valid = VALID_S};
	put_attr(&st, &e->attr);
	return 0;
}

static ssize_t answer_entry(struct ask *a, int dir, const char *name)
{
	struct fuse_entry_out e;
	int rc = put_entry(a, dir, name, &e);
	if (rc)
		return rc;
	memcpy(a->out, &e, sizeof(e));
	return sizeof(e);
}

static ssize_t answer_attr(struct ask *a, int fd)
{
	struct stat st;
	struct fuse_attr_out o = {.attr_valid = VALID_S};
	if (fstat(fd, &st))
		return -errno;
	put_attr(&st, &o.attr);
	memcpy(a->out, &o, sizeof(o));
	return sizeof(o);
}

/* What was made belongs to whoever asked; in a set-group folder to the folder's group. */
static int give(struct ask *a, int dir, const char *name)
{
	struct stat st;
	gid_t gid = !fstat(dir, &st) && st.st_mode & S_ISGID ? st.st_gid : a->in.gid;
	return sys(fchownat(dir, name, a->in.uid, gid, AT_SYMLINK_NOFOLLOW));
}

/* --- requests --- */

static ssize_t do_init(struct ask *a)
{
	struct fuse_init_in in = {0};
	size_t have = (size_t)(a->end - a->at), want = sizeof(in) < have ? sizeof(in) : have;
	take_bytes(a, &in, want);
	if (want < 16 || in.major < FUSE_KERNEL_VERSION)
		return -EPROTO;
	struct fuse_init_out o = {.major = FUSE_KERNEL_VERSION, .minor = MINOR, .max_readahead = in.max_readahead,
		.flags = in.flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS |
				     FUSE_ATOMIC_O_TRUNC | FUSE_HANDLE_KILLPRIV),
		.max_background = 64, .congestion_threshold = 48, .max_write = IO_MAX, .time_gran = 1, .max_pages = IO_MAX / 4096};
	memcpy(a->out, &o, sizeof(o));
	return sizeof(o);
}

static ssize_t do_lookup(struct ask *a)
{
	const char *name = take_name(a);
	return a->broken ? -EINVAL : answer_entry(a, node(a), name);
}

static ssize_t do_getattr(struct ask *a) { return answer_attr(a, node(a)); }

static void proc_name(int fd, char out[16]) { snprintf(out, 16, "%d", fd); }

static int set_times(struct ask *a, const struct fuse_setattr_in *in, const char *link)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
	if (in->valid & FATTR_ATIME)
		t[0] = in->valid & FATTR_ATIME_NOW ? (struct timespec){.tv_nsec = UTIME_NOW} :
		       (struct timespec){.tv_sec = (time_t)in->atime, .tv_nsec = in->atimensec};
	if (in->valid & FATTR_MTIME)
		t[1] = in->valid & FATTR_MTIME_NOW ? (struct timespec){.tv_nsec = UTIME_NOW} :
		       (struct timespec){.tv_sec = (time_t)in->mtime, .tv_nsec = in->mtimensec};
	return sys(utimensat(a->f->proc_fd, link, t, 0));
}

static int set_size(struct ask *a, uint64_t size, const char *link)
{
	int fd = openat(a->f->proc_fd, link, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	int rc = sys(ftruncate(fd, (off_t)size));
	close(fd);
	return rc;
}

static ssize_t do_setattr(struct ask *a)
{
	struct fuse_setattr_in in;
	struct stat st;
	char link[16];
	int fd = node(a), rc = 0;
	TAKE(a, in);
	if (a->broken || fstat(fd, &st))
		return -EINVAL;
	proc_name(fd, link);
	if (S_ISLNK(st.st_mode) && in.valid & ~(FATTR_UID | FATTR_GID | FATTR_CTIME))
		return -EOPNOTSUPP;   // the way over /proc would change what the link points to
	if (in.valid & (FATTR_UID | FATTR_GID))
		rc = sys(fchownat(fd, "", in.valid & FATTR_UID ? in.uid : (uid_t)-1, in.valid & FATTR_GID ? in.gid : (gid_t)-1,
				  AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
	if (!rc && in.valid & FATTR_MODE)
		rc = sys(fchmodat(a->f->proc_fd, link, in.mode & 07777, 0));
	if (!rc && in.valid & FATTR_SIZE)
		rc = S_ISREG(st.st_mode) ? set_size(a, in.size, link) : -EINVAL;
	if (!rc && in.valid & (FATTR_ATIME | FATTR_MTIME))
		rc = set_times(a, &in, link);
	return rc ? rc : answer_attr(a, fd);
}

static ssize_t do_readlink(struct ask *a)
{
	ssize_t n = readlinkat(node(a), "", (char *)a->out, PATH_MAX);
	return n < 0 ? -errno : n;
}

static ssize_t do_symlink(struct ask *a)
{
	const char *name = take_name(a), *target = take_text(a);
	if (a->broken)
		return -EINVAL;
	int rc = sys(symlinkat(target, node(a), name));
	if (!rc)
		rc = give(a, node(a), name);
	return rc ? rc : answer_entry(a, node(a), name);
}

/* Device nodes of the host are not for guests to make; the node's own kind of pipe or socket is harmless. */
static ssize_t do_mknod(struct ask *a)
{
	struct fuse_mknod_in in;
	TAKE(a, in);
	const char *name = take_name(a);
	if (a->broken)
		return -EINVAL;
	if (!S_ISREG(in.mode) && !S_ISFIFO(in.mode) && !S_ISSOCK(in.mode))
		return -EPERM;
	int rc = sys(mknodat(node(a), name, in.mode & (S_IFMT | 0777) & ~in.umask, 0));
	if (!rc)
		rc = give(a, node(a), name);
	return rc ? rc : answer_entry(a, node(a), name);
}

static ssize_t do_mkdir(struct ask *a)
{
	struct fuse_mkdir_in in;
	TAKE(a, in);
	const char *name = take_name(a);
	if (a->broken)
		return -EINVAL;
	int rc = sys(mkdirat(node(a), name, in.mode & 01777 & ~in.umask));
	if (!rc)
		rc = give(a, node(a), name);
	return rc ? rc : answer_entry(a, node(a), name);
}

static ssize_t do_unlink(struct ask *a)
{
	const char *name = take_name(a);
	return a->broken ? -EINVAL : sys(unlinkat(node(a), name, 0));
}

static ssize_t do_rmdir(struct ask *a)
{
	const char *name = take_name(a);
	return a->broken ? -EINVAL : sys(unlinkat(node(a), name, AT_REMOVEDIR));
}

static ssize_t move(struct ask *a, uint64_t to, uint32_t flags)
{
	const char *name = take_name(a), *new_name = take_name(a);
	int dir = nodes_fd(a->f->nodes, to);
	if (a->broken || dir < 0 || flags & ~3u)   // RENAME_NOREPLACE, RENAME_EXCHANGE
		return -EINVAL;
	return sys(renameat2(node(a), name, dir, new_name, flags));
}

static ssize_t do_rename(struct ask *a)
{
	struct fuse_rename_in in;
	TAKE(a, in);
	return move(a, in.newdir, 0);
}

static ssize_t do_rename2(struct ask *a)
{
	struct fuse_rename2_in in;
	TAKE(a, in);
	return move(a, in.newdir, in.flags);
}

static ssize_t do_link(struct ask *a)
{
	struct fuse_link_in in;
	char link[16];
	TAKE(a, in);
	const char *name = take_name(a);
	int old = nodes_fd(a->f->nodes, in.oldnodeid);
	if (a->broken || old < 0)
		return -EINVAL;
	proc_name(old, link);
	int rc = sys(linkat(a->f->proc_fd, link, node(a), name, AT_SYMLINK_FOLLOW));
	return rc ? rc : answer_entry(a, node(a), name);
}

/* Flags that a guest may choose; the rest is ours. */
static int open_flags(uint32_t flags)
{
	return (int)(flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC)) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
}

static ssize_t put_open(struct ask *a, int fd, struct fuse_open_out *o)
{
	uint64_t handle = files_add(a->f->nodes, fd);
	*o = (struct fuse_open_out){.fh = handle};
	return handle ? 0 : -ENFILE;
}

static ssize_t do_open(struct ask *a)
{
	struct fuse_open_in in;
	struct fuse_open_out o;
	struct stat st;
	char link[16];
	TAKE(a, in);
	if (a->broken || fstat(node(a), &st))
		return -EINVAL;
	if (!S_ISREG(st.st_mode))
		return -ENXIO;   // what is behind a device or a pipe of the host is not in the guest
	if (a->f->read_only && ((in.flags & O_ACCMODE) != O_RDONLY || in.flags & O_TRUNC))
		return -EROFS;
	proc_name(node(a), link);
	int fd = openat(a->f->proc_fd, link, open_flags(in.flags) & ~O_APPEND);   // the guest's kernel knows where the end is
	if (fd < 0)
		return -errno;
	ssize_t rc = put_open(a, fd, &o);
	if (!rc)
		memcpy(a->out, &o, sizeof(o));
	return rc ? rc : (ssize_t)sizeof(o);
}

static ssize_t do_create(struct ask *a)
{
	struct fuse_create_in in;
	struct fuse_entry_out e;
	struct fuse_open_out o;
	TAKE(a, in);
	const char *name = take_name(a);
	if (a->broken)
		return -EINVAL;
	int fd = openat(node(a), name, (open_flags(in.flags) & ~O_APPEND) | O_CREAT | O_EXCL | O_NOFOLLOW, in.mode & 0777 & ~in.umask);
	bool made = fd >= 0;
	if (!made && errno == EEXIST && !(in.flags & O_EXCL))
		fd = openat(node(a), name, (open_flags(in.flags) & ~O_APPEND) | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int rc = made ? give(a, node(a), name) : 0;
	if (!rc)
		rc = put_entry(a, node(a), name, &e);
	if (rc) {
		close(fd);
		return rc;
	}
	struct stat opened;   // names change hands: what was opened counts, not what the name says now
	bool file = !fstat(fd, &opened) && S_ISREG(opened.st_mode) && S_ISREG(e.attr.mode);
	if (!file || put_open(a, fd, &o)) {
		nodes_forget(a->f->nodes, e.nodeid, 1);
		return file ? -ENFILE : (close(fd), -ENXIO);
	}
	memcpy(a->out, &e, sizeof(e));
	memcpy(a->out + sizeof(e), &o, sizeof(o));
	return sizeof(e) + sizeof(o);
}

static ssize_t do_read(struct ask *a)
{
	struct fuse_read_in in;
	TAKE(a, in);
	int fd = files_fd(a->f->nodes, in.fh);
	if (a->broken || fd < 0 || in.size > IO_MAX || in.offset > INT64_MAX)
		return -EINVAL;
	ssize_t n = pread(fd, a->out, in.size, (off_t)in.offset);
	return n < 0 ? -errno : n;
}

static ssize_t do_write(struct ask *a)
{
	struct fuse_write_in in;
	struct fuse_write_out o = {0};
	TAKE(a, in);
	int fd = files_fd(a->f->nodes, in.fh);
	if (a->broken || fd < 0 || in.size != (size_t)(a->end - a->at) || in.offset > INT64_MAX)
		return -EINVAL;
	ssize_t n = pwrite(fd, a->at, in.size, (off_t)in.offset);
	if (n < 0)
		return -errno;
	o.size = (uint32_t)n;
	memcpy(a->out, &o, sizeof(o));
	return sizeof(o);
}

static ssize_t do_statfs(struct ask *a)
{
	struct statvfs v;
	if (fstatvfs(node(a), &v))
		return -errno;
	struct fuse_statfs_out o = {.st = {.blocks = v.f_blocks, .bfree = v.f_bfree, .bavail = v.f_bavail, .files = v.f_files,
		.ffree = v.f_ffree, .bsize = (uint32_t)v.f_bsize, .namelen = (uint32_t)v.f_namemax, .frsize = (uint32_t)v.f_frsize}};
	memcpy(a->out, &o, sizeof(o));
	return sizeof(o);
}

static ssize_t do_release(struct ask *a)
{
	struct fuse_release_in in;
	TAKE(a, in);
	files_close(a->f->nodes, in.fh);
	return 0;
}

static ssize_t do_fsync(struct ask *a)
{
	struct fuse_fsync_in in;
	TAKE(a, in);
	int fd = files_fd(a->f->nodes, in.fh);
	if (a->broken || fd < 0)
		return -EINVAL;
	return sys(in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(fd) : fsync(fd));
}

static ssize_t do_opendir(struct ask *a)
{
	struct fuse_open_out o;
	int fd = openat(node(a), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t rc = put_open(a, fd, &o);
	if (!rc)
		memcpy(a->out, &o, sizeof(o));
	return rc ? rc : (ssize_t)sizeof(o);
}

struct kernel_dirent {   // getdents64(2)
	uint64_t ino, off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

/* The guest's offset is what the host's file system gave with the entry before. */
static ssize_t do_readdir(struct ask *a)
{
	struct fuse_read_in in;
	uint8_t buf[32768];
	size_t used = 0;
	TAKE(a, in);
	int fd = files_fd(a->f->nodes, in.fh);
	if (a->broken || fd < 0 || in.size > IO_MAX || in.offset > INT64_MAX)
		return -EINVAL;
	if (lseek(fd, (off_t)in.offset, SEEK_SET) < 0)
		return -errno;
	/* What does not fit into the answer comes with the next one: the offset says where that starts. */
	size_t room = in.size < sizeof(buf) ? in.size : sizeof(buf);
	long n = syscall(SYS_getdents64, fd, buf, room);
	if (n < 0)
		return errno == EINVAL ? 0 : -errno;   // no room for one name: the guest asks with more
	for (long at = 0; at < n;) {
		const struct kernel_dirent *d = (const void *)(buf + at);
		size_t len = strlen(d->name), need = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len);
		if (used + need > in.size)
			break;
		struct fuse_dirent e = {.ino = d->ino, .off = d->off, .namelen = (uint32_t)len, .type = d->type};
		memset(a->out + used, 0, need);
		memcpy(a->out + used, &e, FUSE_NAME_OFFSET);
		memcpy(a->out + used + FUSE_NAME_OFFSET, d->name, len);
		used += need;
		at += d->reclen;
	}
	return (ssize_t)used;
}

static ssize_t do_fallocate(struct ask *a)
{
	struct fuse_fallocate_in in;
	TAKE(a, in);
	int fd = files_fd(a->f->nodes, in.fh);
	if (a->broken || fd < 0 || in.offset > INT64_MAX || in.length > INT64_MAX)
		return -EINVAL;
	return sys(fallocate(fd, (int)in.mode, (off_t)in.offset, (off_t)in.length));
}

static ssize_t do_lseek(struct ask *a)
{
	struct fuse_lseek_in in;
	TAKE(a, in);
	int fd = files_fd(a->f->nodes, in.fh);
	if (a->broken || fd < 0 || (in.whence != SEEK_DATA && in.whence != SEEK_HOLE) || in.offset > INT64_MAX)
		return -EINVAL;
	struct fuse_lseek_out o;
	off_t at = lseek(fd, (off_t)in.offset, (int)in.whence);
	if (at < 0)
		return -errno;
	o.offset = (uint64_t)at;
	memcpy(a->out, &o, sizeof(o));
	return sizeof(o);
}

static ssize_t do_forget(struct ask *a)
{
	struct fuse_forget_in in;
	TAKE(a, in);
	nodes_forget(a->f->nodes, a->in.nodeid, in.nlookup);
	return 0;
}

static ssize_t do_batch_forget(struct ask *a)
{
	struct fuse_batch_forget_in in;
	TAKE(a, in);
	for (uint32_t i = 0; i < in.count && !a->broken; i++) {
		struct fuse_forget_one one;
		TAKE(a, one);
		if (!a->broken)
			nodes_forget(a->f->nodes, one.nodeid, one.nlookup);
	}
	return 0;
}

static ssize_t do_nothing(struct ask *a)
{
	(void)a;
	return 0;
}

enum { NODE = 1, WRITES = 2, SILENT = 4 };   // needs a known node; changes something; has no answer

static const struct { ssize_t (*answer)(struct ask *a); int flags; } table[] = {
	[FUSE_LOOKUP] = {do_lookup, NODE}, [FUSE_FORGET] = {do_forget, SILENT}, [FUSE_GETATTR] = {do_getattr, NODE},
	[FUSE_SETATTR] = {do_setattr, NODE | WRITES}, [FUSE_READLINK] = {do_readlink, NODE}, [FUSE_SYMLINK] = {do_symlink, NODE | WRITES},
	[FUSE_MKNOD] = {do_mknod, NODE | WRITES}, [FUSE_MKDIR] = {do_mkdir, NODE | WRITES}, [FUSE_UNLINK] = {do_unlink, NODE | WRITES},
	[FUSE_RMDIR] = {do_rmdir, NODE | WRITES}, [FUSE_RENAME] = {do_rename, NODE | WRITES}, [FUSE_LINK] = {do_link, NODE | WRITES},
	[FUSE_OPEN] = {do_open, NODE}, [FUSE_READ] = {do_read, NODE}, [FUSE_WRITE] = {do_write, NODE | WRITES},
	[FUSE_STATFS] = {do_statfs, NODE}, [FUSE_RELEASE] = {do_release, 0}, [FUSE_FSYNC] = {do_fsync, NODE},
	[FUSE_INIT] = {do_init, 0}, [FUSE_OPENDIR] = {do_opendir, NODE}, [FUSE_READDIR] = {do_readdir, NODE},
	[FUSE_RELEASEDIR] = {do_release, 0}, [FUSE_FSYNCDIR] = {do_fsync, NODE}, [FUSE_CREATE] = {do_create, NODE | WRITES},
	[FUSE_INTERRUPT] = {do_nothing, SILENT}, [FUSE_DESTROY] = {do_nothing, 0}, [FUSE_BATCH_FORGET] = {do_batch_forget, SILENT},
	[FUSE_FALLOCATE] = {do_fallocate, NODE | WRITES}, [FUSE_RENAME2] = {do_rename2, NODE | WRITES}, [FUSE_LSEEK] = {do_lseek, NODE},
};

static ssize_t answer(struct ask *a)
{
	uint32_t op = a->in.opcode;
	if (op >= sizeof(table) / sizeof(table[0]) || !table[op].answer)
		return -ENOSYS;
	if (table[op].flags & NODE && node(a) < 0)
		return -ESTALE;
	return table[op].flags & WRITES && a->f->read_only ? -EROFS : table[op].answer(a);
}

ssize_t fuse_answer(struct fuse *f, const void *request, size_t len, void *out)
{
	struct ask a = {.f = f, .at = request, .end = (const uint8_t *)request + len, .out = (uint8_t *)out + sizeof(struct fuse_out_header)};
	TAKE(&a, a.in);
	if (a.broken || a.in.len != len)
		return -EPROTO;
	uint32_t op = a.in.opcode;
	ssize_t n = answer(&a);
	if (op < sizeof(table) / sizeof(table[0]) && table[op].flags & SILENT)
		return 0;
	struct fuse_out_header h = {.len = (uint32_t)(sizeof(h) + (n > 0 ? (size_t)n : 0)), .error = n < 0 ? (int32_t)n : 0, .unique = a.in.unique};
	memcpy(out, &h, sizeof(h));
	return h.len;
}

struct fuse *fuse_new(int root_fd, bool read_only)
{
	struct fuse *f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->read_only = read_only;
	f->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	f->nodes = f->proc_fd >= 0 ? nodes_new(root_fd) : NULL;
	if (!f->nodes) {
		fuse_free(f);
		return NULL;
	}
	return f;
}

void fuse_free(struct fuse *f)
{
	if (!f)
		return;
	nodes_free(f->nodes);
	if (f->proc_fd >= 0)
		close(f->proc_fd);
	free(f);
}
