// SPDX-License-Identifier: Apache-2.0
// Rotation of a log that several threads write: no line is lost, none is cut.
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "file.h"
#include "log.h"
#include "own.h"

#define THREADS 4
#define LINES 400

static void *writer(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("test", "thread=%d line=%d", (int)(intptr_t)arg, i);
	return NULL;
}

static size_t lines_in(const char *dir, const char *name)
{
	char path[128];
	own_buf struct buf text = BUF_INIT;
	size_t n = 0;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (file_read(path, 16 << 20, &text, NULL))
		return 0;
	for (const char *p = text.data; p && *p; p = strchr(p, '\n') + 1) {
		assert_non_null(strchr(p, '\n'));
		n++;
	}
	return n;
}

static void test_rotation(void **state)
{
	(void)state;
	char dir[] = "/tmp/bh-log-XXXXXX", path[128];
	pthread_t t[THREADS];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/x.log", dir);
	int old = dup(2), fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 2);
	close(fd);
	log_rotate(60000);
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, writer, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	log_rotate(0);
	dup2(old, 2);
	close(old);
	size_t now = lines_in(dir, "x.log"), before = lines_in(dir, "x.log.1"), earlier = lines_in(dir, "x.log.2");
	assert_true(before > 0);
	assert_int_equal(now + before + earlier, THREADS * LINES);
	dir_remove(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rotation)};
	return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
