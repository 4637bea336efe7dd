// SPDX-License-Identifier: Apache-2.0
// System call filters; see callfilter.h. No role may open a file by path, run a program, make a socket, a process or a
// namespace, map executable memory, trace, or change its user. What each list is for stands beside it.
#include "callfilter.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#define CALL(name) SCMP_SYS(name)

// Memory, locks, time, the end: what the C library does.
static const int common[] = {
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(close), CALL(futex), CALL(munmap), CALL(madvise), CALL(brk),
	CALL(mremap), CALL(rt_sigreturn), CALL(rt_sigprocmask), CALL(exit), CALL(exit_group), CALL(clock_gettime),
	CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday), CALL(getpid), CALL(gettid), CALL(sched_yield),
	CALL(restart_syscall), CALL(set_robust_list), CALL(rseq), CALL(getrandom), CALL(getcpu), CALL(sched_getaffinity), CALL(sigaltstack),
};

// An event loop, connections that were accepted, disks that are open, threads of its own for blocking I/O.
static const int device[] = {
	CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_ctl), CALL(epoll_create1), CALL(eventfd2), CALL(timerfd_create),
	CALL(timerfd_settime), CALL(poll), CALL(ppoll), CALL(fcntl), CALL(accept4), CALL(accept), CALL(recvfrom), CALL(recvmsg),
	CALL(sendto), CALL(sendmsg), CALL(shutdown), CALL(getsockopt), CALL(setsockopt), CALL(getsockname), CALL(pread64),
	CALL(pwrite64), CALL(preadv), CALL(pwritev), CALL(preadv2), CALL(pwritev2), CALL(fsync), CALL(fdatasync), CALL(sync_file_range),
	CALL(fallocate), CALL(ftruncate), CALL(copy_file_range), CALL(lseek), CALL(fstat), CALL(newfstatat), CALL(statx), CALL(fstatfs),
	CALL(io_uring_setup), CALL(io_uring_enter), CALL(io_uring_register), CALL(dup), CALL(pipe2), CALL(membarrier),
	CALL(flock), CALL(prlimit64), CALL(sched_setaffinity),
};

// Signals by descriptor, the end of QEMU, stopping processors, and what its new threads do to close their own filter.
static const int control[] = {
	CALL(signalfd4), CALL(wait4), CALL(waitid), CALL(tgkill), CALL(rt_sigaction), CALL(seccomp),
	CALL(rt_sigtimedwait), CALL(alarm),
};

// Threads may name themselves and ask for memory to be named; no more of prctl.
#define PR_NAME 15
#define PR_DUMPABLE 3
#define PR_NO_NEW_PRIVS 38
#define PR_VMA 0x53564d41

static int allow_all(scmp_filter_ctx f, const int *calls, size_t n)
{
	int rc = 0;
	for (size_t i = 0; i < n && !rc; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
	return rc;
}
#define ALLOW(f, list) allow_all(f, list, sizeof(list) / sizeof(list[0]))

static int allow_first(scmp_filter_ctx f, int call, unsigned arg, uint64_t value)
{
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1, SCMP_CMP(arg, SCMP_CMP_EQ, value, 0));
}

static int add_common(scmp_filter_ctx f)
{
	int rc;
	// An address space that no new code gets into.
	if ((rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))) ||
	    (rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))) ||
	    (rc = allow_first(f, CALL(prctl), 0, PR_NAME)) || (rc = allow_first(f, CALL(prctl), 0, PR_VMA)))
		return rc;
	return ALLOW(f, common);
}

static int add_device(scmp_filter_ctx f)
{
	int rc;
	// Threads, not processes. The arguments of clone3 cannot be seen here: the C library then uses clone.
	if ((rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(clone), 1,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER | CLONE_NEWNS, CLONE_THREAD))) ||
	    (rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0)) ||
	    (rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(ioctl), 0)))   // TAP, disks: whatever is open
		return rc;
	return ALLOW(f, device);
}

static int add_control(scmp_filter_ctx f)
{
	int rc;
	if ((rc = add_device(f)) || (rc = allow_first(f, CALL(kill), 1, SIGKILL)) ||
	    (rc = allow_first(f, CALL(prctl), 0, PR_NO_NEW_PRIVS)) || (rc = allow_first(f, CALL(prctl), 0, PR_DUMPABLE)))
		return rc;
	return ALLOW(f, control);
}

static int add_vcpu(scmp_filter_ctx f)
{
	int rc = allow_first(f, CALL(ioctl), 1, KVM_RUN);
	if (!rc)
		rc = allow_first(f, CALL(ioctl), 1, KVM_IRQ_LINE);
	if (!rc)
		rc = allow_first(f, CALL(ioctl), 1, KVM_GET_REGS);   // to say where a guest failed
	if (!rc)
		rc = seccomp_syscall_priority(f, CALL(ioctl), 255);   // looked at first
	return rc;
}

int callfilter_enter(enum callfilter_role role, struct err *e)
{
	static int (*const add[])(scmp_filter_ctx f) = {add_control, add_device, add_vcpu};
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = f ? add_common(f) : -ENOMEM;
	if (!rc)
		rc = add[role](f);
	if (!rc && role == CALLFILTER_CONTROL)   // the disks' threads are there already
		rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!rc)
		rc = seccomp_load(f);
	if (f)
		seccomp_release(f);
	return rc ? err_sys(e, -rc, "close the system call filter") : 0;
}
