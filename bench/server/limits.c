// SPDX-License-Identifier: Apache-2.0
// An API server at the ends of what it bears: limits idle|slow|crowd COUNT HOST:PORT PKI-FOLDER PID
//   idle   COUNT watches that see nothing: their memory, what others notice of them, and one change that reaches all
//   slow   COUNT MB of changes past a watcher that does not read: memory, another watcher, and how the slow one ends
//   crowd  COUNT objects: how long to make them, to list them whole and in parts of 500, memory
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "conn.h"

#define WRITERS 16
#define PATH "/api/v1/namespaces/limits/configmaps"

static struct pool pool;
static const char *host, *pid, *address;
static char ca[512], crt[512], key[512];
static int port;

/* --- the process --- */

static double resident_mib(void)
{
	char path[64], line[128];
	double kib = 0;

	snprintf(path, sizeof path, "/proc/%s/status", pid);
	own_file FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "VmRSS:", 6))
			kib = atof(line + 6);
	return kib / 1024;
}

static double cpu_s(void)
{
	unsigned long user = 0, sys = 0;
	char path[64];

	snprintf(path, sizeof path, "/proc/%s/stat", pid);
	own_file FILE *f = fopen(path, "r");
	if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
		give_up("%s says nothing", path);
	return (user + sys) / (double)sysconf(_SC_CLK_TCK);
}

/* --- requests --- */

struct call { bool done; int code; struct buf body; };

static void answered(struct conn *c, int code, const char *body, size_t len)
{
	struct call *a = c->user;

	a->done = true;
	a->code = code;
	a->body.len = 0;
	buf_append(&a->body, body, len);
}

static void ask(struct conn *c, const char *method, const char *path, const char *body)
{
	char head[2048];

	snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
		 "Content-Length: %zu\r\n\r\n", method, path, host, strlen(body));
	conn_send(c, head, body, strlen(body));
}

static uint64_t call(struct conn *c, const char *method, const char *path, const char *body)
{
	struct call *a = c->user;
	uint64_t start = clock_mono_ns();

	a->done = false;
	ask(c, method, path, body);
	while (!a->done)
		pool_run(&pool, 100);
	if (a->code != 200 && a->code != 201 && a->code != 409)
		give_up("%s %s: %d %.*s", method, path, a->code, a->body.len > 300 ? 300 : (int)a->body.len, a->body.data);
	return clock_mono_ns() - start;
}

static void put_object(char *body, size_t size, const char *name, size_t data)
{
	int n = snprintf(body, size, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"},\"data\":{\"d\":\"", name);

	memset(body + n, 'x', data);
	strcpy(body + n + data, "\"}}");
}

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void tell(const char *what, const char *when, uint64_t *took, unsigned n)
{
	qsort(took, n, sizeof *took, cmp);
	printf("%s %s: p50 %.2f p99 %.2f ms\n", what, when, took[n / 2] / 1e6, took[n - 1 - n / 100] / 1e6);
}

static void tell_gets(struct conn *c, const char *when)
{
	uint64_t took[200];

	for (int i = 0; i < 200; i++)
		took[i] = call(c, "GET", "/api/v1/namespaces/limits", "");
	tell("get", when, took, 200);
}

static void tell_calls(struct conn *c, const char *when, unsigned serial)
{
	uint64_t took[200];
	char body[512], name[64];

	double cpu;

	tell_gets(c, when);
	cpu = cpu_s();
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "call-%u-%d", serial, i);
		put_object(body, sizeof body, name, 64);
		took[i] = call(c, "POST", PATH, body);
	}
	cpu = cpu_s() - cpu;
	tell("create", when, took, 200);
	printf("create %s: server CPU %.0f us each\n", when, cpu * 1e6 / 200);
}

/* --- watches --- */

struct watcher { struct conn *conn; unsigned long events; uint64_t last_ns; struct buf tail; };

static unsigned long served;

static void watched(struct conn *c, int code, const char *body, size_t len)
{
	struct watcher *w = c->user;
	const char *end = body + len;

	if (code != 200)
		give_up("watch: %d %.*s", code, len > 300 ? 300 : (int)len, body);
	for (const char *p = body; p < end && (p = memchr(p, '\n', end - p)); p++) {
		w->events++;
		served++;
	}
	w->last_ns = clock_mono_ns();
	if (len > 600) {
		body += len - 600;
		len = 600;
	}
	w->tail.len = 0;
	buf_append(&w->tail, body, len);
}

static void watch_open(struct watcher *w, const char *query, const char *rv)
{
	char path[512];

	w->conn = conn_open(&pool, watched, w);
	w->conn->streaming = true;
	snprintf(path, sizeof path, PATH "?watch=1&resourceVersion=%s%s", rv, query);
	ask(w->conn, "GET", path, "");
}

static char *version(struct conn *c)
{
	struct call *a = c->user;
	char *at;

	call(c, "GET", PATH "?limit=1", "");
	at = strstr(a->body.data, "\"resourceVersion\":\"");
	if (!at)
		give_up("the list has no resourceVersion");
	return strndup(at + 19, strcspn(at + 19, "\""));
}

static void idle(struct conn *c, unsigned count)
{
	struct watcher *w = calloc(count, sizeof *w);
	own_free char *rv = version(c);
	double before = resident_mib(), cpu;
	uint64_t start;

	tell_calls(c, "without watches", 1);
	start = clock_mono_ns();
	for (unsigned i = 0; i < count; i++) {   // each names an object of its own, as those of volumes and environments do
		watch_open(&w[i], i % 2 ? "&fieldSelector=metadata.name%3Dnone&allowWatchBookmarks=1" : "&labelSelector=all%3Dyes", rv);
		if (i % 100 == 99)   // a connection without a request would be closed
			call(c, "GET", "/api/v1/namespaces/limits", "");
	}
	for (uint64_t end = clock_mono_ns() + NS_PER_S; clock_mono_ns() < end;)
		pool_run(&pool, 100);
	printf("watches: %u, opened in %.1f s, %.1f KiB each\n", count, (clock_mono_ns() - start) / 1e9, (resident_mib() - before) * 1024 / count);
	tell_calls(c, "beside them", 2);
	cpu = cpu_s();
	sleep(5);
	printf("idle: %.2f %% of a core\n", (cpu_s() - cpu) * 20);
	served = 0;
	start = clock_mono_ns();
	call(c, "POST", PATH, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"for-all\",\"labels\":{\"all\":\"yes\"}}}");
	while (served < (count + 1) / 2)
		pool_run(&pool, 1000);
	printf("one change: half of them have it after %.1f ms\n", (clock_mono_ns() - start) / 1e6);
	for (unsigned i = 0; i < count; i++)
		conn_close(w[i].conn);
	free(w);
}

/* --- a slow reader --- */

static void slow(struct conn *c, unsigned mb)
{
	static char body[70000];
	struct watcher lazy = { 0 }, keen = { 0 };
	own_free char *rv = version(c);
	double before, most = 0;
	uint64_t late = 0;
	char digits[16], *serial;
	int quiet = 0;

	lazy.conn = conn_open(&pool, watched, &lazy);
	lazy.conn->streaming = true;
	ask(lazy.conn, "GET", PATH "?watch=1", "");
	while (!lazy.events && quiet++ < 50)
		pool_run(&pool, 20);
	conn_leave(lazy.conn);
	watch_open(&keen, "", rv);
	put_object(body, sizeof body, "big", 65536);
	serial = strstr(body, "xxxx");
	call(c, "POST", PATH, body);
	before = resident_mib();
	for (unsigned i = 0; i < mb * 16; i++) {
		unsigned long had = keen.events;
		uint64_t start = clock_mono_ns();
		snprintf(digits, sizeof digits, "%08u", i);
		memcpy(serial, digits, 8);
		call(c, "PUT", PATH "/big", body);
		while (keen.events == had)
			pool_run(&pool, 1000);
		late = clock_mono_ns() - start > late ? clock_mono_ns() - start : late;
		most = resident_mib() > most ? resident_mib() : most;
	}
	printf("slow: %u MB of changes; the server grew by %.1f MiB; the other watcher had each after at most %.1f ms\n", mb, most - before,
	       late / 1e6);
	conn_enter(lazy.conn);
	for (quiet = 0; quiet < 40 && !(lazy.tail.data && strstr(lazy.tail.data, "\"type\":\"ERROR\"")); quiet++)
		pool_run(&pool, 250);
	printf("slow: read %lu events, then %s\n", lazy.events,
	       lazy.tail.data && strstr(lazy.tail.data, "\"code\":410") ? "was told 410 Expired" : "nothing");
	conn_close(keen.conn);
}

/* --- many objects --- */

struct maker { struct conn *conn; unsigned *next, count, *done; char body[2048]; };

static void make_next(struct maker *m)
{
	char name[32];

	if (*m->next == m->count)
		return;
	snprintf(name, sizeof name, "crowd-%07u", (*m->next)++);
	put_object(m->body, sizeof m->body, name, 1024);
	ask(m->conn, "POST", PATH, m->body);
}

static void made(struct conn *c, int code, const char *body, size_t len)
{
	struct maker *m = c->user;

	if (code != 201)
		give_up("create: %d %.*s", code, len > 300 ? 300 : (int)len, body);
	++*m->done;
	make_next(m);
}

/* A copy of a string value that follows the key. */
static char *text_after(const char *body, const char *key)
{
	const char *at = strstr(body, key);

	return at ? strndup(at + strlen(key), strcspn(at + strlen(key), "\"")) : NULL;
}

/* Listed in parts while objects come and go: those that were there when it began, each once. */
static void list_parts(struct conn *c, unsigned count)
{
	struct call *a = c->user;
	own_free char *token = strdup("");
	uint64_t worst = 0, start = clock_mono_ns(), took;
	unsigned parts = 0, items = 0;
	char path[1024], body[512], name[32];

	do {
		snprintf(path, sizeof path, PATH "?limit=500%s%s", *token ? "&continue=" : "", token);
		took = call(c, "GET", path, "");
		worst = took > worst ? took : worst;
		for (const char *p = a->body.data; (p = strstr(p, "\"name\":\"crowd-")); p++)
			items++;
		parts++;
		a->body.data[a->body.len < 2000 ? a->body.len : 2000] = '\0';
		free(token);
		token = text_after(a->body.data, "\"continue\":\"");
		snprintf(name, sizeof name, "crowd-x%06u", parts);
		put_object(body, sizeof body, name, 64);
		call(c, "POST", PATH, body);
		snprintf(path, sizeof path, PATH "/crowd-%07u", count - parts);
		call(c, "DELETE", path, "");
	} while (token && *token);
	printf("list in parts: %u objects in %u parts, %.1f s, slowest part %.1f ms\n", items, parts, (clock_mono_ns() - start) / 1e9, worst / 1e6);
}

/* Another process lists everything, again and again. */
static void beside_a_list(struct conn *c)
{
	pid_t child = fork();

	if (child < 0)
		give_up("fork failed");
	if (!child) {
		struct call a = { 0 };
		pool_init(&pool, address, port, ca, crt, key);
		for (struct conn *lister = conn_open(&pool, answered, &a);;)
			call(lister, "GET", PATH, "");
	}
	sleep(1);
	tell_gets(c, "while another lists whole");
	printf("then %.1f MiB\n", resident_mib());
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
}

static void crowd(struct conn *c, unsigned count)
{
	struct maker *makers = calloc(WRITERS, sizeof *makers);
	struct call *a = c->user;
	unsigned next = 0, done = 0;
	double before = resident_mib();
	uint64_t start = clock_mono_ns();

	for (int i = 0; i < WRITERS; i++) {
		makers[i] = (struct maker){ .conn = conn_open(&pool, made, &makers[i]), .next = &next, .count = count, .done = &done };
		make_next(&makers[i]);
	}
	while (done < count)
		pool_run(&pool, 1000);
	printf("crowd: %u objects in %.1f s (%.0f /s), %.1f MiB, %.2f KiB each\n", count, (clock_mono_ns() - start) / 1e9,
	       count / ((clock_mono_ns() - start) / 1e9), resident_mib(), (resident_mib() - before) * 1024 / count);
	for (int i = 0; i < WRITERS; i++)
		conn_close(makers[i].conn);
	tell_calls(c, "among them", 3);
	list_parts(c, count);
	start = call(c, "GET", PATH, "");
	printf("list whole: %.1f MB in %.2f s, %.1f MiB\n", a->body.len / 1e6, start / 1e9, resident_mib());
	beside_a_list(c);
	start = call(c, "GET", PATH "?labelSelector=none%3Dsuch", "");
	printf("list with a selector that nothing matches: %.1f ms\n", start / 1e6);
	free(makers);
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(struct conn *c, unsigned count); } runs[] =
		{ { "idle", idle }, { "slow", slow }, { "crowd", crowd } };
	struct rlimit files;
	struct call a = { 0 };
	char *colon;
	struct conn *c;

	if (argc != 6 || !(colon = strrchr(argv[3], ':')) || atoi(argv[2]) < 1)
		give_up("usage: limits idle|slow|crowd COUNT HOST:PORT PKI-FOLDER PID");
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	setvbuf(stdout, NULL, _IOLBF, 0);
	host = strdup(argv[3]);
	*colon = '\0';
	pid = argv[5];
	snprintf(ca, sizeof ca, "%s/ca.crt", argv[4]);
	snprintf(crt, sizeof crt, "%s/admin.crt", argv[4]);
	snprintf(key, sizeof key, "%s/admin.key", argv[4]);
	address = argv[3];
	port = atoi(colon + 1);
	pool_init(&pool, address, port, ca, crt, key);
	c = conn_open(&pool, answered, &a);
	call(c, "POST", "/api/v1/namespaces", "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"limits\"}}");
	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
		if (!strcmp(runs[i].name, argv[1])) {
			runs[i].run(c, atoi(argv[2]));
			return 0;
		}
	give_up("%s: there are idle, slow and crowd", argv[1]);
}
