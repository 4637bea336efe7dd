// SPDX-License-Identifier: Apache-2.0
#include "server/watch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/history.h"

/* A backend that keeps nothing: the store's front does the work here. */
struct memory { uint64_t rv; };

static int memory_open(const char *where, void **handle, struct err *e)
{
	(void)where;
	(void)e;
	*handle = calloc(1, sizeof(struct memory));
	return 0;
}

static int memory_load(void *handle, int (*each)(void *user, struct obj *o), void *user, uint64_t *rv, struct err *e)
{
	(void)handle;
	(void)each;
	(void)user;
	(void)e;
	*rv = 0;
	return 0;
}

static int memory_commit(void *handle, struct store_write *const *w, size_t n, struct err *e)
{
	struct memory *m = handle;

	(void)e;
	for (size_t i = 0; i < n; i++) {
		obj_set_rv(w[i]->obj, ++m->rv);
		if (!w[i]->expect)
			w[i]->obj->created_rv = m->rv;
		w[i]->result = 0;
	}
	return 0;
}

static const struct store_ops memory_ops = {
	.name = "memory", .open = memory_open, .load = memory_load, .commit = memory_commit, .close = free,
};

static int setup(void **state)
{
	return store_open(&memory_ops, "", (struct store **)state, NULL);
}

static int teardown(void **state)
{
	store_close(*state);
	return 0;
}

/* label: value of metadata.labels.l. Creates, or updates whatever is there. */
static uint64_t put(struct store *st, const char *key, const char *label)
{
	json_t *j = json_pack("{s:s,s:s,s:{s:s,s:{s:s}},s:{s:s}}", "kind", "T", "apiVersion", "v1", "metadata", "name", "x", "labels", "l",
			      label, "spec", "nodeName", label);
	struct obj *now = store_get(st, key);
	struct store_write w = { .expect = now ? now->rv : 0 };
	uint64_t rv;

	obj_encode(key, j, &w.obj);
	json_decref(j);
	obj_unref(now);
	assert_int_equal(store_commit(st, &w), 0);
	rv = w.out->rv;
	obj_unref(w.out);
	return rv;
}

static void del(struct store *st, const char *key)
{
	struct obj *now = store_get(st, key);
	struct store_write w = { .obj = obj_copy_rv(now, now->rv), .expect = now->rv, .remove = true };

	assert_int_equal(store_commit(st, &w), 0);
	obj_unref(w.out);
	obj_unref(now);
}

static void count_wake(void *user)
{
	atomic_fetch_add((_Atomic int *)user, 1);
}

static _Atomic int wakes;

static struct watch *open_watch(struct store *st, struct watch_opts o)
{
	struct watch *w = NULL;

	o.hangup_fd = o.hangup_fd ? o.hangup_fd : -1;
	o.wake = count_wake;
	o.user = &wakes;
	assert_int_equal(watch_open(st, &o, &w), 0);
	return w;
}

/* Wait until something can be delivered, at most two seconds. */
static enum watch_result next(struct watch *w, struct watch_event *e)
{
	uint64_t end = clock_mono_ns() + 2 * NS_PER_S;
	enum watch_result r;

	while ((r = watch_next(w, e)) == WATCH_IDLE && clock_mono_ns() < end) {
		int before = wakes;
		if (watch_arm(w, NULL))
			while (wakes == before && clock_mono_ns() < end)
				usleep(100);
	}
	return r;
}

static void expect(struct watch *w, int type, const char *key, uint64_t rv)
{
	struct watch_event e = { 0 };

	assert_int_equal(next(w, &e), WATCH_EVENT);
	assert_int_equal(e.type, type);
	assert_string_equal(obj_key(e.obj), key);
	if (rv)
		assert_int_equal(e.obj->rv, rv);
	obj_unref(e.obj);
}

static void expect_nothing(struct watch *w)
{
	struct watch_event e;

	assert_int_equal(watch_next(w, &e), WATCH_IDLE);
}

static void test_order(void **state)
{
	struct store *st = *state;
	struct watch *w = open_watch(st, (struct watch_opts){ .prefix = "t/" });

	put(st, "t/a/1", "x");
	put(st, "u/a/1", "x");
	put(st, "t/a/1", "y");
	put(st, "t/a/2", "x");
	del(st, "t/a/1");
	expect(w, EVENT_ADDED, "t/a/1", 1);
	expect(w, EVENT_MODIFIED, "t/a/1", 3);
	expect(w, EVENT_ADDED, "t/a/2", 4);
	expect(w, EVENT_DELETED, "t/a/1", 5);
	expect_nothing(w);
	watch_close(w);
}

static void test_from_the_past(void **state)
{
	struct store *st = *state;
	struct watch *w;
	uint64_t rv;

	put(st, "t/a/1", "x");
	rv = put(st, "t/a/2", "x");
	put(st, "t/a/3", "x");
	w = open_watch(st, (struct watch_opts){ .prefix = "t/", .rv = rv });
	expect(w, EVENT_ADDED, "t/a/3", 0);
	expect_nothing(w);
	watch_close(w);
}

static void test_initial(void **state)
{
	struct store *st = *state;
	struct watch_event e;
	struct watch *w;

	put(st, "t/a/1", "x");
	put(st, "t/a/12", "x");
	w = open_watch(st, (struct watch_opts){ .prefix = "t/", .initial = true, .initial_end = true });
	put(st, "t/a/3", "x");
	expect(w, EVENT_ADDED, "t/a/1", 0);
	expect(w, EVENT_ADDED, "t/a/12", 0);
	assert_int_equal(watch_next(w, &e), WATCH_SYNCED);
	assert_int_equal(e.rv, 2);
	expect(w, EVENT_ADDED, "t/a/3", 0);
	watch_close(w);
	w = open_watch(st, (struct watch_opts){ .prefix = "t/a/1", .exact = true, .initial = true });
	put(st, "t/a/13", "x");
	put(st, "t/a/1", "y");
	expect(w, EVENT_ADDED, "t/a/1", 0);
	expect(w, EVENT_MODIFIED, "t/a/1", 0);
	expect_nothing(w);
	watch_close(w);
}

/* An object that ceases to match is deleted for this watch, as it last was, under the change's resourceVersion. */
static void test_selectors(void **state)
{
	struct store *st = *state;
	struct k8s_selector *labels = NULL, *fields = NULL;
	struct watch_event e;
	struct watch *w, *f;
	uint64_t rv;

	assert_int_equal(k8s_label_selector_parse("l=x", &labels, NULL), 0);
	assert_int_equal(k8s_field_selector_parse("spec.nodeName=x", &fields, NULL), 0);
	w = open_watch(st, (struct watch_opts){ .prefix = "t/", .labels = labels });
	f = open_watch(st, (struct watch_opts){ .prefix = "t/", .fields = fields });
	put(st, "t/a/1", "y");
	put(st, "t/a/1", "x");
	rv = put(st, "t/a/1", "y");
	put(st, "t/a/1", "z");
	put(st, "t/a/2", "x");
	del(st, "t/a/2");
	for (int i = 0; i < 2; i++) {
		struct watch *v = i ? f : w;
		expect(v, EVENT_ADDED, "t/a/1", 0);
		assert_int_equal(next(v, &e), WATCH_EVENT);
		assert_int_equal(e.type, EVENT_DELETED);
		assert_int_equal(e.obj->rv, rv);
		assert_non_null(strstr(obj_text(e.obj), "\"l\":\"x\""));
		obj_unref(e.obj);
		expect(v, EVENT_ADDED, "t/a/2", 0);
		expect(v, EVENT_DELETED, "t/a/2", 0);
		expect_nothing(v);
	}
	watch_close(w);
	watch_close(f);
}

static void test_wakes_only_for_its_own(void **state)
{
	struct store *st = *state;
	struct k8s_selector *fields = NULL;
	struct watch_event e;
	struct watch *w;
	int before;

	assert_int_equal(k8s_field_selector_parse("spec.nodeName=x", &fields, NULL), 0);
	w = open_watch(st, (struct watch_opts){ .prefix = "t/", .fields = fields });
	assert_int_equal(watch_next(w, &e), WATCH_IDLE);
	assert_true(watch_arm(w, NULL));
	before = wakes;
	for (int i = 0; i < 50; i++)
		put(st, "t/a/1", i % 2 ? "y" : "z");
	assert_int_equal(wakes, before);
	put(st, "t/a/2", "x");
	for (int i = 0; i < 20000 && wakes == before; i++)   // writers are told before watches are
		usleep(100);
	assert_int_equal(wakes, before + 1);
	expect(w, EVENT_ADDED, "t/a/2", 0);
	watch_close(w);
}

/* A watch that is armed and counts its own wake-ups. */
static struct watch *open_armed(struct store *st, const char *prefix, const char *selector, _Atomic int *own)
{
	struct watch_opts o = { .prefix = prefix, .hangup_fd = -1, .wake = count_wake, .user = own, .rv = store_rv(st) };
	struct watch_event e;
	struct watch *w;

	assert_int_equal(selector ? k8s_label_selector_parse(selector, &o.labels, NULL) : 0, 0);
	assert_int_equal(watch_open(st, &o, &w), 0);
	for (int i = 0; watch_next(w, &e) == WATCH_IDLE && !watch_arm(w, NULL); i++)
		assert_true(i < 1000000);
	return w;
}

static void await_wakes(_Atomic int *own, int count)
{
	for (int i = 0; i < 20000 && *own < count; i++)
		usleep(100);
	assert_int_equal(*own, count);
}

/* Watches that look at the same, at another namespace, at other labels: who of them is woken, and when one of them goes. */
static void test_shared_filters(void **state)
{
	enum { SAME_1, SAME_2, OTHER_LABEL, OTHER_SPACE, ALL, WATCHES };
	static const char *const looks[WATCHES][2] = { { "t/a/", "l=x" }, { "t/a/", "l=x" }, { "t/a/", "l=y" }, { "t/b/", NULL }, { "t/", NULL } };
	static const int first[WATCHES] = { 1, 1, 0, 0, 1 }, second[WATCHES] = { 1, 2, 0, 0, 2 }, third[WATCHES] = { 1, 2, 0, 1, 3 };
	struct store *st = *state;
	_Atomic int own[WATCHES] = { 0 };
	struct watch *w[WATCHES];

	for (int i = 0; i < WATCHES; i++)
		w[i] = open_armed(st, looks[i][0], looks[i][1], &own[i]);
	put(st, "t/a/1", "x");
	for (int i = 0; i < WATCHES; i++)
		await_wakes(&own[i], first[i]);
	expect(w[SAME_1], EVENT_ADDED, "t/a/1", 0);
	watch_close(w[SAME_1]);
	for (int i = SAME_2; i <= ALL; i += ALL - SAME_2) {
		expect(w[i], EVENT_ADDED, "t/a/1", 0);
		expect_nothing(w[i]);
		assert_true(watch_arm(w[i], NULL));
	}
	put(st, "t/a/1", "z");   // the one with labels loses it
	for (int i = 0; i < WATCHES; i++)
		await_wakes(&own[i], second[i]);
	expect(w[SAME_2], EVENT_DELETED, "t/a/1", 0);
	expect(w[ALL], EVENT_MODIFIED, "t/a/1", 0);
	expect_nothing(w[ALL]);
	assert_true(watch_arm(w[ALL], NULL));
	put(st, "t/b/1", "x");
	for (int i = 0; i < WATCHES; i++)
		await_wakes(&own[i], third[i]);
	expect(w[OTHER_SPACE], EVENT_ADDED, "t/b/1", 0);
	for (int i = SAME_2; i < WATCHES; i++)
		watch_close(w[i]);
	assert_int_equal(watch_set_count(store_watches(st)), 0);
}

static struct watch *open_node(struct store *st, const char *prefix, const char *selector, bool initial)
{
	struct k8s_selector *fields = NULL;

	assert_int_equal(k8s_field_selector_parse(selector, &fields, NULL), 0);
	return open_watch(st, (struct watch_opts){ .prefix = prefix, .fields = fields, .initial = initial, .rv = store_rv(st) });
}

static void expect_on(struct store *st, const char *node, const char *first, const char *second)
{
	const char *want[] = { first, second };
	struct store_list l;
	size_t n = !!first + !!second;

	assert_int_equal(store_list_node(st, node, &l), 0);
	assert_int_equal(l.count, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(obj_key(l.objs[i]), want[i]);
	store_list_fini(&l);
}

static void wait_for_wake(int before)
{
	for (int i = 0; i < 20000 && wakes == before; i++)
		usleep(100);
	assert_true(wakes > before);
}

static void test_pods_of_a_node(void **state)
{
	struct store *st = *state;
	struct watch *one, *two, *in_b;
	int before;

	put(st, "pods/b/1", "n1");
	put(st, "pods/a/2", "n2");
	put(st, "pods/a/1", "n1");
	put(st, "pods/a/4", "not a \\ name");
	expect_on(st, "n1", "pods/a/1", "pods/b/1");
	expect_on(st, "n2", "pods/a/2", NULL);
	expect_on(st, "n", NULL, NULL);
	one = open_node(st, "pods/", "spec.nodeName=n1", true);
	in_b = open_node(st, "pods/b/", "spec.nodeName=n1", true);
	two = open_node(st, "pods/", "spec.nodeName=n2,metadata.name=x", false);
	expect(one, EVENT_ADDED, "pods/a/1", 0);
	expect(one, EVENT_ADDED, "pods/b/1", 0);
	expect(in_b, EVENT_ADDED, "pods/b/1", 0);
	expect_nothing(one);
	expect_nothing(in_b);
	expect_nothing(two);
	assert_true(watch_arm(one, NULL));
	before = wakes;
	for (int i = 0; i < 40; i++)
		put(st, "pods/a/5", i % 2 ? "n4" : "n3");
	assert_int_equal(wakes, before);
	put(st, "pods/a/1", "n2");        // bound elsewhere: gone for one, there for two
	wait_for_wake(before);
	expect(one, EVENT_DELETED, "pods/a/1", 0);
	expect_nothing(in_b);
	expect_nothing(one);
	assert_true(watch_arm(one, NULL));
	before = wakes;
	del(st, "pods/b/1");
	wait_for_wake(before);
	expect(one, EVENT_DELETED, "pods/b/1", 0);
	expect(in_b, EVENT_DELETED, "pods/b/1", 0);
	expect(two, EVENT_ADDED, "pods/a/1", 0);   // every object of put() has the name x
	expect_on(st, "n1", NULL, NULL);
	expect_on(st, "n2", "pods/a/1", "pods/a/2");
	watch_close(one);
	watch_close(two);
	watch_close(in_b);
}

/* A watch of one object is found by its key, and by no other. */
static void test_one_object(void **state)
{
	struct store *st = *state;
	struct watch_event e;
	struct watch *w = open_watch(st, (struct watch_opts){ .prefix = "t/a/1", .exact = true });
	int before;

	assert_int_equal(watch_next(w, &e), WATCH_IDLE);
	assert_true(watch_arm(w, NULL));
	before = wakes;
	put(st, "t/a/11", "x");
	put(st, "t/a/", "x");
	assert_int_equal(wakes, before);
	put(st, "t/a/1", "x");
	wait_for_wake(before);
	expect(w, EVENT_ADDED, "t/a/1", 0);
	expect_nothing(w);
	watch_close(w);
}

static void test_too_slow(void **state)
{
	struct store *st = *state;
	struct watch *w = open_watch(st, (struct watch_opts){ .prefix = "t/" });
	struct watch_opts old = { .prefix = "t/", .rv = 1, .hangup_fd = -1 };
	struct watch_event e;

	for (int i = 0; i < HISTORY_EVENTS_MAX + 10; i++)
		put(st, "t/a/1", "x");
	assert_int_equal(watch_next(w, &e), WATCH_GONE);
	watch_close(w);
	assert_int_equal(watch_open(st, &old, &w), -EKEYEXPIRED);
	old.rv = store_rv(st) + 1;
	assert_int_equal(watch_open(st, &old, &w), -ERANGE);
}

static void test_ends(void **state)
{
	struct store *st = *state;
	struct watch_event e;
	int pair[2];
	struct watch *w = open_watch(st, (struct watch_opts){ .prefix = "t/", .timeout_ns = NS_PER_S / 5 }), *h;

	assert_int_equal(next(w, &e), WATCH_END);
	watch_close(w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	h = open_watch(st, (struct watch_opts){ .prefix = "t/", .hangup_fd = pair[0] });
	expect_nothing(h);
	close(pair[1]);
	assert_int_equal(next(h, &e), WATCH_END);
	watch_close(h);
	close(pair[0]);
	w = open_watch(st, (struct watch_opts){ .prefix = "t/" });
	watch_set_end_all(store_watches(st));
	assert_int_equal(next(w, &e), WATCH_END);
	watch_close(w);
	w = open_watch(st, (struct watch_opts){ .prefix = "t/", .initial = true });   // too late
	assert_false(watch_arm(w, NULL));
	assert_int_equal(watch_next(w, &e), WATCH_END);
	watch_close(w);
	assert_int_equal(watch_set_count(store_watches(st)), 0);
}

#define WITH_STORE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(test_order), WITH_STORE(test_from_the_past), WITH_STORE(test_initial), WITH_STORE(test_selectors),
		WITH_STORE(test_wakes_only_for_its_own), WITH_STORE(test_shared_filters), WITH_STORE(test_pods_of_a_node),
		WITH_STORE(test_one_object), WITH_STORE(test_too_slow), WITH_STORE(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
