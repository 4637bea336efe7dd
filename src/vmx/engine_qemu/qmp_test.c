// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/evloop.h"
#include "base/jpath.h"
#include "vmx/engine_qemu/qmp.h"

struct world {
	struct evloop *loop;
	int qemu;
	struct qmp *q;
	unsigned ready, events;
	char last[64], reason[64];
};

static void on_ready(void *user) { ((struct world *)user)->ready++; }

static void on_event(void *user, const char *name, const json_t *data)
{
	struct world *w = user;
	w->events++;
	snprintf(w->last, sizeof(w->last), "%s", name);
	snprintf(w->reason, sizeof(w->reason), "%s", jpath_str(data, "reason", ""));
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int s[2];
	w->loop = evloop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, s), 0);
	w->qemu = s[0];
	struct qmp_attr a = {.loop = w->loop, .fd = s[1], .ready = on_ready, .event = on_event, .user = w};
	w->q = qmp_new(&a);
	assert_non_null(w->q);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	qmp_free(w->q);
	evloop_free(w->loop);
	close(w->qemu);
	free(w);
	return 0;
}

static void say(struct world *w, const char *text)
{
	assert_int_equal(write(w->qemu, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(evloop_once(w->loop, 0), 0);
}

static void expect_command(struct world *w, const char *want)
{
	char got[256] = "";
	assert_true(read(w->qemu, got, sizeof(got) - 1) > 0);
	assert_string_equal(got, want);
}

static void greeting_then_ready_once(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	say(w, "{\"QMP\": {\"version\": {}}}\r\n");
	expect_command(w, "{\"execute\":\"qmp_capabilities\"}\n");
	assert_int_equal(w->ready, 0);
	say(w, "{\"return\": {}}\r\n");
	assert_int_equal(w->ready, 1);
	assert_int_equal(qmp_command(w->q, "system_powerdown", &e), 0);
	expect_command(w, "{\"execute\":\"system_powerdown\"}\n");
	say(w, "{\"return\": {}}\r\n");
	say(w, "{\"error\": {\"class\": \"x\", \"desc\": \"no\"}}\r\n");
	assert_int_equal(w->ready, 1);
}

static void events_in_pieces(void **state)
{
	struct world *w = *state;
	say(w, "{\"event\": \"STOP\"}\r\n{\"event\": \"SHUTDOWN\", \"data\": {\"rea");
	assert_string_equal(w->last, "STOP");
	say(w, "son\": \"guest-reset\"}}\r\n");
	assert_string_equal(w->last, "SHUTDOWN");
	assert_string_equal(w->reason, "guest-reset");
	assert_int_equal(w->events, 2);
}

static void nonsense_is_ignored(void **state)
{
	struct world *w = *state;
	say(w, "hello\n{}\n[]\n{\"event\": 7}\n\n{\"event\": \"STOP\", \"data\": 5}\n");
	assert_int_equal(w->events, 1);
	assert_int_equal(w->ready, 0);
}

static void endless_line_ends_the_connection(void **state)
{
	struct world *w = *state;
	char chunk[4097];
	memset(chunk, 'x', 4096);
	chunk[4096] = '\0';
	for (int i = 0; i < 16; i++)
		say(w, chunk);
	say(w, "\n{\"event\": \"STOP\"}\n");
	qmp_drain(w->q);
	assert_int_equal(w->events, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(greeting_then_ready_once), T(events_in_pieces), T(nonsense_is_ignored),
					   T(endless_line_ends_the_connection)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
