// SPDX-License-Identifier: Apache-2.0
// bulkhead-share: lets one VM see one folder or file of its host. Started by hostd with a stream to the VM's agent, over which
// the guest's kernel asks FUSE requests. It leaves everything but the folder behind before it reads the first of them: its
// own namespaces, the folder as its root, no capability beyond those on files, few system calls. It ends with the VM.
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/own.h"
#include "fuse.h"

#define STAGE "/tmp"

static const char usage[] =
	"usage: bulkhead-share --fd N --path PATH [--read-only]\n"
	"  Serve the folder or file PATH to the VM behind descriptor N. Started by bulkhead-hostd; goes to the background.\n"
	"  A file appears alone in a folder, under the name \"file\".\n";

struct options { int fd; const char *path; bool read_only; };

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"fd", 1, 0, 'f'}, {"path", 1, 0, 'p'}, {"read-only", 0, 0, 'r'}, {"help", 0, 0, 'h'}, {0, 0, 0, 0}};
	*o = (struct options){.fd = -1};
	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
		switch (c) {
		case 'f': o->fd = atoi(optarg); break;
		case 'p': o->path = optarg; break;
		case 'r': o->read_only = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: return false;
		}
	return o->fd > 2 && o->path && optind == argc;
}

/* A mount of its own of what is shared, with all that is mounted below it: device nodes in it cannot be opened. */
static int clone_tree(const struct options *o, struct err *e)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | (o->read_only ? MOUNT_ATTR_RDONLY : 0)};
	own_fd int tree = (int)syscall(SYS_open_tree, AT_FDCWD, o->path, OPEN_TREE_CLONE | AT_RECURSIVE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_sys(e, errno, "open %s", o->path);
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)))
		return err_sys(e, errno, "make a mount of %s without devices%s", o->path, o->read_only ? ", read-only" : "");
	return take_fd(tree);
}

static int enter(const struct options *o, struct err *e)
{
	struct stat st;
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return err_sys(e, errno, "make namespaces");
	own_fd int tree = clone_tree(o, e);
	if (tree < 0)
		return tree;
	if (fstat(tree, &st))
		return err_sys(e, errno, "look at %s", o->path);
	bool dir = S_ISDIR(st.st_mode);
	if (!dir && !S_ISREG(st.st_mode))
		return err_set(e, ENOTSUP, "%s is neither a folder nor a file", o->path);
	if (mount("share", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755") || mkdir(STAGE "/root", 0755))
		return err_sys(e, errno, "make a root folder");
	if (!dir && (mount("share", STAGE "/root", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755") ||
		     mknod(STAGE "/root/file", S_IFREG | 0644, 0)))
		return err_sys(e, errno, "make a root folder");
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, dir ? STAGE "/root" : STAGE "/root/file", MOVE_MOUNT_F_EMPTY_PATH))
		return err_sys(e, errno, "mount %s", o->path);
	return 0;
}

/* Called in the process that will serve: the descriptor of /proc/self/fd must be its own. The old root goes last. */
static int narrow(struct err *e)
{
	if (chdir(STAGE "/root") || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return err_sys(e, errno, "enter the folder");
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, -1) ||
	    capng_apply(CAPNG_SELECT_BOTH))
		return err_set(e, EPERM, "capabilities cannot be dropped");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return err_sys(e, errno, "give up privileges");
	return 0;
}

static int filter_calls(struct err *e)
{
	static const int calls[] = {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(poll), SCMP_SYS(close), SCMP_SYS(openat), SCMP_SYS(fstat),
		SCMP_SYS(newfstatat), SCMP_SYS(fchownat), SCMP_SYS(fchmodat), SCMP_SYS(utimensat), SCMP_SYS(ftruncate), SCMP_SYS(readlinkat),
		SCMP_SYS(symlinkat), SCMP_SYS(mknodat), SCMP_SYS(mkdirat), SCMP_SYS(unlinkat), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(linkat),
		SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(fstatfs), SCMP_SYS(statfs), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(getdents64),
		SCMP_SYS(lseek), SCMP_SYS(fallocate), SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(exit_group),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(futex), SCMP_SYS(madvise)};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = f ? 0 : -ENOMEM;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && !rc; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
	if (!rc)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc ? err_sys(e, -rc, "filter system calls") : 0;
}

/* len bytes; false: the VM has gone. */
static bool read_whole(int fd, uint8_t *buf, size_t len)
{
	for (size_t have = 0; have < len;) {
		ssize_t n = read(fd, buf + have, len - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	return true;
}

static void serve(int fd, struct fuse *f, uint8_t *in, uint8_t *out)
{
	struct fuse_in_header h;
	while (read_whole(fd, in, sizeof(h))) {
		memcpy(&h, in, sizeof(h));
		if (h.len < sizeof(h) || h.len > FUSE_REQUEST_MAX || !read_whole(fd, in + sizeof(h), h.len - sizeof(h)))
			return;
		ssize_t n = fuse_answer(f, in, h.len, out);
		if (n < 0 || (n && fd_write_all(fd, out, (size_t)n)))
			return;
	}
}

/* In the background: a session of its own, nothing of hostd's. */
static int run(const struct options *o, int ready_fd)
{
	struct err e = ERR_INIT;
	uint8_t *in = malloc(FUSE_REQUEST_MAX), *out = malloc(FUSE_REQUEST_MAX + sizeof(struct fuse_out_header));
	struct rlimit files = {.rlim_cur = 131072, .rlim_max = 131072};
	setsid();
	umask(0);
	signal(SIGPIPE, SIG_IGN);
	if (setrlimit(RLIMIT_NOFILE, &files) && !getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	int rc = in && out ? enter(o, &e) : err_sys(&e, ENOMEM, "serve %s", o->path);
	int root = rc ? -1 : open(STAGE "/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct fuse *f = root >= 0 ? fuse_new(root, o->read_only) : NULL;
	if (!rc && !f)
		rc = err_sys(&e, ENOMEM, "serve %s", o->path);
	if (!rc)
		rc = narrow(&e);
	if (!rc)
		rc = filter_calls(&e);
	if (rc && fd_write_all(ready_fd, e.text, strlen(e.text)))
		return 1;
	close(ready_fd);
	if (!rc)
		serve(o->fd, f, in, out);
	_exit(rc ? 1 : 0);   // the kernel takes the rest back
}

int main(int argc, char **argv)
{
	struct options o;
	int ready[2];
	char why[ERR_TEXT_MAX + 1];
	if (!parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return 2;
	}
	if (pipe2(ready, O_CLOEXEC))
		return 1;
	pid_t pid = fork();
	if (pid == 0) {
		close(ready[0]);
		int null = open("/dev/null", O_RDWR);
		for (int i = 0; i < 3 && null >= 0; i++)
			dup2(null, i);
		return run(&o, ready[1]);
	}
	close(ready[1]);
	ssize_t n = pid < 0 ? -1 : read(ready[0], why, sizeof(why) - 1);
	if (n == 0)
		return 0;
	why[n < 0 ? 0 : n] = '\0';
	fprintf(stderr, "%s\n", n < 0 ? strerror(errno) : why);
	return 1;
}
