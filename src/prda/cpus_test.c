// SPDX-License-Identifier: Apache-2.0
// CPUs that a process may not use, that it may use again, that there are not, and how many there can be at all.
// tests/guest/prda_guest.c takes CPUs away altogether.
#include "cpus.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "bulkhead/prda.h"
#include "region.h"

static int usable[2];   // two CPUs of this process; the same when it has one

static int find_cpus(void **state)
{
	(void)state;
	cpu_set_t set;
	int n = 0;
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			usable[n++] = cpu;
	if (n == 1)
		usable[1] = usable[0];
	return n > 0 ? 0 : -1;
}

/* The slot of a CPU's copy for this thread. */
static uint32_t slot_of(const struct prda_region *r, int cpu)
{
	return prda_have_rseq() ? (uint32_t)cpu : r->cpus + (uint32_t)cpu;
}

static int write_text(const char *dir, const char *file, const char *text)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	int fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	int rc = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
	close(fd);
	return rc;
}

static int write_number(const char *dir, const char *file, int n)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", n);
	return write_text(dir, file, text);
}

static int read_text(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, len - 1);
	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return n > 0 ? 0 : -1;
}

/* A cpuset of our own, below the one we are in: cgroup v1, or v2. Returns false where that is not allowed. */
static bool cpuset_make(char dir[200])
{
	static const struct { const char *root, *mems; } v[] = {
		{ "/sys/fs/cgroup/cpuset", "cpuset.mems" }, { "/sys/fs/cgroup", NULL },
	};
	for (int i = 0; i < 2; i++) {
		char mems[64], path[100];
		snprintf(dir, 200, "%s/prda-test-%d", v[i].root, (int)getpid());
		if (mkdir(dir, 0755) < 0)
			continue;
		snprintf(path, sizeof(path), "%s/cpuset.mems", v[i].root);
		bool good = write_number(dir, "cpuset.cpus", usable[1]) == 0
			&& (!v[i].mems || (read_text(path, mems, sizeof(mems)) == 0 && write_text(dir, v[i].mems, mems) == 0));
		if (good)
			return true;
		rmdir(dir);
	}
	return false;
}

static _Atomic bool stop;
static prda_u64 counter;

static void *count_on(void *arg)
{
	uint64_t *n = arg;
	while (!stop) {
		prda_add(counter, 1);
		++*n;
	}
	return NULL;
}

/* In a child, which stays in the cpuset until its end. Returns 0, or a line number. */
static int in_cpuset(struct prda_region *r, const char *dir)
{
#define CHECK(what) do { if (!(what)) return __LINE__ % 256; } while (0)
	uint32_t possible = prda_cpus_possible();
	uint64_t before = prda_read(counter, slot_of(r, usable[0])), n[4] = { 0 };
	CHECK(write_text(dir, "cgroup.procs", "0") == 0);
	CHECK(sched_getcpu() == usable[1]);
	CHECK(prda_cpus_possible() == possible);                       // its numbers are the kernel's
	prda_add(counter, 3);
	CHECK(prda_read(counter, slot_of(r, usable[1])) == 3);
	CHECK(prda_read(counter, slot_of(r, usable[0])) == before);    // hidden, and still there
	struct prda_region *inside;
	prda_u64 a;
	CHECK(prda_region_new(NULL, &inside, NULL) == 0 && prda_region_cpus(inside) == possible);
	CHECK(prda_alloc(inside, &a, NULL, NULL) == 0);
	prda_add(a, 1);
	CHECK(prda_read(a, slot_of(inside, usable[1])) == 1);
	prda_region_close(inside);
	/* Taken away and given back while threads count. */
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, count_on, &n[i]) == 0);
	for (int i = 0; i < 100; i++) {
		CHECK(write_number(dir, "cpuset.cpus", usable[i % 2]) == 0);
		usleep(1000);
	}
	stop = true;
	uint64_t all = before + 3;
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		all += n[i];
	}
	CHECK(prda_sum(counter) == all);
	return 0;
}

static void test_cpuset_hides_a_cpu(void **state)
{
	(void)state;
	char dir[200];
	struct prda_region *r;
	if (usable[0] == usable[1] || !cpuset_make(dir)) {
		print_message("# skipped: one CPU, or no cpuset of one's own is allowed here\n");
		skip();
	}
	assert_int_equal(prda_region_new(NULL, &r, NULL), 0);
	assert_int_equal(prda_alloc(r, &counter, NULL, NULL), 0);
	pid_t child = fork();
	if (child == 0) {
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(usable[0], &one);
		sched_setaffinity(0, sizeof(one), &one);
		prda_add(counter, 5);
		CPU_SET(usable[1], &one);
		sched_setaffinity(0, sizeof(one), &one);
		_exit(in_cpuset(r, dir));
	}
	int status = -1;
	waitpid(child, &status, 0);
	for (int i = 0; i < 100 && rmdir(dir) < 0; i++)
		usleep(10000);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status))
		fail_msg("in the cpuset: line %d", WEXITSTATUS(status));
	prda_region_close(r);
}

/* Whatever the affinity is, and however it changes, the area is that of the CPU that one is on. */
static void test_affinity(void **state)
{
	(void)state;
	struct prda_region *r;
	prda_u64 a;
	cpu_set_t before, one;
	sched_getaffinity(0, sizeof(before), &before);
	assert_int_equal(prda_region_new(NULL, &r, NULL), 0);
	assert_int_equal(prda_alloc(r, &a, NULL, NULL), 0);
	for (int i = 0; i < 100; i++) {
		CPU_ZERO(&one);
		CPU_SET(usable[i % 2], &one);
		assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
		uint64_t was = prda_read(a, slot_of(r, usable[i % 2]));
		prda_add(a, 1);
		assert_int_equal(prda_read(a, slot_of(r, usable[i % 2])), was + 1);
	}
	sched_setaffinity(0, sizeof(before), &before);
	assert_int_equal(prda_sum(a), 100);
	prda_region_close(r);
}

/* Areas for CPUs that this machine does not have, as on one where they can be plugged in. */
static void test_more_areas_than_cpus(void **state)
{
	(void)state;
	struct prda_region *r, *attached;
	prda_u64 a;
	struct err e = ERR_INIT;
	uint32_t possible = prda_cpus_possible();
	assert_int_equal(prda_region_new(&(struct prda_options){ .cpus = possible + 62, .shared = true }, &r, &e), 0);
	assert_int_equal(prda_region_form(r), PRDA_RESTART);
	assert_int_equal(prda_region_cpus(r), possible + 62);
	assert_int_equal(prda_alloc(r, &a, "a", &e), 0);
	prda_add(a, 2);
	assert_int_equal(prda_read(a, possible + 61), 0);
	assert_int_equal(prda_sum(a), 2);
	*prda_at(a, possible + 61) = 40;                               // that CPU's, had it come
	assert_int_equal(prda_sum(a), 42);
	/* A machine that has more than the region: nobody may use its sections there. */
	r->shared->cpus = possible ? possible - 1 : 0;
	assert_int_equal(prda_region_attach(prda_region_fd(r), &attached, &e), -EINVAL);
	r->shared->cpus = possible + 62;
	prda_region_close(r);
	assert_int_equal(prda_region_new(&(struct prda_options){ .cpus = PRDA_CPUS_MAX + 1 }, &r, &e), -EINVAL);
}

/* In a jail without /sys the number of CPUs is not known; it is not guessed too low. */
static void test_without_sys(void **state)
{
	(void)state;
	char dir[] = "/tmp/prda-cpus-XXXXXX";
	uint32_t possible = prda_cpus_possible();
	assert_non_null(mkdtemp(dir));
	pid_t child = fork();
	if (child == 0) {
		struct prda_region *r;
		prda_u64 a;
		if (chroot(dir) < 0 || chdir("/") < 0)
			_exit(77);
		if (prda_cpus_possible() < possible || prda_cpus_possible() > PRDA_CPUS_MAX)
			_exit(1);
		if (prda_region_new(NULL, &r, NULL) < 0 || prda_alloc(r, &a, NULL, NULL) < 0)
			_exit(2);
		prda_add(a, 1);
		_exit(prda_sum(a) == 1 && prda_region_form(r) == PRDA_RESTART ? 0 : 3);
	}
	int status = -1;
	waitpid(child, &status, 0);
	rmdir(dir);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# skipped: chroot needs root\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpuset_hides_a_cpu), cmocka_unit_test(test_affinity),
		cmocka_unit_test(test_more_areas_than_cpus), cmocka_unit_test(test_without_sys),
	};
	return cmocka_run_group_tests(tests, find_cpus, NULL);
}
