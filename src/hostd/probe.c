// SPDX-License-Identifier: Apache-2.0
// One probe, run once; see probe.h.
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "agent_client.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"

#define EXEC_ARGS_MAX 256
#define OUTPUT_KEEP 512
#define BODY_MAX 10240
#define GRPC_SERVING 1
#define REDIRECTS_MAX 10

/* A port number, or the name of one of the container's ports. 0: there is none. */
static unsigned port_of(const struct probe_target *t, const json_t *port)
{
	size_t i;
	json_t *p;
	if (json_is_integer(port))
		return (unsigned)json_integer_value(port) & 0xffff;
	json_array_foreach(jpath_get(t->container, "ports"), i, p)
		if (json_is_string(port) && !strcmp(jpath_str(p, "name", ""), json_string_value(port)))
			return (unsigned)jpath_int(p, "containerPort", 0) & 0xffff;
	return json_is_string(port) ? (unsigned)atoi(json_string_value(port)) & 0xffff : 0;
}

/* --- exec --- */

/* Read the stream to its end; the last of its output stays in said. */
static int exec_result(int fd, uint64_t end_ns, char *said, size_t said_len, bool *timed_out)
{
	own_free uint8_t *data = malloc(AGENT_FRAME_MAX);
	size_t fill = 0;
	int code = -EPIPE;
	said[0] = '\0';
	for (;;) {
		uint64_t now = clock_mono_ns();
		struct pollfd p = {fd, POLLIN, 0};
		uint32_t len = AGENT_FRAME_MAX;
		uint8_t channel;
		if (!data || now >= end_ns || poll(&p, 1, (int)((end_ns - now) / NS_PER_MS) + 1) == 0) {
			*timed_out = true;
			return -ETIMEDOUT;
		}
		if (agent_frame_recv(fd, &channel, data, &len))
			return code;
		if (channel == AGENT_EXIT) {
			Bulkhead__Agent__ExecExit *x = bulkhead__agent__exec_exit__unpack(NULL, len, data);
			code = x ? x->exit_code : -EPROTO;
			*timed_out = x && x->timed_out;
			if (x)
				bulkhead__agent__exec_exit__free_unpacked(x, NULL);
			return code;
		}
		size_t n = len < said_len - 1 - fill ? len : said_len - 1 - fill;
		memcpy(said + fill, data, n);
		fill += n;
		said[fill] = '\0';
	}
}

static void say_timeout(char *const *argv, size_t argc, char *why, size_t why_len)
{
	own_buf struct buf words = BUF_INIT;
	for (size_t i = 0; i < argc; i++)
		buf_printf(&words, "%s%s", i ? " " : "", argv[i]);
	snprintf(why, why_len, "command \"%s\" timed out", words.data ? words.data : "");
}

static int run_exec(const struct probe_target *t, const json_t *exec, uint32_t timeout_ms, char *why, size_t why_len)
{
	const json_t *command = json_object_get(exec, "command");
	size_t argc = json_array_size(command);
	char *argv[EXEC_ARGS_MAX], said[OUTPUT_KEEP];
	Bulkhead__Agent__StreamOpen so = BULKHEAD__AGENT__STREAM_OPEN__INIT;
	Bulkhead__Agent__ExecOpen x = BULKHEAD__AGENT__EXEC_OPEN__INIT;
	struct err e = ERR_INIT;
	bool timed_out = false;
	if (!t->vsock_path || !t->container_id || argc == 0 || argc > EXEC_ARGS_MAX) {
		snprintf(why, why_len, "no command, or the container does not run");
		return -EINVAL;
	}
	for (size_t i = 0; i < argc; i++)
		argv[i] = (char *)(json_string_value(json_array_get(command, i)) ? json_string_value(json_array_get(command, i)) : "");
	x.container_id = (char *)t->container_id;
	x.n_argv = argc;
	x.argv = argv;
	x.stdout = x.stderr = 1;
	x.timeout_ms = timeout_ms;
	so.what_case = BULKHEAD__AGENT__STREAM_OPEN__WHAT_EXEC;
	so.exec = &x;
	uint64_t end = clock_mono_ns() + (timeout_ms + 1000) * NS_PER_MS;
	own_fd int fd = agent_stream_open(t->vsock_path, &so, timeout_ms + 1000, &e);
	if (fd < 0) {
		snprintf(why, why_len, "%s", e.text);
		return 1;
	}
	struct timeval limit = {.tv_sec = timeout_ms / 1000 + 1};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	int code = exec_result(fd, end, said, sizeof(said), &timed_out);
	if (timed_out)
		say_timeout(argv, argc, why, why_len);
	else if (code < 0)
		snprintf(why, why_len, "exec stream ended early");
	else
		snprintf(why, why_len, "%s", said);
	return code == 0 && !timed_out ? 0 : 1;
}

/* --- HTTP and gRPC --- */

static size_t keep_body(char *data, size_t size, size_t count, void *user)
{
	struct buf *b = user;
	size_t n = size * count, room = b->len < BODY_MAX ? BODY_MAX - b->len : 0;
	return buf_append(b, data, n < room ? n : room) ? 0 : n;
}

static CURL *curl_new(const char *url, uint32_t timeout_ms, struct buf *body, char error[CURL_ERROR_SIZE])
{
	CURL *c = curl_easy_init();
	if (!c)
		return NULL;
	error[0] = '\0';
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");   // wherever an answer leads
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);   // as a kubelet: a probe asks for life, not for identity
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "kube-probe/1.32");
	return c;
}

static const char *dial_problem(int problem)
{
	return problem == ETIMEDOUT ? "i/o timeout" : problem == ECONNREFUSED ? "connect: connection refused" :
	       problem == EHOSTUNREACH ? "connect: no route to host" : strerror(problem);
}

/* Does it lead to the same host? Then it is followed; elsewhere counts as an answer. */
static bool same_host(const char *url, const char *other)
{
	CURLU *a = curl_url(), *b = curl_url();
	char *host_a = NULL, *host_b = NULL;
	bool same = a && b && !curl_url_set(a, CURLUPART_URL, url, 0) && !curl_url_set(b, CURLUPART_URL, other, 0) &&
		    !curl_url_get(a, CURLUPART_HOST, &host_a, 0) && !curl_url_get(b, CURLUPART_HOST, &host_b, 0) && !strcmp(host_a, host_b);
	curl_free(host_a);
	curl_free(host_b);
	curl_url_cleanup(a);
	curl_url_cleanup(b);
	return same;
}

/* One GET after the other, until one leads nowhere on this host. *code: of the last answer; 0: there was none, and why. */
static void get_final(CURL *c, const char *url, uint32_t timeout_ms, const char *error, long *code, char *why, size_t why_len)
{
	uint64_t end = clock_mono_ns() + timeout_ms * NS_PER_MS;
	own_free char *at = strdup(url);
	for (int i = 0; at && i < REDIRECTS_MAX; i++) {
		uint64_t now = clock_mono_ns();
		curl_easy_setopt(c, CURLOPT_URL, at);
		curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, now < end ? (long)((end - now) / NS_PER_MS) + 1 : 1L);
		CURLcode rc = curl_easy_perform(c);
		long problem = 0, status = 0;
		char *next = NULL;
		curl_easy_getinfo(c, CURLINFO_OS_ERRNO, &problem);
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(c, CURLINFO_REDIRECT_URL, &next);
		if (rc == CURLE_OPERATION_TIMEDOUT)
			snprintf(why, why_len, "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", at);
		else if (rc == CURLE_COULDNT_CONNECT && problem)
			snprintf(why, why_len, "Get \"%s\": dial tcp %.*s: %s", at, (int)strcspn(strstr(at, "//") + 2, "/?"), strstr(at, "//") + 2,
				 dial_problem((int)problem));
		else if (rc)
			snprintf(why, why_len, "Get \"%s\": %s", at, *error ? error : curl_easy_strerror(rc));
		if (rc)
			return;
		if (!next || !same_host(url, next)) {
			*code = status;
			return;
		}
		char *copy = strdup(next);
		free(at);
		at = copy;
	}
	snprintf(why, why_len, "Get \"%s\": stopped after %d redirects", at ? at : url, REDIRECTS_MAX);
}

static int run_http(const struct probe_target *t, const json_t *get, uint32_t timeout_ms, char *why, size_t why_len)
{
	char url[2048], error[CURL_ERROR_SIZE];
	const char *host = jpath_str(get, "host", t->pod_ip), *path = jpath_str(get, "path", "/");
	bool https = !strcmp(jpath_str(get, "scheme", "HTTP"), "HTTPS");
	own_buf struct buf body = BUF_INIT;
	struct curl_slist *headers = NULL;
	size_t i;
	json_t *h;
	long code = 0;
	snprintf(url, sizeof(url), strchr(host, ':') ? "%s://[%s]:%u%s%s" : "%s://%s:%u%s%s", https ? "https" : "http", host,
		 port_of(t, json_object_get(get, "port")), *path == '/' ? "" : "/", path);
	CURL *c = curl_new(url, timeout_ms, &body, error);
	if (!c)
		return -ENOMEM;
	json_array_foreach(json_object_get(get, "httpHeaders"), i, h) {
		char line[1024];
		snprintf(line, sizeof(line), "%s: %s", jpath_str(h, "name", ""), jpath_str(h, "value", ""));
		headers = curl_slist_append(headers, line);
	}
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	get_final(c, url, timeout_ms, error, &code, why, why_len);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	if (code)
		snprintf(why, why_len, "HTTP probe failed with statuscode: %ld", code);
	return code >= 200 && code < 400 ? 0 : 1;
}

/* grpc.health.v1.Health/Check. The request: field 1, the service's name. The answer: field 1, a number, 1 is SERVING. */
static int run_grpc(const struct probe_target *t, const json_t *grpc, uint32_t timeout_ms, char *why, size_t why_len)
{
	char url[256], error[CURL_ERROR_SIZE], rq[5 + 2 + 127];
	const char *service = jpath_str(grpc, "service", "");
	size_t n = strnlen(service, 127), len = n ? n + 2 : 0;
	own_buf struct buf body = BUF_INIT;
	long code = 0;
	snprintf(url, sizeof(url), strchr(t->pod_ip, ':') ? "http://[%s]:%u%s" : "http://%s:%u%s", t->pod_ip,
		 port_of(t, json_object_get(grpc, "port")), "/grpc.health.v1.Health/Check");
	memcpy(rq, "\0\0\0\0", 4);
	rq[4] = (char)len;
	rq[5] = 0x0a;
	rq[6] = (char)n;
	memcpy(rq + 7, service, n);
	CURL *c = curl_new(url, timeout_ms, &body, error);
	if (!c)
		return -ENOMEM;
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/grpc");
	headers = curl_slist_append(headers, "TE: trailers");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq);
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)(5 + len));
	CURLcode rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	bool serving = rc == CURLE_OK && code == 200 && body.len >= 7 && body.data[5] == 0x08 && body.data[6] == GRPC_SERVING;
	if (rc != CURLE_OK)
		snprintf(why, why_len, "timeout: failed to connect service \"%s:%u\" within %us: %s", t->pod_ip,
			 port_of(t, json_object_get(grpc, "port")), timeout_ms / 1000, *error ? error : curl_easy_strerror(rc));
	else
		snprintf(why, why_len, "service unhealthy (responded with \"NOT_SERVING\")");
	return serving ? 0 : 1;
}

/* --- TCP --- */

static int run_tcp(const struct probe_target *t, const json_t *tcp, uint32_t timeout_ms, char *why, size_t why_len)
{
	const char *host = jpath_str(tcp, "host", t->pod_ip);
	unsigned port = port_of(t, json_object_get(tcp, "port"));
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	bool v6 = inet_pton(AF_INET6, host, &a6.sin6_addr) == 1;
	int problem = 0;
	socklen_t len = sizeof(problem);
	if (!v6 && inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		snprintf(why, why_len, "dial tcp: %s is not an address", host);
		return -EINVAL;
	}
	own_fd int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int rc = v6 ? connect(fd, (struct sockaddr *)&a6, sizeof(a6)) : connect(fd, (struct sockaddr *)&a, sizeof(a));
	if (rc && errno == EINPROGRESS) {
		struct pollfd p = {fd, POLLOUT, 0};
		if (poll(&p, 1, (int)timeout_ms) <= 0)
			problem = ETIMEDOUT;
		else
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &len);
	} else if (rc) {
		problem = errno;
	}
	if (problem)
		snprintf(why, why_len, "dial tcp %s:%u: %s", host, port, dial_problem(problem));
	return problem ? 1 : 0;
}

int probe_run(const struct probe_target *t, const json_t *handler, uint32_t timeout_ms, char *why, size_t why_len)
{
	static const struct {
		const char *name;
		int (*run)(const struct probe_target *t, const json_t *how, uint32_t timeout_ms, char *why, size_t why_len);
	} kinds[] = {{"exec", run_exec}, {"httpGet", run_http}, {"tcpSocket", run_tcp}, {"grpc", run_grpc}};
	why[0] = '\0';
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const json_t *how = json_object_get(handler, kinds[i].name);
		if (how)
			return kinds[i].run(t, how, timeout_ms, why, why_len);
	}
	snprintf(why, why_len, "the probe names no handler");
	return -EINVAL;
}
