// SPDX-License-Identifier: Apache-2.0
// Client and informer against a small scripted HTTP server on loopback.
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"

struct answer {
	const char *request;     // the request must contain this
	int status;
	const char *parts[4];    // body, sent piece by piece
	int hold;                // keep the connection open until the peer closes
};

struct server {
	int fd;
	unsigned port;
	pthread_t thread;
	const struct answer *script;
	size_t count;
	atomic_size_t served;
	char wrong[512];
	char dir[64], config[96];
};

static size_t read_request(int fd, char *buf, size_t size)
{
	size_t n = 0;
	for (;;) {
		ssize_t r = read(fd, buf + n, size - 1 - n);
		if (r <= 0)
			return n;
		n += (size_t)r;
		buf[n] = '\0';
		char *end = strstr(buf, "\r\n\r\n"), *length = strcasestr(buf, "content-length:");
		if (end && n >= (size_t)(end + 4 - buf) + (length ? strtoul(length + 15, NULL, 10) : 0))
			return n;
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;
	for (size_t i = 0; i < s->count; i++) {
		char request[8192] = "";
		int fd = accept(s->fd, NULL, NULL);
		if (fd < 0)
			break;
		read_request(fd, request, sizeof(request));
		const struct answer *a = &s->script[i];
		if (!strstr(request, a->request))
			snprintf(s->wrong, sizeof(s->wrong), "request %zu: %.200s lacks %s", i, request, a->request);
		char head[256];
		int n = snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
				 a->status);
		fd_write_all(fd, head, (size_t)n);
		for (int p = 0; p < 4 && a->parts[p]; p++) {
			fd_write_all(fd, a->parts[p], strlen(a->parts[p]));
			usleep(2000);
		}
		atomic_fetch_add(&s->served, 1);
		if (a->hold)
			read_request(fd, request, sizeof(request));
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const struct answer *script, size_t count)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	*s = (struct server){.script = script, .count = count};
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(s->fd, 8), 0);
	getsockname(s->fd, (struct sockaddr *)&addr, &len);
	s->port = ntohs(addr.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	strcpy(s->dir, "/tmp/k8s-client-test.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->config, sizeof(s->config), "%s/config", s->dir);
	FILE *f = fopen(s->config, "w");
	fprintf(f, "current-context: c\nclusters:\n- name: k\n  cluster: {server: 'http://127.0.0.1:%u/'}\n"
		"contexts:\n- {name: c, context: {cluster: k, user: u}}\nusers:\n- {name: u, user: {token: abc}}\n", s->port);
	fclose(f);
}

static void server_stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	dir_remove(s->dir, NULL);
	assert_string_equal(s->wrong, "");
}

static void test_calls(void **state)
{
	(void)state;
	static const struct answer script[] = {
		{"GET /api/v1/pods HTTP", 200, {"{\"items\"", ":[]}"}, 0},
		{"Authorization: Bearer abc", 404, {"{\"kind\":\"Status\",\"message\":\"pods \\\"x\\\" not found\",\"reason\":\"NotFound\"}"}, 0},
		{"Content-Type: application/merge-patch+json", 409, {"{\"reason\":\"Conflict\",\"message\":\"no\"}"}, 0},
		{"{\"a\":1}", 409, {"{\"reason\":\"AlreadyExists\"}"}, 0},
		{"DELETE", 500, {"oops"}, 0}, {"GET", 429, {""}, 0}, {"GET", 200, {"not json"}, 0}, {"GET", 410, {"{}"}, 0},
	};
	struct server s;
	struct k8s_client *c = NULL;
	struct err e = ERR_INIT;
	json_t *out = NULL, *body = json_pack("{s:i}", "a", 1);
	server_start(&s, script, 8);
	assert_int_equal(k8s_client_open(s.config, &c, &e), 0);
	assert_int_equal(k8s_client_call(c, "GET", "/api/v1/pods", NULL, NULL, 5000, &out, &e), 0);
	assert_int_equal(json_array_size(json_object_get(out, "items")), 0);
	json_decref(out);
	assert_int_equal(k8s_client_call(c, "GET", "/x", NULL, NULL, 5000, &out, &e), -ENOENT);
	assert_string_equal(e.text, "pods \"x\" not found");
	assert_string_equal(jpath_str(out, "kind", ""), "Status");
	json_decref(out);
	assert_int_equal(k8s_client_call(c, "PATCH", "/x", "application/merge-patch+json", body, 5000, NULL, &e), -ESTALE);
	assert_int_equal(k8s_client_call(c, "POST", "/x", NULL, body, 5000, NULL, &e), -EEXIST);
	assert_int_equal(k8s_client_call(c, "DELETE", "/x", NULL, NULL, 5000, NULL, &e), -EREMOTEIO);
	assert_int_equal(k8s_client_call(c, "GET", "/x", NULL, NULL, 5000, NULL, &e), -EAGAIN);
	out = NULL;
	assert_int_equal(k8s_client_call(c, "GET", "/x", NULL, NULL, 5000, &out, &e), -EREMOTEIO);
	assert_null(out);
	assert_int_equal(k8s_client_call(c, "GET", "/x", NULL, NULL, 5000, NULL, &e), -EKEYEXPIRED);
	server_stop(&s);
	assert_int_equal(k8s_client_call(c, "GET", "/x", NULL, NULL, 5000, NULL, &e), -ECONNREFUSED);
	k8s_client_close(c);
	json_decref(body);
}

struct seen {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	char text[512];
};

static void note(struct seen *s, const char *what, const char *name)
{
	pthread_mutex_lock(&s->lock);
	size_t n = strlen(s->text);
	snprintf(s->text + n, sizeof(s->text) - n, "%s%s ", what, name);
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void on_sync(void *user, json_t *items)
{
	char count[16];
	snprintf(count, sizeof(count), "%zu", json_array_size(items));
	note(user, "sync", count);
}

static void on_event(void *user, const char *type, json_t *obj)
{
	note(user, type, jpath_str(obj, "metadata.name", "?"));
}

static void test_informer(void **state)
{
	(void)state;
	static const struct answer script[] = {
		{"GET /api/v1/pods?fieldSelector=a%3Db&limit=500 ", 200,
		 {"{\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"n/x\"},\"items\":[{\"metadata\":{\"name\":\"p\"}}]}"}, 0},
		{"continue=n%2Fx ", 200, {"{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[{\"metadata\":{\"name\":\"q\"}}]}"}, 0},
		{"resourceVersion=5 ", 200,
		 {"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"r\",\"resourceVersion\":\"6\"}}}\n{\"type\":\"MODI",
		  "FIED\",\"object\":{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"7\"}}}\n",
		  "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n"}, 0},
		{"resourceVersion=9 ", 200,
		 {"{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"q\",\"resourceVersion\":\"10\"}}}\n",
		  "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}}\n"}, 0},
		{"limit=500 ", 200, {"{\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[]}"}, 0},
		{"resourceVersion=20 ", 200, {"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"z\",\"resourceVersion\":\"21\"}}}\n"}, 1},
	};
	static const struct k8s_informer_ops ops = {.on_sync = on_sync, .on_event = on_event};
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct server s;
	struct k8s_client *c = NULL;
	struct k8s_informer *i = NULL;
	struct err e = ERR_INIT;
	server_start(&s, script, 6);
	assert_int_equal(k8s_client_open(s.config, &c, &e), 0);
	assert_int_equal(k8s_informer_start(c, "/api/v1/pods?fieldSelector=a%3Db", &ops, &seen, &i, &e), 0);
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 10;
	pthread_mutex_lock(&seen.lock);
	while (!strstr(seen.text, "ADDEDz") && pthread_cond_timedwait(&seen.cond, &seen.lock, &end) == 0)
		;
	pthread_mutex_unlock(&seen.lock);
	uint64_t before = clock_mono_ns();
	k8s_informer_stop(i);
	assert_true(clock_mono_ns() - before < NS_PER_S);
	assert_string_equal(seen.text, "sync2 ADDEDr MODIFIEDp DELETEDq sync0 ADDEDz ");
	k8s_client_close(c);
	server_stop(&s);
}

static void test_stop_while_down(void **state)
{
	(void)state;
	static const struct k8s_informer_ops ops = {.on_sync = on_sync, .on_event = on_event};
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct server s;
	struct k8s_client *c = NULL;
	struct k8s_informer *i = NULL;
	struct err e = ERR_INIT;
	server_start(&s, NULL, 0);
	assert_int_equal(k8s_client_open(s.config, &c, &e), 0);
	server_stop(&s);
	assert_int_equal(k8s_informer_start(c, "/api/v1/pods", &ops, &seen, &i, &e), 0);
	usleep(50000);
	uint64_t before = clock_mono_ns();
	k8s_informer_stop(i);
	assert_true(clock_mono_ns() - before < NS_PER_S);
	assert_string_equal(seen.text, "");
	k8s_client_close(c);
}

static void test_bad_config(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"a: [", "yaml"}, {"{}", "current-context \"\" is not in its contexts"},
		{"{current-context: c, contexts: [{name: c, context: {cluster: k}}]}", "cluster \"k\" is not in its clusters"},
		{"{current-context: c, contexts: [{name: c, context: {cluster: k}}], clusters: [{name: k, cluster: {server: ftp}}]}",
		 "needs a server"},
		{"{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], clusters: [{name: k, cluster: {server: "
		 "'https://x', certificate-authority-data: '###'}}]}", "certificate-authority-data is not base64"},
	};
	char path[] = "/tmp/k8s-config-test.XXXXXX";
	int fd = mkstemp(path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct k8s_client *c = NULL;
		struct err e = ERR_INIT;
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, cases[i][0], strlen(cases[i][0]), 0), (ssize_t)strlen(cases[i][0]));
		assert_int_equal(k8s_client_open(path, &c, &e), -EINVAL);
		if (!strstr(e.text, cases[i][1]))
			fail_msg("'%s' lacks '%s'", e.text, cases[i][1]);
		assert_null(c);
	}
	close(fd);
	unlink(path);
	struct k8s_client *c = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(k8s_client_open(path, &c, &e), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_informer),
		cmocka_unit_test(test_stop_while_down), cmocka_unit_test(test_bad_config)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
