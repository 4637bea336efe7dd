// SPDX-License-Identifier: Apache-2.0
#include "evloop.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct seen { int reads, ticks; struct evwatch *other; };

static void on_read(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct seen *s = user;
	(void)l, (void)events;
	s->reads++;
	if (s->other && s->other != w)
		evloop_remove(s->other);   // both are ready in the same batch: the second must not be called
	s->other = NULL;
	evloop_remove(w);
}

static void on_tick(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	struct seen *s = user;
	(void)w, (void)events;
	if (++s->ticks == 3)
		evloop_stop(l);
}

static void test_removed_in_same_batch(void **state)
{
	(void)state;
	int a[2], b[2];
	assert_int_equal(pipe(a) | pipe(b), 0);
	assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
	struct evloop *l = evloop_new();
	struct seen s = {0};
	struct evwatch *first = evloop_add(l, a[0], EPOLLIN, on_read, &s);
	s.other = evloop_add(l, b[0], EPOLLIN, on_read, &s);
	assert_non_null(first);
	assert_non_null(evloop_timer(l, 1, 1, on_tick, &s));
	assert_int_equal(evloop_run(l), 0);
	assert_in_range(s.reads, 1, 2);   // 2 only if the kernel reported the pipes in two batches or the other order
	assert_int_equal(s.ticks, 3);
	evloop_free(l);
	for (int i = 0; i < 2; i++)
		close(a[i]), close(b[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_removed_in_same_batch)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
