// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/evloop.h"
#include "vmx/console.h"

struct world {
	struct evloop *loop;
	int guest, file;
	struct console *c;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int p[2];
	w->loop = evloop_new();
	assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	w->guest = p[1];
	w->file = memfd_create("console", MFD_CLOEXEC);
	w->c = console_new(w->loop, p[0], w->file, 10000);
	assert_non_null(w->c);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	console_free(w->c);
	evloop_free(w->loop);
	close(w->guest), close(w->file);
	free(w);
	return 0;
}

static off_t file_size(int fd)
{
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	return st.st_size;
}

static void say(struct world *w, const char *text)
{
	assert_int_equal(write(w->guest, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(evloop_once(w->loop, 0), 0);
}

static void recorded_up_to_the_limit(void **state)
{
	struct world *w = *state;
	char line[101];
	memset(line, 'x', 100);
	line[100] = '\0';
	for (int i = 0; i < 99; i++)
		say(w, line);
	assert_int_equal(file_size(w->file), 9900);
	for (int i = 0; i < 2000; i++)   // the guest never has to wait, however much it says
		say(w, line);
	assert_int_equal(file_size(w->file), 10000);
}

static void panic_is_found(void **state)
{
	struct world *w = *state;
	char why[64] = "untouched", line[101];
	say(w, "Linux version 6\r\nall is well\r\n");
	assert_false(console_panic(w->c, why, sizeof(why)));
	assert_string_equal(why, "untouched");
	say(w, "[ 1.0] Kernel panic - not sync");
	say(w, "ing: Attempted to kill init! exitcode=0x00000100\r\n");
	memset(line, 'y', 100);
	line[100] = '\0';
	for (int i = 0; i < 60; i++)     // the traceback
		say(w, line);
	assert_true(console_panic(w->c, why, sizeof(why)));
	assert_string_equal(why, "Attempted to kill init! exitcode=0x00000100");
	char small[10];
	assert_true(console_panic(w->c, small, sizeof(small)));
	assert_string_equal(small, "Attempted");
}

static void drain_takes_the_rest(void **state)
{
	struct world *w = *state;
	assert_int_equal(write(w->guest, "last words", 10), 10);
	console_drain(w->c);
	assert_int_equal(file_size(w->file), 10);
	close(w->guest);
	w->guest = -1;
	console_drain(w->c);
	assert_int_equal(evloop_once(w->loop, 0), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(recorded_up_to_the_limit), T(panic_is_found), T(drain_takes_the_rest)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
