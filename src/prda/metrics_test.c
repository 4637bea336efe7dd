// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "bulkhead/prda_reader.h"
#include "cpus.h"
#include "metrics_name.h"
#include "metrics_view.h"
#include "region.h"

static char dir[64];
static const char *self;

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

static char *file_of(const char *who, int pid)
{
	static char path[300];
	snprintf(path, sizeof(path), "%s/%s.%d.prda", dir, who, pid);
	return path;
}

static void test_text(void **state)
{
	(void)state;
	struct metrics *m;
	struct err e = ERR_INIT;
	assert_int_equal(metrics_open(dir, "tester", NULL, &m, &e), 0);
	prda_u64 reads = metrics_counter("disk_reads_total", "disk=\"a\"", "reads\nfinished");
	prda_u64 reads_b = metrics_counter("disk_reads_total", "disk=\"b\"", "reads\nfinished");
	prda_u64 running = metrics_gauge("vms_running", NULL, NULL);
	prda_u64 limit = metrics_gauge("vms_limit", NULL, NULL);
	metrics_histogram size = metrics_histogram_new("read_bytes", NULL, "sizes");
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
	metrics_remove(reads);
	metrics_remove(running);
	metrics_remove(limit);
	metrics_close(m);
	struct stat st;
	assert_int_equal(lstat(file_of("tester", getpid()), &st), -1);
}

static void test_bad_metrics_are_harmless(void **state)
{
	(void)state;
	struct metrics *m;
	struct err e = ERR_INIT;
	static prda_u64 many[5000];
	assert_int_equal(metrics_open(dir, "../evil", NULL, &m, &e), -EINVAL);
	assert_int_equal(metrics_open(dir, "evil", "no-slash", &m, &e), -EINVAL);
	assert_int_equal(metrics_open(dir, "evil", "../../x", &m, &e), -EINVAL);
	assert_int_equal(metrics_open(dir, "full", NULL, &m, &e), 0);
	prda_u64 bad = metrics_counter("no spaces", NULL, NULL);
	prda_add(bad, 1);
	bad = metrics_counter("good", "evil=\"\n\"", NULL);
	prda_add(bad, 1);
	metrics_remove(bad);
	char name[40];
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "many_%d", i);
		many[i] = metrics_counter(name, NULL, NULL);
		prda_add(many[i], 1);
	}
	own_buf struct buf out = BUF_INIT;
	assert_int_equal(metrics_text(dir, &out, &e), 0);
	assert_non_null(strstr(out.data, "many_1800{"));
	assert_null(strstr(out.data, "many_4999{"));
	assert_null(strstr(out.data, "evil"));
	for (int i = 0; i < 5000; i++)
		metrics_remove(many[i]);
	metrics_close(m);
	assert_int_equal(metrics_open(NULL, "quiet", NULL, &m, &e), 0);
	metrics_close(m);
}

static void test_labels(void **state)
{
	(void)state;
	own_buf struct buf b = BUF_INIT;
	assert_int_equal(metrics_label(&b, "pod", "ns/a\"b\\c\nd"), 0);
	assert_int_equal(metrics_label(&b, "host", ""), 0);
	assert_string_equal(b.data, "pod=\"ns/a\\\"b\\\\c\\nd\",host=\"\"");
	assert_true(metrics_labels_good(b.data));
	assert_true(metrics_labels_good(""));
	const char *const bad[] = { "a", "a=", "a=\"", "a=\"b", "a=\"b\",", "a=\"b\"x", "1a=\"b\"", "a=\"\\q\"", "a=\"b\\", ",a=\"b\"",
		"a=\"\x01\"",
		"a=\"b\",a=\"c\"", "pid=\"1\"", "b=\"\",vm=\"x\"", "le=\"1\"", "a=\"\x7f\"" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(metrics_labels_good(bad[i]));
	assert_true(metrics_name_good("a_b:c9"));
	assert_false(metrics_name_good("9a"));
	assert_false(metrics_name_good(""));
	assert_false(metrics_name_good("a b"));
}

static void test_names_of_links(void **state)
{
	(void)state;
	char file[METRICS_FILE_MAX];
	struct metrics_source s = { .program = "vmx", .vm = "default/web-0.x", .pid = 12 }, back;
	assert_int_equal(metrics_source_write(&s, file), 0);
	assert_string_equal(file, "vmx@default_web-0.x.12.prda");
	assert_true(metrics_source_read(file, &back));
	assert_string_equal(back.program, "vmx");
	assert_string_equal(back.vm, "default/web-0.x");
	assert_int_equal(back.pid, 12);
	assert_true(metrics_source_read("pagerd.7.prda", &back));
	assert_string_equal(back.vm, "");
	const char *const bad[] = { "", ".prda", "a.prda", "a.b.prda", "a.0.prda", "a.-1.prda", "a.1x.prda", "a.99999999999.prda",
		"a@.1.prda", "a@b.1.prda", "a@b_c_d.1.prda", "@a_b.1.prda", "a\x1b[2J.1.prda", "a.1.prda~", ".a.1.prda",
		"a2345678901234567890123456789012.1.prda" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(metrics_source_read(bad[i], &back));
}

/* This program once more, as one that counts: see main. */
static pid_t start_worker(int *ready, const char *what)
{
	int to_us[2];
	assert_int_equal(pipe(to_us), 0);
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(to_us[1], 1);
		execl(self, self, dir, what, (char *)NULL);
		_exit(127);
	}
	close(to_us[1]);
	char x;
	assert_int_equal(read(to_us[0], &x, 1), 1);
	*ready = to_us[0];
	return child;
}

static int worker(const char *to, const char *what)
{
	struct metrics *m;
	if (metrics_open(to, "worker", "default/web", &m, NULL) < 0)
		return 1;
	prda_u64 n = metrics_counter("work_total", NULL, NULL);
	prda_add(n, 1);
	for (int i = 0; i < 1000; i++) {
		char name[24];
		snprintf(name, sizeof(name), "more_%d_total", i);
		metrics_counter(name, NULL, NULL);
	}
	int fd = prda_region_fd(prda_process_region());
	if (ftruncate(fd, 4096) == 0)
		return 2;                                   // it must be sealed
	if (!strcmp(what, "swap")) {                        // a region that can be cut short, where the link leads
		int other = memfd_create("evil", 0);
		if (ftruncate(other, (off_t)prda_file_at(prda_region_slots(prda_process_region()))) < 0
				|| pwrite(other, prda_process_region()->shared, 4096, 0) != 4096 || dup2(other, fd) != fd)
			return 3;
	}
	if (write(1, "x", 1) != 1)
		return 1;
	for (;;)
		prda_add(n, 1);
}

struct found { uint64_t value; int metrics; struct metrics_source source; };

static void on_work(void *user, const struct metrics_source *s, const struct prda_reader *r, const struct prda_variable *v)
{
	struct found *f = user;
	f->metrics++;
	if (strcmp(v->name, "work_total"))
		return;
	f->value = prda_reader_sum(r, v, 0);
	f->source = *s;
}

static struct found look(struct metrics_view *v)
{
	struct found f = { 0 };
	metrics_view_read(v, on_work, &f);
	return f;
}

static bool is_link(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

/* A program counts while another one reads; killed, its link stays until somebody looks. */
static void test_reading_a_running_process(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	int ready;
	pid_t child = start_worker(&ready, "");
	struct metrics_view *v = metrics_view_new(dir);
	assert_int_equal(metrics_view_refresh(v, &e), 0);
	assert_int_equal(metrics_view_regions(v), 1);
	struct found first = look(v), later = first;
	assert_string_equal(first.source.program, "worker");
	assert_string_equal(first.source.vm, "default/web");
	assert_int_equal(first.source.pid, child);
	for (int i = 0; i < 1000 && later.value == first.value; i++) {
		usleep(1000);
		later = look(v);
	}
	assert_true(first.value >= 1 && later.value > first.value);
	assert_int_equal(metrics_view_refresh(v, &e), 0);
	assert_int_equal(metrics_view_regions(v), 1);
	assert_true(is_link(file_of("worker@default_web", child)));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_true(look(v).value >= later.value);           // still readable
	assert_int_equal(metrics_view_refresh(v, &e), 0);
	assert_int_equal(metrics_view_regions(v), 0);
	assert_false(is_link(file_of("worker@default_web", child)));
	metrics_view_free(v);
	close(ready);
}

/* A thousand counters, a hundred times, by a process that may call the kernel for nothing but write and exit. */
static void test_no_system_call_per_counter(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	int ready;
	pid_t child = start_worker(&ready, "");
	struct metrics_view *v = metrics_view_new(dir);
	assert_int_equal(metrics_view_refresh(v, &e), 0);
	pid_t reader = fork();
	if (reader == 0) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
			_exit(3);
		bool good = true;
		for (int i = 0; i < 100; i++) {
			struct found f = look(v);
			good &= f.metrics == 1001 && f.value > 0;
		}
		syscall(SYS_exit, good ? 0 : 4);            // exit_group is not allowed
	}
	int status = 1;
	waitpid(reader, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(metrics_view_refresh(v, &e), 0);
	metrics_view_free(v);
	close(ready);
}

static void test_swapped_descriptor_is_not_mapped(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	int ready;
	pid_t child = start_worker(&ready, "swap");
	struct metrics_view *v = metrics_view_new(dir);
	assert_int_equal(metrics_view_refresh(v, &e), 0);
	assert_int_equal(metrics_view_regions(v), 0);
	metrics_view_free(v);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ready);
}

static void test_links_that_lead_nowhere(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char path[300];
	snprintf(path, sizeof(path), "%s", file_of("vmx@a_b", 7));
	assert_int_equal(symlink("/proc/2147483647/fd/3", path), 0);
	snprintf(path, sizeof(path), "%s", file_of("vmx@a_c", 7));
	assert_int_equal(symlink("/dev/null", path), 0);
	snprintf(path, sizeof(path), "%s", file_of("plain", 7));
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	struct metrics_view *v = metrics_view_new(dir);
	assert_int_equal(metrics_view_refresh(v, &e), 0);
	assert_int_equal(metrics_view_regions(v), 0);
	assert_int_equal(metrics_view_refused(v), 1);
	assert_non_null(strstr(metrics_view_refusal(v), "plain.7.prda"));
	assert_false(is_link(file_of("vmx@a_b", 7)));
	assert_false(is_link(file_of("vmx@a_c", 7)));
	assert_int_equal(symlink("/dev/null", file_of("vmx@a_b", 7)), 0);
	assert_int_equal(symlink("/dev/null", file_of("vmx@a_c", 8)), 0);
	metrics_forget(dir, 0, "a/b");
	assert_false(is_link(file_of("vmx@a_b", 7)));
	assert_true(is_link(file_of("vmx@a_c", 8)));
	metrics_forget(dir, 8, NULL);
	assert_false(is_link(file_of("vmx@a_c", 8)));
	unlink(path);
	metrics_view_free(v);
	metrics_forget("/nonexistent", 7, NULL);
}

/* What was counted before stays, in the same place. */
static void test_share_keeps_contents(void **state)
{
	(void)state;
	struct prda_region *r;
	prda_u64 a;
	prda_list list;
	prda_ring ring;
	struct err e = ERR_INIT;
	struct prda_node node;
	uint64_t v;
	assert_int_equal(prda_region_new(NULL, &r, &e), 0);
	assert_int_equal(prda_alloc(r, &a, "a", &e), 0);
	assert_int_equal(prda_alloc(r, &list, NULL, &e), 0);
	assert_int_equal(prda_ring_alloc(r, &ring, 8, NULL, &e), 0);
	uint64_t *plain = prda_at(a, 0);
	prda_add(a, 41);
	uint64_t before = prda_sum(a);
	prda_push(list, &node);
	prda_put(ring, 9);
	assert_int_equal(prda_region_fd(r), -1);
	assert_int_equal(prda_region_share(r, "a-name-that-is-longer-than-31-bytes", &e), -EINVAL);
	assert_int_equal(prda_region_share(r, "shared", &e), 0);
	assert_true(prda_region_fd(r) >= 0);
	assert_ptr_equal(prda_at(a, 0), plain);
	assert_int_equal(prda_sum(a), before);
	prda_add(a, 1);
	struct prda_reader *reader;
	struct prda_variable var;
	uint32_t cursor = 0;
	assert_int_equal(prda_reader_open_fd(prda_region_fd(r), &reader, &e), 0);
	assert_true(prda_reader_next(reader, &cursor, &var));
	assert_string_equal(var.name, "a");
	assert_int_equal(prda_reader_sum(reader, &var, 0), 42);
	prda_reader_close(reader);
	int held = 0;                                        // on whichever CPU that was
	prda_for_each_slot(slot, r) {
		held += prda_at(list, slot)->head == &node;
		held += prda_drain(ring, slot, &v) && v == 9;
	}
	assert_int_equal(held, 2);
	assert_int_equal(prda_region_share(r, "again", &e), 0);
	prda_region_close(r);
}

static void test_reader_refuses(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct prda_reader *r;
	assert_int_equal(prda_reader_open("/dev/null", &r, &e), -EINVAL);
	assert_int_equal(prda_reader_open("/proc/self/exe", &r, &e), -EINVAL);
	assert_int_equal(prda_reader_open("/nonexistent", &r, &e), -ENOENT);
	char path[100];
	snprintf(path, sizeof(path), "%s/region", dir);
	struct prda_region *region;
	assert_int_equal(prda_region_new(&(struct prda_options){ .name = "loose", .path = path }, &region, &e), 0);
	assert_int_equal(prda_reader_open(path, &r, &e), 0);
	prda_reader_close(r);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(prda_reader_open(path, &r, &e), -EPERM);
	assert_int_equal(chmod(path, 0600), 0);

	/* Entries that lie. */
	prda_u64 a;
	assert_int_equal(prda_alloc(region, &a, "liar", &e), 0);
	struct prda_entry *t = NULL;
	for (uint32_t i = 0; i < region->shared->entries; i++)
		if (region->alias + prda_entry(region, i)->offset == prda_number(a))
			t = prda_entry(region, i);
	assert_non_null(t);
	assert_int_equal(prda_reader_open(path, &r, &e), 0);
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
	region->shared->entries = 1;
	prda_region_close(region);
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

int main(int argc, char **argv)
{
	if (argc == 3)
		return worker(argv[1], argv[2]);
	self = argv[0];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text), cmocka_unit_test(test_bad_metrics_are_harmless), cmocka_unit_test(test_labels),
		cmocka_unit_test(test_names_of_links), cmocka_unit_test(test_reading_a_running_process),
		cmocka_unit_test(test_no_system_call_per_counter), cmocka_unit_test(test_swapped_descriptor_is_not_mapped),
		cmocka_unit_test(test_links_that_lead_nowhere), cmocka_unit_test(test_share_keeps_contents),
		cmocka_unit_test(test_reader_refuses), cmocka_unit_test(test_cpu_list),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
