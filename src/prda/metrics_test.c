// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "bulkhead/prda_reader.h"
#include "cpus.h"
#include "metrics_name.h"
#include "region.h"

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/prda-metrics-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return dir_remove(dir, NULL);
}

static char *file_of(const char *program)
{
	static char path[200];
	snprintf(path, sizeof(path), "%s/%s.%d.prda", dir, program, (int)getpid());
	return path;
}

static void test_text(void **state)
{
	(void)state;
	struct metrics *m;
	struct err e = ERR_INIT;
	assert_int_equal(metrics_open(dir, "tester", &m, &e), 0);
	prda_u64 reads = metrics_counter(m, "disk_reads_total", "disk=\"a\"", "reads\nfinished");
	prda_u64 reads_b = metrics_counter(m, "disk_reads_total", "disk=\"b\"", "reads\nfinished");
	prda_u64 running = metrics_gauge(m, "vms_running", NULL, NULL);
	prda_u64 limit = metrics_gauge(m, "vms_limit", NULL, NULL);
	metrics_histogram size = metrics_histogram_new(m, "read_bytes", NULL, "sizes");
	prda_add(reads, 3);
	prda_add(reads_b, 4);
	prda_add(running, 2);
	prda_add(running, -5);
	metrics_gauge_set(limit, 8);
	metrics_gauge_set(limit, 9);
	metrics_observe(size, 0);
	metrics_observe(size, 3);
	metrics_observe(size, 4);
	char want[2000];
	snprintf(want, sizeof(want),
		"# HELP disk_reads_total reads\\nfinished\n# TYPE disk_reads_total counter\n"
		"disk_reads_total{program=\"tester\",pid=\"%1$d\",disk=\"a\"} 3\n"
		"disk_reads_total{program=\"tester\",pid=\"%1$d\",disk=\"b\"} 4\n"
		"# HELP read_bytes sizes\n# TYPE read_bytes histogram\n"
		"read_bytes_bucket{program=\"tester\",pid=\"%1$d\",le=\"0\"} 1\n"
		"read_bytes_bucket{program=\"tester\",pid=\"%1$d\",le=\"1\"} 1\n"
		"read_bytes_bucket{program=\"tester\",pid=\"%1$d\",le=\"3\"} 2\n"
		"read_bytes_bucket{program=\"tester\",pid=\"%1$d\",le=\"7\"} 3\n"
		"read_bytes_bucket{program=\"tester\",pid=\"%1$d\",le=\"+Inf\"} 3\n"
		"read_bytes_sum{program=\"tester\",pid=\"%1$d\"} 7\nread_bytes_count{program=\"tester\",pid=\"%1$d\"} 3\n"
		"# TYPE vms_limit gauge\nvms_limit{program=\"tester\",pid=\"%1$d\"} 9\n"
		"# TYPE vms_running gauge\nvms_running{program=\"tester\",pid=\"%1$d\"} -3\n", (int)getpid());
	own_buf struct buf out = BUF_INIT;
	assert_int_equal(metrics_text(dir, &out, &e), 0);
	assert_string_equal(out.data, want);

	metrics_remove(reads_b);
	metrics_remove(size);
	out.len = 0;
	assert_int_equal(metrics_text(dir, &out, &e), 0);
	assert_null(strstr(out.data, "disk=\"b\""));
	assert_null(strstr(out.data, "read_bytes"));
	metrics_close(m);
	assert_int_equal(access(file_of("tester"), F_OK), -1);
}

static void test_bad_metrics_are_harmless(void **state)
{
	(void)state;
	struct metrics *m;
	struct err e = ERR_INIT;
	assert_int_equal(metrics_open(dir, "../evil", &m, &e), -EINVAL);
	assert_int_equal(metrics_open(dir, "full", &m, &e), 0);
	prda_u64 bad = metrics_counter(m, "no spaces", NULL, NULL);
	prda_add(bad, 1);
	bad = metrics_counter(m, "good", "evil=\"\n\"", NULL);
	prda_add(bad, 1);
	char name[40];
	int made = 0;
	for (; made < 5000; made++) {
		snprintf(name, sizeof(name), "many_%d", made);
		prda_u64 a = metrics_counter(m, name, NULL, NULL);
		prda_add(a, 1);
	}
	own_buf struct buf out = BUF_INIT;
	assert_int_equal(metrics_text(dir, &out, &e), 0);
	assert_non_null(strstr(out.data, "many_1800{"));
	assert_null(strstr(out.data, "many_4999{"));
	assert_null(strstr(out.data, "evil"));
	metrics_close(m);
	assert_int_equal(metrics_open(NULL, "quiet", &m, &e), 0);
	prda_add(metrics_counter(m, "unseen", NULL, NULL), 1);
	metrics_close(m);
}

static void test_labels(void **state)
{
	(void)state;
	own_buf struct buf b = BUF_INIT;
	assert_int_equal(metrics_label(&b, "pod", "ns/a\"b\\c\nd"), 0);
	assert_int_equal(metrics_label(&b, "vm", ""), 0);
	assert_string_equal(b.data, "pod=\"ns/a\\\"b\\\\c\\nd\",vm=\"\"");
	assert_true(metrics_labels_good(b.data));
	assert_true(metrics_labels_good(""));
	const char *const bad[] = { "a", "a=", "a=\"", "a=\"b", "a=\"b\",", "a=\"b\"x", "1a=\"b\"", "a=\"\\q\"", "a=\"b\\", ",a=\"b\"",
		"a=\"\x01\"" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(metrics_labels_good(bad[i]));
	assert_true(metrics_name_good("a_b:c9"));
	assert_false(metrics_name_good("9a"));
	assert_false(metrics_name_good(""));
	assert_false(metrics_name_good("a b"));
}

/* A program counts while another one reads; killed, its file stays, readable, until it is swept. */
static void test_reading_a_running_process(void **state)
{
	(void)state;
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		struct metrics *m;
		if (metrics_open(dir, "worker", &m, NULL) < 0)
			_exit(1);
		prda_u64 n = metrics_counter(m, "work_total", NULL, NULL);
		prda_add(n, 1);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			prda_add(n, 1);
	}
	char x;
	assert_int_equal(read(ready[0], &x, 1), 1);
	char path[200];
	snprintf(path, sizeof(path), "%s/worker.%d.prda", dir, (int)child);
	struct prda_reader *r;
	struct err e = ERR_INIT;
	assert_int_equal(prda_reader_open(path, &r, &e), 0);
	struct prda_reader_info info;
	prda_reader_info(r, &info);
	assert_string_equal(info.name, "worker");
	assert_int_equal(info.pid, child);
	assert_true(prda_reader_alive(r));
	struct prda_variable v;
	uint32_t cursor = 0;
	assert_true(prda_reader_next(r, &cursor, &v));
	assert_string_equal(v.name, "work_total");
	uint64_t first = prda_reader_sum(r, &v, 0), later = first;
	for (int i = 0; i < 1000 && later == first; i++) {
		usleep(1000);
		later = prda_reader_sum(r, &v, 0);
	}
	assert_true(first >= 1 && later > first);
	assert_int_equal(prda_reader_word(r, &v, 1, 0), 0);       // outside
	assert_int_equal(prda_reader_word(r, &v, 0, 1u << 31), 0);
	assert_int_equal(metrics_sweep(dir, &e), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_false(prda_reader_alive(r));
	assert_true(prda_reader_sum(r, &v, 0) >= later);
	prda_reader_close(r);
	assert_int_equal(metrics_sweep(dir, &e), 1);
	assert_int_equal(access(path, F_OK), -1);
	close(ready[0]);
	close(ready[1]);
}

/* hostd makes the region, a jailed process counts in it, readers find it through a link. */
static void test_region_made_for_another(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	int fd = metrics_make_fd("vmx", &e);
	assert_true(fd >= 0);
	char target[60], link_path[200];
	snprintf(target, sizeof(target), "/proc/%d/fd/%d", (int)getpid(), fd);
	snprintf(link_path, sizeof(link_path), "%s/vmx.7.prda", dir);
	assert_int_equal(symlink(target, link_path), 0);
	pid_t child = fork();
	if (child == 0) {
		struct metrics *m;
		if (metrics_attach(fd, &m, NULL) < 0)
			_exit(1);
		prda_add(metrics_counter(m, "vm_exits_total", NULL, NULL), 12);
		_exit(ftruncate(fd, 4096) == 0 ? 2 : 0);   // sealed
	}
	int status = 1;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	own_buf struct buf out = BUF_INIT;
	assert_int_equal(metrics_text(dir, &out, &e), 0);
	assert_non_null(strstr(out.data, "vm_exits_total{program=\"vmx\""));
	assert_non_null(strstr(out.data, "} 12\n"));
	close(fd);
	assert_int_equal(metrics_sweep(dir, &e), 1);   // the link leads nowhere now
	assert_int_equal(access(link_path, F_OK), -1);
}

static void test_reader_refuses(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct prda_reader *r;
	assert_int_equal(prda_reader_open("/dev/null", &r, &e), -EINVAL);
	assert_int_equal(prda_reader_open("/proc/self/exe", &r, &e), -EINVAL);
	assert_int_equal(prda_reader_open("/nonexistent", &r, &e), -ENOENT);
	struct metrics *m;
	assert_int_equal(metrics_open(dir, "loose", &m, &e), 0);
	assert_int_equal(prda_reader_open(file_of("loose"), &r, &e), 0);
	prda_reader_close(r);
	assert_int_equal(chmod(file_of("loose"), 0666), 0);
	assert_int_equal(prda_reader_open(file_of("loose"), &r, &e), -EPERM);
	assert_int_equal(chmod(file_of("loose"), 0600), 0);

	/* Entries that lie. */
	prda_u64 a = metrics_counter(m, "liar", NULL, NULL);
	struct prda_region *region = metrics_region(m);
	struct prda_entry *t = NULL;
	for (uint32_t i = 0; i < region->shared->entries; i++)
		if (region->alias + prda_entry(region, i)->offset == prda_number(a))
			t = prda_entry(region, i);
	assert_non_null(t);
	assert_int_equal(prda_reader_open(file_of("loose"), &r, &e), 0);
	struct prda_variable v;
	struct prda_entry good = *t;
	for (int lie = 0; lie < 6; lie++) {
		switch (lie) {
		case 0: t->offset = PRDA_STRIDE; break;
		case 1: t->size = 0xffffffff; break;
		case 2: t->offset = 3; break;
		case 3: t->kind = 77; break;
		case 4: t->generation |= 1; break;
		case 5: memset(t->name, 'x', sizeof(t->name) + sizeof(t->labels)); break;
		}
		uint32_t cursor = 0;
		bool found = prda_reader_next(r, &cursor, &v);
		assert_int_equal(found, lie == 5);
		if (found)
			assert_int_equal(strlen(v.name), PRDA_NAME_MAX - 1);
		*t = good;
	}
	region->shared->entries = 0xffffffff;
	uint32_t cursor = 0;
	assert_true(prda_reader_next(r, &cursor, &v));
	assert_false(prda_reader_next(r, &cursor, &v));
	prda_reader_close(r);
	region->shared->entries = 2;
	metrics_close(m);
}

static void test_cpu_list(void **state)
{
	(void)state;
	assert_int_equal(prda_cpus_parse("0\n"), 1);
	assert_int_equal(prda_cpus_parse("0-3\n"), 4);
	assert_int_equal(prda_cpus_parse("0-3,8-11,64"), 65);
	const char *const bad[] = { "", "\n", "a", "0-", "3-1", "0,", "0-99999", "-1", "0 1" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(prda_cpus_parse(bad[i]), 0);
	assert_true(prda_cpus_possible() >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text), cmocka_unit_test(test_bad_metrics_are_harmless), cmocka_unit_test(test_labels),
		cmocka_unit_test(test_reading_a_running_process), cmocka_unit_test(test_region_made_for_another),
		cmocka_unit_test(test_reader_refuses), cmocka_unit_test(test_cpu_list),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
