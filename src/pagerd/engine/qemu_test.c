// SPDX-License-Identifier: Apache-2.0
// QEMU with the plug-in: its firmware runs on memory that pagerd hands out page by page, and is evicted under it.
//	PAGERD, PLUGIN: the program and the plug-in. Skipped without qemu-system-x86_64 or userfaultfd.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/usock.h"
#include "pagerd/proto/engine_msg.h"
#include "base/uffd.h"

#define BYTES (64ull << 20)

static char dir[64], control[96], store[96];

static pid_t qemu_start(int memfd, int sock, int device, const char *extra)
{
	pid_t pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	char plugin[512], memory[128];
	snprintf(plugin, sizeof(plugin), "%s,socket=%d,memory=%d,device=%d%s", getenv("PLUGIN"), sock, memfd, device, extra);
	snprintf(memory, sizeof(memory), "memory-backend-file,id=ram,size=64M,mem-path=/proc/self/fd/%d,share=on", memfd);
	fcntl(memfd, F_SETFD, 0);
	fcntl(sock, F_SETFD, 0);
	fcntl(device, F_SETFD, 0);
	execlp("qemu-system-x86_64", "qemu-system-x86_64", "-M", "pc,accel=tcg,memory-backend=ram", "-m", "64M", "-object", memory,
		"-nographic", "-nodefaults", "-plugin", plugin, (char *)NULL);
	_exit(127);
}

static pid_t pagerd_start(int *sock)
{
	struct err e = ERR_INIT;
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(getenv("PAGERD"), "bulkhead-pagerd", "--control", control, "--store", store, "--store-mib", "64", (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000; i++, usleep(10000))
		if ((*sock = usock_connect(control, SOCK_SEQPACKET, &e)) >= 0)
			return pid;
	fail_msg("pagerd does not start: %s", e.text);
	return -1;
}

union reply { struct pager_msg head; struct pager_stats stats; struct pager_error error; };

static union reply call(int sock, const void *msg, size_t len, const int *fds, size_t nfds)
{
	union reply r;
	size_t none = 0;
	assert_int_equal(usock_send(sock, msg, len, fds, nfds), 0);
	assert_true(usock_recv(sock, &r, sizeof(r), NULL, &none) > 0);
	if (r.head.type == PAGER_MSG_ERROR)
		fail_msg("%s", r.error.text);
	return r;
}

static struct pager_stats stats(int sock)
{
	struct pager_vm_ref ref = { .head = { PAGER_MSG_VERSION, PAGER_MSG_STATS, 2 }, .vm = "qemu" };
	return call(sock, &ref, sizeof(ref), NULL, 0).stats;
}

static void firmware_on_paged_memory(void **state)
{
	(void)state;
	int memfd = memfd_create("bulkhead-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING), device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int pair[2], sock, uffd = -1, status;
	assert_int_equal(ftruncate(memfd, BYTES), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid_t pagerd = pagerd_start(&sock), qemu = qemu_start(memfd, pair[1], device, "");
	struct engine_memory m;
	size_t n = 1;
	close(pair[1]);
	assert_int_equal(usock_recv(pair[0], &m, sizeof(m), &uffd, &n), sizeof(m));
	assert_int_equal(n, 1);
	assert_int_equal(m.version, ENGINE_MSG_VERSION);
	assert_true(m.maps >= 1 && m.maps <= PAGER_MAPS_MAX);
	struct pager_attach a = { .head = { PAGER_MSG_VERSION, PAGER_MSG_ATTACH, 1 }, .vm = "qemu", .memory_bytes = BYTES,
		.maps = m.maps, .vads = 1, .vad = { { .pages = BYTES / 4096 } } };
	for (uint32_t i = 0; i < m.maps; i++) {
		a.map[i] = m.map[i];
		a.map[i].fd = 1;
	}
	call(sock, &a, sizeof(a), (const int[]){ memfd, uffd }, 2);
	assert_int_equal(send(pair[0], "\1", 1, 0), 1);
	for (int i = 0; stats(sock).faults < 10; i++, usleep(10000))
		assert_true(i < 1000);
	struct pager_range r = { .head = { PAGER_MSG_VERSION, PAGER_MSG_EVICT, 3 }, .vm = "qemu", .length = BYTES };
	call(sock, &r, sizeof(r), NULL, 0);
	usleep(300000);
	struct pager_stats s = stats(sock);
	printf("# faults %lu resident %lu KiB evictions %lu dropped %lu restored %lu\n", (unsigned long)s.faults,
		(unsigned long)s.resident_bytes / 1024, (unsigned long)s.evictions, (unsigned long)s.dropped, (unsigned long)s.restored);
	assert_int_equal(s.failed, 0);
	assert_true(s.evictions + s.dropped > 0);
	assert_int_equal(waitpid(qemu, &status, WNOHANG), 0);          // still there
	kill(qemu, SIGKILL);
	kill(pagerd, SIGKILL);
	waitpid(qemu, &status, 0);
	waitpid(pagerd, &status, 0);
	close(memfd), close(uffd), close(sock), close(pair[0]), close(device);
}

static void does_not_start(void **state)
{
	(void)state;
	int memfd = memfd_create("bulkhead-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING), device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	assert_int_equal(ftruncate(memfd, BYTES), 0);
	for (int i = 0; i < 3; i++) {   // refused; hung up on; an option that is none
		int pair[2], status;
		struct engine_memory m;
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		pid_t qemu = qemu_start(memfd, pair[1], device, i == 2 ? ",what=1" : "");
		size_t n = 0;
		close(pair[1]);
		if (i == 0) {
			int uffd;
			n = 1;
			assert_int_equal(usock_recv(pair[0], &m, sizeof(m), &uffd, &n), sizeof(m));
			close(uffd);
			send(pair[0], "\0", 1, 0);
		} else if (i == 1) {
			shutdown(pair[0], SHUT_RDWR);
		}
		waitpid(qemu, &status, 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 127);
		close(pair[0]);
	}
	close(memfd), close(device);
}

int main(void)
{
	int uffd = uffd_open(), device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (uffd < 0 || device < 0 || !getenv("PAGERD") || !getenv("PLUGIN") || system("qemu-system-x86_64 --version >/dev/null 2>&1")) {
		printf("1..0 # SKIP needs userfaultfd, qemu-system-x86_64, PAGERD and PLUGIN\n");
		return 0;
	}
	close(uffd), close(device);
	snprintf(dir, sizeof(dir), "/tmp/bh-pagerd-qemu-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(control, sizeof(control), "%s/control", dir);
	snprintf(store, sizeof(store), "%s/store", dir);
	const struct CMUnitTest tests[] = { cmocka_unit_test(firmware_on_paged_memory), cmocka_unit_test(does_not_start) };
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(control), unlink(store), rmdir(dir);
	return failed;
}
