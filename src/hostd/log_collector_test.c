// SPDX-License-Identifier: Apache-2.0
#include "log_collector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "cri_log.h"
#include "fake_agent.h"

static char dir[64], sock[100], logs[100];
static struct fake_agent *agent;
static struct log_collector *collector;
static struct log_source *source;
static atomic_int ended;

static void on_ended(void *user)
{
	(void)user;
	ended++;
}

static void start(void)
{
	struct err e = ERR_INIT;
	const struct log_source_spec spec = {.vsock_path = sock, .container_id = "c1", .log_dir = logs, .instance = 0, .ended = on_ended};
	assert_int_equal(log_collector_start(&collector, &e), 0);
	assert_int_equal(log_collector_add(collector, &spec, &source, &e), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/bh-collect-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(sock, sizeof(sock), "%s/vsock.sock", dir);
	snprintf(logs, sizeof(logs), "%s/logs", dir);
	ended = 0;
	agent = fake_agent_start(sock);
	return agent ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	fake_agent_stop(agent);
	return dir_remove(dir, NULL);
}

static void wait_acked(uint64_t seq)
{
	for (int i = 0; i < 2000 && fake_agent_acked(agent) < seq; i++)
		usleep(5000);
	assert_int_equal(fake_agent_acked(agent), seq);
}

static void expect_log(const char *text)
{
	static const struct cri_log_query all = CRI_LOG_QUERY_INIT;
	static char block[1 << 20];
	struct cri_log_reader *r;
	size_t len = 0;
	struct err e = ERR_INIT;
	assert_int_equal(cri_log_reader_open(logs, 0, &all, &r, &e), 0);
	for (long n; (n = cri_log_reader_read(r, block + len, sizeof(block) - 1 - len)) > 0;)
		len += (size_t)n;
	block[len] = '\0';
	cri_log_reader_close(r);
	assert_string_equal(block, text);
}

static void test_collects_to_the_end(void **state)
{
	(void)state;
	start();
	fake_agent_log(agent, 1, "one\ntw", 6, false);
	wait_acked(1);
	expect_log("one\n");
	fake_agent_log(agent, 2, "err\n", 4, false);
	fake_agent_log(agent, 1, "o\n", 2, false);
	fake_agent_log(agent, 1, NULL, 0, true);
	for (int i = 0; i < 1000 && !ended; i++)
		usleep(5000);
	assert_int_equal(ended, 1);
	wait_acked(4);
	expect_log("one\nerr\ntwo\n");
	log_collector_remove(collector, source);
	log_collector_stop(collector);
	/* Started again, it knows. */
	start();
	for (int i = 0; i < 1000 && ended < 2; i++)
		usleep(5000);
	assert_int_equal(ended, 2);
	log_collector_stop(collector);
}

static void test_broken_connections_lose_and_double_nothing(void **state)
{
	(void)state;
	static char text[1 << 18];
	size_t len = 0;
	start();
	for (int i = 0; i < 300; i++) {
		int n = snprintf(text + len, sizeof(text) - len, "line %d%s", i, i % 3 ? "\n" : " ");
		fake_agent_log(agent, 1, text + len, (size_t)n, false);
		len += (size_t)n;
		if (i % 50 == 25)
			fake_agent_drop_streams(agent);
		if (i == 120) {
			log_collector_stop(collector);
			start();
		}
	}
	wait_acked(300);
	log_collector_stop(collector);
	expect_log(text);
}

static void test_agent_comes_late(void **state)
{
	(void)state;
	fake_agent_stop(agent);
	start();
	usleep(20000);
	agent = fake_agent_start(sock);
	fake_agent_log(agent, 1, "x\n", 2, false);
	wait_acked(1);
	log_collector_stop(collector);
	expect_log("x\n");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_collects_to_the_end), T(test_broken_connections_lose_and_double_nothing), T(test_agent_comes_late),
	};
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
