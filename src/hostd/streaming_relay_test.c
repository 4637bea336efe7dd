// SPDX-License-Identifier: Apache-2.0
// The relays between a client (this test, over a socket pair, speaking WebSocket) and the fake agent.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "fake_agent.h"
#include "streaming_exec.h"
#include "streaming_port.h"

static char dir[64], sock[100];
static struct fake_agent *agent;
static int client, stop_fd;
static struct wire server;
static pthread_t relay;
static const struct exec_request *exec_rq;
static const struct port_request *port_rq;
static struct buf got[8];   // by channel
static bool closed;         // with a close frame

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/bh-relay-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(sock, sizeof(sock), "%s/vsock.sock", dir);
	agent = fake_agent_start(sock);
	int sv[2];
	if (!agent || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return -1;
	server = (struct wire){.fd = sv[0]};
	client = sv[1];
	stop_fd = eventfd(0, EFD_CLOEXEC);
	closed = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (client >= 0)
		close(client);
	close(server.fd);
	close(stop_fd);
	fake_agent_stop(agent);
	for (int i = 0; i < 8; i++)
		buf_fini(&got[i]);
	return dir_remove(dir, NULL);
}

static void *run_exec(void *user)
{
	(void)user;
	exec_relay(&server, stop_fd, exec_rq);
	shutdown(server.fd, SHUT_RDWR);
	return NULL;
}

static void *run_port(void *user)
{
	(void)user;
	port_relay(&server, stop_fd, port_rq);
	shutdown(server.fd, SHUT_RDWR);
	return NULL;
}

static void start_exec(const struct exec_request *rq)
{
	exec_rq = rq;
	assert_int_equal(pthread_create(&relay, NULL, run_exec, NULL), 0);
}

/* One frame of the client, unmasked by a mask of zeros. */
static void say(uint8_t channel, const void *data, size_t len)
{
	uint8_t head[9] = {0x82, (uint8_t)(0x80 | (len + 1)), 0, 0, 0, 0, channel};
	size_t head_len = 7;
	if (len + 1 > 125) {
		const uint8_t longer[] = {0x82, 0x80 | 126, (uint8_t)((len + 1) >> 8), (uint8_t)(len + 1), 0, 0, 0, 0, channel};
		memcpy(head, longer, head_len = sizeof(longer));
	}
	assert_int_equal(fd_write_all(client, head, head_len), 0);
	assert_int_equal(fd_write_all(client, data, len), 0);
}

/* Read one frame of the server. False: the end. */
static bool hear(void)
{
	uint8_t h[2], more[8];
	uint64_t len;
	if (fd_read_all(client, h, 2))
		return false;
	len = h[1];
	int extra = len == 126 ? 2 : len == 127 ? 8 : 0;
	if (extra && fd_read_all(client, more, (size_t)extra))
		return false;
	if (extra)
		len = 0;
	for (int i = 0; i < extra; i++)
		len = len << 8 | more[i];
	own_free uint8_t *data = malloc(len + 1);
	if (fd_read_all(client, data, len) && len)
		return false;
	if (h[0] == 0x88) {
		closed = true;
		return false;
	}
	assert_int_equal(h[0], 0x82);
	assert_true(len >= 1 && data[0] < 8);
	buf_append(&got[data[0]], data + 1, len - 1);
	return true;
}

static void hear_all(void)
{
	while (!closed && hear())
		;
	close(client);
	client = -1;
	pthread_join(relay, NULL);
	assert_true(closed);
}

static void expect(int channel, const char *text) { assert_string_equal(got[channel].len ? got[channel].data : "", text); }

static struct exec_request command(char **argv, size_t argc)
{
	return (struct exec_request){.vsock_path = sock, .container_id = "c1", .argv = argv, .argc = argc, .out = true, .err = true,
				     .websocket = true, .version = 5};
}

static void test_output_and_exit_code(void **state)
{
	(void)state;
	char *argv[] = {"sh", "-c", "echo out; echo err >&2; exit 3"};
	struct exec_request rq = command(argv, 3);
	start_exec(&rq);
	hear_all();
	expect(1, "out\n");
	expect(2, "err\n");
	assert_non_null(strstr(got[3].data, "{\"reason\":\"ExitCode\",\"message\":\"3\"}"));
}

static void test_old_protocol_says_it_in_text(void **state)
{
	(void)state;
	char *argv[] = {"sh", "-c", "exit 3"};
	struct exec_request rq = command(argv, 3);
	rq.version = 1;
	start_exec(&rq);
	hear_all();
	expect(3, "command terminated with non-zero exit code: exit status 3");
}

static void test_missing_command(void **state)
{
	(void)state;
	char *argv[] = {"bh-no-such-command"};
	struct exec_request rq = command(argv, 1);
	start_exec(&rq);
	hear_all();
	assert_non_null(strstr(got[3].data, "exec: \\\"bh-no-such-command\\\": executable file not found in $PATH: unknown"));
}

static void test_no_vm(void **state)
{
	(void)state;
	char *argv[] = {"true"};
	struct exec_request rq = command(argv, 1);
	rq.vsock_path = "/nonexistent/vsock.sock";
	start_exec(&rq);
	hear_all();
	assert_non_null(strstr(got[3].data, "\"reason\":\"InternalError\""));
}

static void *write_stdin(void *user)
{
	char block[30000];
	size_t *total = user;
	for (size_t i = 0; i < 100; i++) {
		memset(block, 'a' + (int)(i % 26), sizeof(block));
		say(0, block, sizeof(block));
		*total += sizeof(block);
	}
	uint8_t stdin_number = 0;
	say(255, &stdin_number, 1);
	return NULL;
}

/* More than any buffer on the way holds, in both directions at once. */
static void test_much_stdin_comes_back(void **state)
{
	(void)state;
	char *argv[] = {"cat"};
	struct exec_request rq = command(argv, 1);
	rq.in = true;
	size_t total = 0;
	pthread_t writer;
	start_exec(&rq);
	pthread_create(&writer, NULL, write_stdin, &total);
	while (hear())
		;
	pthread_join(writer, NULL);
	hear_all();
	assert_int_equal(got[1].len, total);
	for (size_t i = 0; i < got[1].len; i++)
		assert_int_equal(got[1].data[i], 'a' + (int)(i / 30000 % 26));
	expect(3, "{\"metadata\":{},\"status\":\"Success\"}");
}

static void test_terminal_and_resize(void **state)
{
	(void)state;
	char *argv[] = {"sh", "-c", "read x; stty size; test \"$TERM\" = xterm"};
	struct exec_request rq = command(argv, 3);
	rq.in = rq.tty = true;
	start_exec(&rq);
	say(4, "{\"Width\":101,", 13);
	say(4, "\"Height\":37}\n{\"Wid", 17);
	say(0, "go\n", 3);
	hear_all();
	assert_non_null(strstr(got[1].data, "37 101"));
	expect(3, "{\"metadata\":{},\"status\":\"Success\"}");
}

static void test_attach(void **state)
{
	(void)state;
	struct exec_request rq = {.attach = true, .vsock_path = sock, .container_id = "c1", .in = true, .out = true, .websocket = true, .version = 5};
	uint8_t stdin_number = 0;
	start_exec(&rq);
	say(0, "ping\n", 5);
	say(255, &stdin_number, 1);
	hear_all();
	expect(1, "hello\nping\n");
	expect(3, "{\"metadata\":{},\"status\":\"Success\"}");   // whatever the container's exit code
}

static void test_client_vanishes(void **state)
{
	(void)state;
	char *argv[] = {"cat", "/dev/zero"};
	struct exec_request rq = command(argv, 2);
	start_exec(&rq);
	usleep(50000);   // the client does not read, and all buffers fill
	close(client);
	client = -1;
	pthread_join(relay, NULL);
}

static void test_client_vanishes_behind_stalled_stdin(void **state)
{
	(void)state;
	char *argv[] = {"sleep", "1000"}, block[60000] = "";
	struct exec_request rq = command(argv, 2);
	rq.in = true;
	start_exec(&rq);
	for (int i = 0; i < 1000; i++) {   // until nothing takes it any more
		struct pollfd p = {client, POLLOUT, 0};
		if (poll(&p, 1, 100) == 0)
			break;
		uint8_t head[] = {0x82, 0x80 | 126, 60000 >> 8, 60000 & 255, 0, 0, 0, 0};
		if (send(client, head, sizeof(head), MSG_DONTWAIT) != 8 || send(client, block, sizeof(block), MSG_DONTWAIT) != 60000)
			break;
	}
	close(client);
	client = -1;
	pthread_join(relay, NULL);
}

static void test_hostd_stops(void **state)
{
	(void)state;
	char *argv[] = {"sleep", "1000"};
	struct exec_request rq = command(argv, 2);
	start_exec(&rq);
	eventfd_write(stop_fd, 1);
	pthread_join(relay, NULL);
}

static void test_run(void **state)
{
	(void)state;
	char *argv[] = {"sh", "-c", "echo out; exit $0", "0"};
	struct exec_request rq = command(argv, 4);
	own_buf struct buf out = BUF_INIT, text = BUF_INIT;
	assert_int_equal(exec_run(&rq, stop_fd, &out, &text), 0);
	assert_string_equal(out.data, "out\n");
	argv[3] = "5";
	assert_int_equal(exec_run(&rq, stop_fd, &out, &text), -EIO);
	assert_string_equal(text.data, "command terminated with exit code 5");
}

/* Port-forward. */

static int listen_somewhere(uint16_t *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 5), 0);
	getsockname(fd, (struct sockaddr *)&at, &len);
	*port = ntohs(at.sin_port);
	return fd;
}

static void test_ports_over_channels(void **state)
{
	(void)state;
	uint16_t ports[2];
	own_fd int one = listen_somewhere(&ports[0]), two = listen_somewhere(&ports[1]);
	close(two);      // nobody listens there
	two = -1;
	struct port_request rq = {.vsock_path = sock, .pod = "web", .uid = "u1", .transport = PORT_CHANNELS, .ports = ports, .ports_count = 2};
	port_rq = &rq;
	assert_int_equal(pthread_create(&relay, NULL, run_port, NULL), 0);
	own_fd int c = accept(one, NULL, NULL);
	char block[10];
	say(0, "hello", 5);
	assert_int_equal(fd_read_all(c, block, 5), 0);
	assert_memory_equal(block, "hello", 5);
	assert_int_equal(fd_write_all(c, "answer", 6), 0);
	shutdown(c, SHUT_WR);
	hear_all();
	const uint8_t first[] = {(uint8_t)ports[0], (uint8_t)(ports[0] >> 8)};
	assert_memory_equal(got[0].data, first, 2);
	assert_string_equal(got[0].data + 2, "answer");
	assert_int_equal(got[1].len, 2);
	assert_int_equal(got[2].len, 2);
	char text[200];
	snprintf(text, sizeof(text), "error forwarding port %u to pod web, uid u1: ", ports[1]);
	assert_memory_equal(got[3].data + 2, text, strlen(text));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_output_and_exit_code), T(test_old_protocol_says_it_in_text), T(test_missing_command), T(test_no_vm),
		T(test_much_stdin_comes_back), T(test_terminal_and_resize), T(test_attach), T(test_client_vanishes),
		T(test_client_vanishes_behind_stalled_stdin), T(test_hostd_stops), T(test_run), T(test_ports_over_channels),
	};
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
