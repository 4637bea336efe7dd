// SPDX-License-Identifier: Apache-2.0
// Goes into the jail of bulkhead-vmx as one of its threads does, and tries what a guest that owns it would try. Prints TAP.
//   jail_try control|device|vcpu [UID]     with UID (as root): user, namespaces and an empty root folder as well
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmx/callfilter.h"
#include "vmx/jail.h"

static int n, bad;

static void say(bool good, const char *what)
{
	char line[128];
	int len = snprintf(line, sizeof(line), "%s %d - %s\n", good ? "ok" : "not ok", ++n, what);
	bad += !good;
	if (write(1, line, (size_t)len) != len)
		_exit(2);
}

// A call that must fail, whatever the arguments are good for.
#define FORBIDDEN(call, what) (errno = 0, say((long)(call) == -1 && errno == EPERM, what))

static int listener = -1, file = -1;

static void forbidden_everywhere(void)
{
	char stack[64];
	FORBIDDEN(open("/etc/passwd", O_RDONLY), "open a file");
	FORBIDDEN(openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY), "open a folder");
	FORBIDDEN(syscall(SYS_openat2, AT_FDCWD, "/", stack, 24), "openat2");
	FORBIDDEN(syscall(SYS_open_by_handle_at, AT_FDCWD, stack, 0), "open by handle");
	FORBIDDEN(mkdir("/x", 0700), "make a folder");
	FORBIDDEN(unlink("/x"), "remove a file");
	FORBIDDEN(rename("/x", "/y"), "rename a file");
	FORBIDDEN(symlink("/x", "/y"), "make a link");
	FORBIDDEN(chmod("/x", 0777), "change a mode");
	FORBIDDEN(chdir("/"), "change the folder");
	FORBIDDEN(chroot("/"), "change the root folder");
	FORBIDDEN(mount("none", "/", "tmpfs", 0, NULL), "mount");
	FORBIDDEN(umount2("/", MNT_DETACH), "unmount");
	FORBIDDEN(execve("/bin/sh", (char *[]){(char *)"sh", NULL}, NULL), "run a program");
	FORBIDDEN(syscall(SYS_execveat, 0, "", NULL, NULL, 0), "run a program by descriptor");
	FORBIDDEN(syscall(SYS_fork), "make a process");
	FORBIDDEN(syscall(SYS_vfork), "make a process (vfork)");
	FORBIDDEN(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), "make a process (clone)");
	FORBIDDEN(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0), "make a user namespace (clone)");
	FORBIDDEN(unshare(CLONE_NEWUSER), "make a user namespace");
	FORBIDDEN(setns(0, 0), "enter a namespace");
	FORBIDDEN(socket(AF_INET, SOCK_STREAM, 0), "make a network socket");
	FORBIDDEN(socket(AF_UNIX, SOCK_STREAM, 0), "make a Unix socket");
	FORBIDDEN(socket(AF_NETLINK, SOCK_RAW, 0), "make a netlink socket");
	FORBIDDEN(syscall(SYS_connect, listener, stack, 2), "connect");
	FORBIDDEN(syscall(SYS_bind, listener, stack, 2), "bind");
	FORBIDDEN(ptrace(PTRACE_ATTACH, getppid(), 0, 0), "trace a process");
	FORBIDDEN(syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0), "read another process's memory");
	FORBIDDEN(kill(1, SIGTERM), "send a signal");
	FORBIDDEN(syscall(SYS_pidfd_open, 1, 0), "open a process");
	FORBIDDEN(setuid(0), "change the user");
	FORBIDDEN(setresgid(0, 0, 0), "change the group");
	FORBIDDEN(syscall(SYS_capset, stack, stack), "change capabilities");
	FORBIDDEN(syscall(SYS_keyctl, 0, 0, 0, 0, 0), "use keys");
	FORBIDDEN(syscall(SYS_bpf, 0, stack, 8), "load a BPF program");
	FORBIDDEN(syscall(SYS_perf_event_open, stack, 0, -1, -1, 0), "count events");
	FORBIDDEN(syscall(SYS_userfaultfd, 0), "make a userfaultfd");
	FORBIDDEN(syscall(SYS_memfd_create, "x", 0), "make a memory file");
	FORBIDDEN(syscall(SYS_init_module, stack, 8, ""), "load a module");
	FORBIDDEN(syscall(SYS_reboot, 0, 0, 0, NULL), "reboot");
	FORBIDDEN(syscall(SYS_settimeofday, stack, NULL), "set the clock");
	FORBIDDEN(syscall(SYS_personality, 0x0400000), "change the personality");
	FORBIDDEN(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "map memory to execute");
	FORBIDDEN(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0), "map a file to execute");
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	say(page != MAP_FAILED, "(map memory)");
	FORBIDDEN(mprotect(page, 4096, PROT_READ | PROT_EXEC), "make memory executable");
	FORBIDDEN(syscall(SYS_pkey_mprotect, page, 4096, PROT_EXEC, -1), "make memory executable (with a key)");
	FORBIDDEN(syscall(SYS_shmat, 0, NULL, 0), "attach shared memory");
}

static void forbidden_to_vcpus(void)
{
	char data[8];
	int type;
	FORBIDDEN(ioctl(file, KVM_CREATE_VM, 0), "KVM: make a machine");
	FORBIDDEN(ioctl(file, KVM_SET_USER_MEMORY_REGION, data), "KVM: change the guest's memory");
	FORBIDDEN(ioctl(file, FIONREAD, &type), "other ioctls");
	FORBIDDEN(pread(file, data, 1, 0), "read a disk");
	FORBIDDEN(syscall(SYS_accept4, listener, NULL, NULL, 0), "accept a connection");
	FORBIDDEN(syscall(SYS_epoll_create1, 0), "make an event loop");
	FORBIDDEN(syscall(SYS_io_uring_setup, 1, data), "make an I/O ring");
	FORBIDDEN(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, 0, 0, 0, 0), "make a thread");
}

static void no_privileges_left(void)
{
	char text[4096] = "";
	ssize_t len = read(file, text, sizeof(text) - 1);   // /proc/self/status, opened before
	say(len > 0 && strstr(text, "CapEff:\t0000000000000000") && strstr(text, "CapBnd:\t0000000000000000") &&
	    strstr(text, "CapPrm:\t0000000000000000"), "no capability is left");
	say(strstr(text, "NoNewPrivs:\t1"), "none can be had by exec");
}

#ifdef __SANITIZE_ADDRESS__
// Looking for leaks at exit takes calls that the jail forbids.
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }
#endif

int main(int argc, char **argv)
{
	static const char *const roles[] = {"control", "device", "vcpu"};
	int role = 0;
	struct err e = ERR_INIT;
	while (argc > 1 && role < 3 && strcmp(argv[1], roles[role]))
		role++;
	if (argc < 2 || role == 3)
		return fputs("jail_try control|device|vcpu [UID]\n", stderr), 1;
	uid_t uid = argc > 2 ? (uid_t)atoi(argv[2]) : 0;
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	file = open("/proc/thread-self/status", O_RDONLY);
	if (jail_begin(uid, &e) || jail_enter(uid, uid, uid, &e) || (role && callfilter_enter(CALLFILTER_CONTROL, &e)) ||
	    callfilter_enter((enum callfilter_role)role, &e)) {
		fprintf(stderr, "jail_try: %s\n", e.text);
		return 1;
	}
	forbidden_everywhere();
	if (role == CALLFILTER_VCPU)
		forbidden_to_vcpus();
	if (uid)
		no_privileges_left();
	printf("1..%d\n", n);
	fflush(stdout);
	return bad != 0;
}
