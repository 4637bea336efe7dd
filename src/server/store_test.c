// SPDX-License-Identifier: Apache-2.0
#include "server/store.h"
#include "server/view.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "server/history.h"

struct place { char dir[64], path[96]; };

static int make_place(void **state)
{
	struct place *p = calloc(1, sizeof *p);

	strcpy(p->dir, "/tmp/bulkhead-store-XXXXXX");
	if (!mkdtemp(p->dir))
		return -1;
	snprintf(p->path, sizeof p->path, "%s/store.db", p->dir);
	*state = p;
	return 0;
}

static int remove_place(void **state)
{
	struct place *p = *state;

	dir_remove(p->dir, NULL);
	free(p);
	return 0;
}

static struct store *reopen(struct place *p)
{
	struct store *st = NULL;
	struct err e = ERR_INIT;

	if (store_open(&store_sqlite_ops, p->path, &st, &e))
		fail_msg("%s", e.text);
	return st;
}

static struct obj *make(const char *key, int value)
{
	json_t *j = json_pack("{s:s,s:s,s:{s:s},s:i}", "kind", "T", "apiVersion", "v1", "metadata", "name", "x", "value", value);
	struct obj *o = NULL;

	obj_encode(key, j, &o);
	json_decref(j);
	return o;
}

/* rv 0: create. Returns the result; *out_rv: the new resourceVersion. */
static int put(struct store *st, const char *key, int value, uint64_t rv, uint64_t *out_rv)
{
	struct store_write w = { .obj = make(key, value), .expect = rv };
	int r = store_commit(st, &w);

	if (!r && out_rv)
		*out_rv = w.out->rv;
	obj_unref(w.out);
	return r;
}

static int del(struct store *st, const char *key, uint64_t rv)
{
	struct store_write w = { .obj = make(key, 0), .expect = rv, .remove = true };
	int r = store_commit(st, &w);

	obj_unref(w.out);
	return r;
}

static long long value_of(struct store *st, const char *key)
{
	struct obj *o = store_get(st, key);
	json_t *j = o ? obj_json(o) : NULL;
	long long v = j ? json_integer_value(json_object_get(j, "value")) : -1;

	json_decref(j);
	obj_unref(o);
	return v;
}

static void test_writes(void **state)
{
	struct store *st = reopen(*state);
	uint64_t rv = 0, rv2 = 0;

	assert_int_equal(put(st, "t/a/x", 1, 0, &rv), 0);
	assert_int_equal(put(st, "t/a/x", 2, 0, NULL), -EEXIST);
	assert_int_equal(put(st, "t/a/x", 2, rv, &rv2), 0);
	assert_true(rv2 > rv);
	assert_int_equal(put(st, "t/a/x", 3, rv, NULL), -ESTALE);
	assert_int_equal(put(st, "t/a/y", 3, rv, NULL), -ENOENT);
	assert_int_equal(value_of(st, "t/a/x"), 2);
	assert_int_equal(del(st, "t/a/x", rv), -ESTALE);
	assert_int_equal(del(st, "t/a/x", rv2), 0);
	assert_int_equal(del(st, "t/a/x", rv2), -ENOENT);
	assert_int_equal(value_of(st, "t/a/x"), -1);
	assert_int_equal(store_rv(st), rv2 + 1);
	store_close(st);
}

static void test_reopen(void **state)
{
	struct store *st = reopen(*state);
	uint64_t rv = 0, last;
	char key[32];

	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof key, "t/a/%d", i);
		assert_int_equal(put(st, key, i, 0, &rv), 0);
		if (i % 3 == 0)
			assert_int_equal(put(st, key, i + 1000, rv, &rv), 0);
		if (i % 5 == 0)
			assert_int_equal(del(st, key, rv), 0);
	}
	last = store_rv(st);
	store_close(st);
	st = reopen(*state);
	assert_int_equal(store_rv(st), last);
	assert_int_equal(store_count(st), 240);
	for (int i = 0; i < 300; i++) {
		snprintf(key, sizeof key, "t/a/%d", i);
		assert_int_equal(value_of(st, key), i % 5 == 0 ? -1 : i % 3 == 0 ? i + 1000 : i);
	}
	store_close(st);
}

static void expect_keys(struct store *st, uint64_t rv, const char *after, size_t limit, const char *want, size_t remaining)
{
	struct store_list l;
	char got[256] = "";

	assert_int_equal(store_list(st, "t/", after, limit, rv, &l), 0);
	for (size_t i = 0; i < l.count; i++)
		sprintf(got + strlen(got), "%s ", obj_key(l.objs[i]) + 2);
	assert_string_equal(got, want);
	assert_int_equal(l.remaining, remaining);
	store_list_fini(&l);
}

static void test_lists(void **state)
{
	struct store *st = reopen(*state);
	struct store_list l;
	uint64_t rv_b, rv, then;

	put(st, "t/a/1", 1, 0, NULL);
	put(st, "t/b/1", 1, 0, &rv_b);
	put(st, "tt/a/1", 1, 0, NULL);
	put(st, "s/a/1", 1, 0, NULL);
	put(st, "t/c/1", 1, 0, &rv);
	expect_keys(st, 0, NULL, 0, "a/1 b/1 c/1 ", 0);
	expect_keys(st, 0, NULL, 2, "a/1 b/1 ", 1);
	expect_keys(st, 0, "t/b/1", 2, "c/1 ", 0);
	expect_keys(st, 0, "t/b/0", 1, "b/1 ", 1);

	then = store_rv(st);   // a past state: without what came, with what went, unchanged what changed
	put(st, "t/b/0", 1, 0, NULL);
	assert_int_equal(del(st, "t/b/1", rv_b), 0);
	put(st, "t/c/1", 2, rv, NULL);
	expect_keys(st, 0, NULL, 0, "a/1 b/0 c/1 ", 0);
	expect_keys(st, then, NULL, 0, "a/1 b/1 c/1 ", 0);
	expect_keys(st, then, "t/a/1", 1, "b/1 ", 1);
	expect_keys(st, then + 1, NULL, 0, "a/1 b/0 b/1 c/1 ", 0);
	assert_int_equal(store_list(st, "t/c/", NULL, 0, then, &l), 0);
	assert_int_equal(l.objs[0]->rv, rv);
	assert_int_equal(l.rv, then);
	store_list_fini(&l);
	assert_int_equal(store_list(st, "t/", NULL, 0, store_rv(st) + 1, &l), -ERANGE);
	store_close(st);
	st = reopen(*state);
	assert_int_equal(store_list(st, "t/", NULL, 0, then, &l), -EKEYEXPIRED);
	store_close(st);
}

static void test_history_is_bounded(void **state)
{
	struct store *st = reopen(*state);
	uint64_t rv = 0, seen;
	struct event e[4];

	put(st, "t/a/x", 0, 0, &rv);
	for (int i = 1; i < 20; i++)
		put(st, "t/a/x", i, rv, &rv);
	assert_int_equal(store_history(st, "t/", NULL, rv - 3, true, e, 4, &seen), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(e[i].type, EVENT_MODIFIED);
		assert_int_equal(e[i].rv, rv - 2 + i);
		assert_int_equal(e[i].prev->rv, rv - 3 + i);
		obj_unref(e[i].obj);
		obj_unref(e[i].prev);
	}
	assert_int_equal(store_history(st, "u/", NULL, rv - 3, true, e, 4, &seen), 0);
	assert_int_equal(seen, rv);
	store_close(st);
}

static void test_history_count(void **state)
{
	struct history *h = history_new(0);
	struct obj *o = make("t/a/x", 1);

	(void)state;
	for (uint64_t i = 1; i <= HISTORY_EVENTS_MAX + 10; i++)
		history_append(h, &(struct event){ .rv = i, .type = EVENT_ADDED, .obj = obj_ref(o) }, 0);
	assert_int_equal(history_count(h), HISTORY_EVENTS_MAX);
	assert_int_equal(history_start(h), 10);
	assert_int_equal(history_at(h, history_find(h, 12))->rv, 13);
	assert_null(history_at(h, history_find(h, HISTORY_EVENTS_MAX + 10)));
	history_free(h);
	obj_unref(o);
}

/* Many writers at once: all are acknowledged, none twice, in an order without gaps. */
static void count_done(struct store_write *w)
{
	_Atomic int *done = w->user;

	if (!w->result)
		obj_unref(w->out);
	free(w);
	atomic_fetch_add(done, 1);
}

static void test_many_at_once(void **state)
{
	struct store *st = reopen(*state);
	_Atomic int done = 0;
	char key[32];

	for (int i = 0; i < 1000; i++) {
		struct store_write *w = calloc(1, sizeof *w);
		snprintf(key, sizeof key, "t/a/%d", i % 900);   // 100 of them collide
		*w = (struct store_write){ .obj = make(key, i), .done = count_done, .user = &done };
		store_submit(st, w);
	}
	while (done < 1000)
		usleep(100);
	assert_int_equal(store_count(st), 900);
	assert_int_equal(store_rv(st), 900);
	store_close(st);
}

/* A child writes and says on a pipe what has been acknowledged, and is killed in the middle. */
static void child_writes(struct place *p, int fd)
{
	struct store *st = reopen(p);
	char key[32];

	for (int i = 0;; i++) {
		snprintf(key, sizeof key, "t/a/%d", i);
		if (put(st, key, i, 0, NULL) || write(fd, &i, sizeof i) != sizeof i)
			_exit(1);
	}
}

static void test_killed(void **state)
{
	int pipes[2], last = -1, i;
	char key[32];
	struct store *st;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (!child) {
		close(pipes[0]);
		child_writes(*state, pipes[1]);
	}
	close(pipes[1]);
	for (i = 0; i < 40 && read(pipes[0], &last, sizeof last) == sizeof last; i++)
		;
	assert_int_equal(i, 40);
	kill(child, SIGKILL);
	while (read(pipes[0], &last, sizeof last) == sizeof last)
		;
	close(pipes[0]);
	waitpid(child, NULL, 0);
	st = reopen(*state);
	assert_true(store_count(st) >= (size_t)last + 1);
	assert_int_equal(store_rv(st), store_count(st));
	for (i = 0; i <= last; i++) {
		snprintf(key, sizeof key, "t/a/%d", i);
		assert_int_equal(value_of(st, key), i);
	}
	store_close(st);
}

static void test_damaged_file(void **state)
{
	struct place *p = *state;
	struct store *st = reopen(p);
	struct err e = ERR_INIT;
	FILE *f;

	put(st, "t/a/x", 1, 0, NULL);
	store_close(st);
	f = fopen(p->path, "r+");
	fwrite("not a database at all", 1, 21, f);
	fclose(f);
	assert_true(store_open(&store_sqlite_ops, p->path, &st, &e) < 0);
	assert_non_null(strstr(e.text, "store:"));
}

static void test_second_server(void **state)
{
	struct place *p = *state;
	struct store *st = reopen(p), *second = NULL;
	struct err e = ERR_INIT;

	assert_true(store_open(&store_sqlite_ops, p->path, &second, &e) < 0);
	store_close(st);
}

/* Threads that wait for each write, and others that submit, from the first moment: each write once, whoever commits it. */
struct writers { struct store *st; _Atomic int number, failed; };

static void *write_and_wait(void *arg)
{
	struct writers *w = arg;
	int number = atomic_fetch_add(&w->number, 1);

	for (int i = 0; i < 200; i++) {
		char key[64];
		uint64_t rv = 0;
		snprintf(key, sizeof key, "t/a/%d-%d", number, i % 50);
		if (i < 50 ? put(w->st, key, i, 0, NULL) : put(w->st, key, i, store_rv(w->st) + 1000, &rv) != -ESTALE)
			atomic_fetch_add(&w->failed, 1);
	}
	return NULL;
}

static void *write_on(void *arg)
{
	struct writers *w = arg;
	int number = atomic_fetch_add(&w->number, 1);
	_Atomic int done = 0;

	for (int i = 0; i < 200; i++) {
		struct store_write *sw = calloc(1, sizeof *sw);
		char key[64];
		snprintf(key, sizeof key, "t/b/%d-%d", number, i);
		*sw = (struct store_write){ .obj = make(key, i), .done = count_done, .user = (void *)&done };
		store_submit(w->st, sw);
		if (i % 10 == 0)
			usleep(200);
	}
	while (done < 200)
		usleep(1000);
	return NULL;
}

static void test_alone_and_queued(void **state)
{
	struct writers w = { .st = reopen(*state) };
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, i % 2 ? write_on : write_and_wait, &w), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(w.failed, 0);
	assert_int_equal(store_count(w.st), 2 * 50 + 2 * 200);
	assert_int_equal(store_rv(w.st), 2 * 50 + 2 * 200);
	store_close(w.st);
	w.st = reopen(*state);
	assert_int_equal(store_count(w.st), 2 * 50 + 2 * 200);
	assert_int_equal(store_rv(w.st), 2 * 50 + 2 * 200);
	store_close(w.st);
}

/* The latest resourceVersion is known again though what had it is gone. */
static void test_latest_is_deleted(void **state)
{
	struct store *st = reopen(*state);
	uint64_t rv = 0;

	put(st, "t/a/x", 1, 0, NULL);
	put(st, "t/a/y", 1, 0, &rv);
	assert_int_equal(del(st, "t/a/y", rv), 0);
	rv = store_rv(st);
	store_close(st);
	st = reopen(*state);
	assert_int_equal(store_rv(st), rv);
	put(st, "t/a/z", 1, 0, NULL);
	assert_int_equal(store_rv(st), rv + 1);
	store_close(st);
	st = reopen(*state);
	assert_int_equal(store_rv(st), rv + 1);
	store_close(st);
}

/* Who is told of an object gets the tree that its writer made, as it would be parsed. */
static void test_tree_is_handed_over(void **state)
{
	struct store *st = reopen(*state);
	json_t *tree = json_pack("{s:{s:s},s:s,s:i}", "metadata", "name", "x", "kind", "T", "value", 7), *seen, *parsed, *refused;
	struct store_write w = { .tree = tree }, again = { .tree = json_deep_copy(tree) };
	struct obj *o;

	obj_encode("t/a/x", tree, &w.obj);
	obj_encode("t/a/x", again.tree, &again.obj);
	assert_int_equal(store_commit(st, &w), 0);
	seen = obj_view(w.out);
	parsed = obj_json(w.out);
	assert_ptr_equal(seen, tree);
	assert_true(json_equal(seen, parsed));
	json_decref(seen);
	json_decref(parsed);
	o = obj_ref(again.obj);
	refused = json_incref(again.tree);
	assert_int_equal(store_commit(st, &again), -EEXIST);
	seen = obj_view(o);
	assert_ptr_not_equal(seen, refused);      // a refused one's is not kept
	json_decref(seen);
	json_decref(refused);
	obj_unref(o);
	obj_unref(w.out);
	store_close(st);
}

#define WITH_PLACE(t) cmocka_unit_test_setup_teardown(t, make_place, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PLACE(test_writes), WITH_PLACE(test_reopen), WITH_PLACE(test_lists), WITH_PLACE(test_history_is_bounded),
		cmocka_unit_test(test_history_count), WITH_PLACE(test_many_at_once), WITH_PLACE(test_alone_and_queued),
		WITH_PLACE(test_latest_is_deleted), WITH_PLACE(test_tree_is_handed_over), WITH_PLACE(test_killed),
		WITH_PLACE(test_damaged_file), WITH_PLACE(test_second_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
