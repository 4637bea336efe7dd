// SPDX-License-Identifier: Apache-2.0
#include "cri_log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/own.h"

static char dir[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/bh-cri-log-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return dir_remove(dir, NULL);
}

static struct cri_log *open_log(void)
{
	struct cri_log *l;
	struct err e = ERR_INIT;
	assert_int_equal(cri_log_open(dir, 0, &l, &e), 0);
	return l;
}

static void add(struct cri_log *l, uint64_t seq, const char *text)
{
	assert_int_equal(cri_log_add(l, seq, seq * 1000000000ull, CRI_STDOUT, text, strlen(text)), 0);
}

static void commit(struct cri_log *l)
{
	struct err e = ERR_INIT;
	assert_int_equal(cri_log_commit(l, &e), 0);
}

/* Everything a query gives. */
static char *read_log(const struct cri_log_query *q)
{
	struct cri_log_reader *r;
	struct buf out = BUF_INIT;
	char block[1000];
	long n;
	struct err e = ERR_INIT;
	assert_int_equal(cri_log_reader_open(dir, 0, q, &r, &e), 0);
	while ((n = cri_log_reader_read(r, block, sizeof(block))) > 0)
		buf_append(&out, block, (size_t)n);
	assert_true(n == 0 || n == -ENODATA);
	cri_log_reader_close(r);
	return buf_take(&out);
}

static void expect(const struct cri_log_query *q, const char *text)
{
	static const struct cri_log_query all = CRI_LOG_QUERY_INIT;
	own_free char *got = read_log(q ? q : &all);
	assert_string_equal(got, text);
}

static void expect_file(const char *name, const char *text)
{
	char path[128];
	struct buf b = BUF_INIT;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(file_read(path, 1 << 20, &b, NULL), 0);
	assert_string_equal(b.data, text);
	buf_fini(&b);
}

static void test_parse_line(void **state)
{
	(void)state;
	static const char *const good = "1970-01-01T00:00:01.5Z stderr P:x the text";
	static const char *const bad[] = {"", "x", "1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z stdout", "1970-01-01T00:00:01Z stdout F",
		"1970-01-01T00:00:01Z stdin F x", "1970-01-01T00:00:01Z stdout FX x", "1970-01-01T00:00:01Z stdout  x", "yesterday stdout F x"};
	struct cri_line l;
	assert_int_equal(cri_line_parse(good, strlen(good), &l), 0);
	assert_int_equal(l.real_ns, 1500000000);
	assert_int_equal(l.stream, CRI_STDERR);
	assert_true(l.partial);
	assert_int_equal(l.text_len, 8);
	assert_memory_equal(l.text, "the text", 8);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cri_line_parse(bad[i], strlen(bad[i]), &l), -EINVAL);
}

static void test_lines_are_cut_where_they_end(void **state)
{
	(void)state;
	struct cri_log *l = open_log();
	add(l, 1, "one\ntwo\nthr");
	commit(l);
	expect_file("0.log", "1970-01-01T00:00:01.000000000Z stdout F one\n1970-01-01T00:00:01.000000000Z stdout F two\n");
	assert_int_equal(cri_log_add(l, 2, 2000000000, CRI_STDERR, "err\n", 4), 0);
	add(l, 3, "ee\n\n");
	commit(l);
	expect(NULL, "one\ntwo\nerr\nthree\n\n");
	add(l, 4, "no newline");
	assert_int_equal(cri_log_is_ended(dir, 0), 0);
	cri_log_end(l, 5, 5000000000);
	assert_false(cri_log_ended(l));
	commit(l);
	assert_true(cri_log_ended(l));
	assert_int_equal(cri_log_is_ended(dir, 0), 1);
	assert_int_equal(cri_log_is_ended(dir, 1), -ENOENT);
	expect(NULL, "one\ntwo\nerr\nthree\n\nno newline");
	assert_int_equal(cri_log_add(l, 6, 0, 3, "x", 1), -EINVAL);
	cri_log_close(l);
}

static void test_long_lines_become_partial_ones(void **state)
{
	(void)state;
	struct cri_log *l = open_log();
	own_free char *text = malloc(40002), *head = malloc(100);
	memset(text, 'a', 40000);
	strcpy(text + 40000, "\n");
	add(l, 1, text);
	commit(l);
	expect(NULL, text);
	struct cri_log_query q = CRI_LOG_QUERY_INIT;
	q.timestamps = true;
	q.limit_bytes = 40;
	expect(&q, "1970-01-01T00:00:01.000000000Z aaaaaaaaa");
	q.limit_bytes = -1;
	own_free char *all = read_log(&q);
	assert_int_equal(strlen(all), 31 + 40001);   // one time for the whole line
	struct stat st;
	snprintf(head, 100, "%s/0.log", dir);
	assert_int_equal(stat(head, &st), 0);
	assert_int_equal(st.st_size, 40000 + 3 * (30 + 11));
	/* The same in single bytes. */
	for (size_t i = 0; i < 16385; i++)
		cri_log_add(l, 2 + i, 0, CRI_STDOUT, "b", 1);
	add(l, 20000, "\n");
	commit(l);
	q = (struct cri_log_query)CRI_LOG_QUERY_INIT;
	q.tail_lines = 1;
	own_free char *tail = read_log(&q);
	assert_int_equal(strlen(tail), 16386);
	cri_log_close(l);
}

/* As if killed: closed without commit, with more in the file than was committed. */
static void test_killed_writer_takes_up_again(void **state)
{
	(void)state;
	struct cri_log *l = open_log();
	add(l, 1, "one\ntw");
	commit(l);
	add(l, 2, "o\nthree\n");
	cri_log_close(l);
	char path[128];
	snprintf(path, sizeof(path), "%s/0.log", dir);
	int fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "1970-01-01T00:00:02.000000000Z stdout F two\n1970", 48), 48);
	close(fd);
	l = open_log();
	assert_int_equal(cri_log_seq(l), 1);
	add(l, 1, "not again\n");
	add(l, 2, "o\nthree\n");
	commit(l);
	expect(NULL, "one\ntwo\nthree\n");
	cri_log_close(l);
}

static void test_damaged_state_slot_falls_back(void **state)
{
	(void)state;
	struct cri_log *l = open_log();
	for (int i = 1; i <= 5; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%d\n", i);
		add(l, (uint64_t)i, text);
		commit(l);
	}
	cri_log_close(l);
	char path[128];
	snprintf(path, sizeof(path), "%s/.0.state", dir);
	int fd = open(path, O_WRONLY);   // 5 commits: the newest is in slot 1
	assert_int_equal(pwrite(fd, "xxxxxxxx", 8, 65536 + 16), 8);
	close(fd);
	l = open_log();
	assert_int_equal(cri_log_seq(l), 4);
	expect(NULL, "1\n2\n3\n4\n");
	cri_log_close(l);
}

static void test_tail_since_and_streams(void **state)
{
	(void)state;
	struct cri_log *l = open_log();
	for (int i = 1; i <= 2000; i++) {
		char text[64];
		snprintf(text, sizeof(text), "line %d of some length to fill blocks\n", i);
		cri_log_add(l, (uint64_t)i, (uint64_t)i * 1000000000, i % 2 ? CRI_STDOUT : CRI_STDERR, text, strlen(text));
	}
	commit(l);
	struct cri_log_query q = CRI_LOG_QUERY_INIT;
	q.tail_lines = 0;
	expect(&q, "");
	q.tail_lines = 1;
	expect(&q, "line 2000 of some length to fill blocks\n");
	q.tail_lines = 1500;
	own_free char *got = read_log(&q);
	assert_memory_equal(got, "line 501 of", 11);
	q.tail_lines = 5000;
	own_free char *all = read_log(&q);
	assert_memory_equal(all, "line 1 of", 9);
	q = (struct cri_log_query)CRI_LOG_QUERY_INIT;
	q.since_ns = 1999ull * 1000000000;
	expect(&q, "line 1999 of some length to fill blocks\nline 2000 of some length to fill blocks\n");
	q.only = CRI_STDERR;
	expect(&q, "line 2000 of some length to fill blocks\n");
	cri_log_close(l);
}

/* More than two files' worth while a reader follows: it gets every line once. */
static void test_reader_follows_across_rotation(void **state)
{
	(void)state;
	struct cri_log *l = open_log();
	struct cri_log_reader *r;
	static const struct cri_log_query all = CRI_LOG_QUERY_INIT;
	own_free char *text = malloc(10002), *block = malloc(1 << 16);
	size_t wrote = 0, got = 0;
	long n;
	memset(text, 'x', 10000);
	strcpy(text + 10000, "\n");
	commit(l);
	struct err e = ERR_INIT;
	assert_int_equal(cri_log_reader_open(dir, 0, &all, &r, &e), 0);
	for (uint64_t seq = 1; seq <= 2500; seq++) {
		add(l, seq, text);
		commit(l);
		wrote += 10001;
		if (seq % 7 == 0)
			while ((n = cri_log_reader_read(r, block, 1 << 16)) > 0)
				got += (size_t)n;
	}
	while ((n = cri_log_reader_read(r, block, 1 << 16)) > 0)
		got += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(got, wrote);
	cri_log_reader_close(r);
	/* A new reader begins in the oldest file. */
	struct cri_log_query q = CRI_LOG_QUERY_INIT;
	own_free char *again = read_log(&q);
	assert_int_equal(strlen(again), wrote);
	q.tail_lines = 2400;   // begins in the oldest of three files
	own_free char *tail = read_log(&q);
	assert_int_equal(strlen(tail), 2400 * 10001);
	cri_log_close(l);
	l = open_log();
	assert_int_equal(cri_log_seq(l), 2500);
	cri_log_close(l);
}

static void test_old_files_go(void **state)
{
	(void)state;
	struct cri_log *l = open_log();
	enum { LINES = 260000 };
	own_free char *text = malloc(LINES + 1);
	memset(text, '\n', LINES);
	text[LINES] = '\0';
	for (uint64_t seq = 1; seq <= 6; seq++) {   // each makes more than 10 MiB of empty lines
		add(l, seq, text);
		commit(l);
	}
	char command[200];
	snprintf(command, sizeof(command), "test $(ls %s | wc -l) = 5", dir);
	assert_int_equal(system(command), 0);
	cri_log_close(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_line),
		cmocka_unit_test_setup_teardown(test_lines_are_cut_where_they_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_lines_become_partial_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_writer_takes_up_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_state_slot_falls_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tail_since_and_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reader_follows_across_rotation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_files_go, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
