// SPDX-License-Identifier: Apache-2.0
// Measures a Kubernetes API server, any: load HOST:PORT PKI-FOLDER PIDS. PKI-FOLDER: ca.crt, admin.crt, admin.key; PIDS: the
// server's processes, with commas between, for their memory. Pods of 2.5 kB in the namespace "bench", which it makes.
// One figure per line: NAME VALUE UNIT. With LOAD_QUICK set, a tenth of the work. LOAD_ONLY: which of "get status list watch bind
// delete idle" to measure (all). LOAD_CHANGES: of the burst to the watchers (4000). LOAD_TURN=N: changes only, about a second, with
// names that no other N has (run's TURNS).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "conn.h"

static struct pool pool;
static const char *host, *pids;
static unsigned scale = 1;

/* --- requests --- */

static char padding[1800];

static size_t pod_json(char *out, size_t max, const char *name, bool bound)
{
	return snprintf(out, max, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"bench\","
			"\"labels\":{\"app\":\"bench\",\"tier\":\"load\"},\"annotations\":{\"about\":\"%s\"}},\"spec\":{%s"
			"\"schedulerName\":\"%s\",\"terminationGracePeriodSeconds\":0,\"automountServiceAccountToken\":false,"
			"\"containers\":[{\"name\":\"main\",\"image\":\"registry.example/app:1\",\"resources\":{\"requests\":{\"cpu\":\"1m\","
			"\"memory\":\"1Mi\"}},\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"2\"}]}]}}", name, padding,
			bound ? "\"nodeName\":\"nowhere\"," : "", bound ? "nobody" : "default-scheduler");
}

static void send_request(struct conn *c, const char *method, const char *path, const char *type, const char *body, size_t len)
{
	char head[1024];

	snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nUser-Agent: load/1\r\n"
		 "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n", method, path, host, type, len);
	conn_send(c, head, body, len);
}

/* --- one request at a time, for what is not measured --- */

struct single { bool done; int code; struct buf body; };

static void single_answered(struct conn *c, int code, const char *body, size_t len)
{
	struct single *s = c->user;

	s->done = true;
	s->code = code;
	s->body.len = 0;
	buf_append(&s->body, body, len);
}

static int single(const char *method, const char *path, const char *body, struct buf *out)
{
	struct single s = { 0 };
	struct conn *c = conn_open(&pool, single_answered, &s);

	send_request(c, method, path, "application/json", body, strlen(body));
	while (!s.done)
		pool_run(&pool, 100);
	conn_close(c);
	if (out)
		*out = s.body;
	else
		buf_fini(&s.body);
	return s.code;
}

/* --- closed loops --- */

enum op { CREATE, GET, STATUS, DELETE, CREATE_FREE };
static const char *const op_names[] = { "create", "get", "status", "delete", "create-free" };

struct run {
	enum op op;
	unsigned next, count, done, base, modulo;
	uint64_t *took;
};

static void next_request(struct conn *c)
{
	static const char status[] = "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.%u\",\"conditions\":[{\"type\":\"Ready\","
				     "\"status\":\"%s\"}],\"message\":\"n %u\"}}";
	static const char gone[] = "{\"gracePeriodSeconds\":0}";
	static unsigned serial;   // no two status updates say the same: what changes nothing makes no event
	struct run *r = c->user;
	unsigned i = r->base + (r->modulo ? (r->next * 7919u) % r->modulo : r->next), n = r->next;
	char name[32], path[256], body[4096];
	size_t len = 0;

	if (r->next == r->count)
		return;
	r->next++;
	snprintf(name, sizeof name, r->op == CREATE_FREE ? "free-%u" : "pod-%u", i);
	snprintf(path, sizeof path, "/api/v1/namespaces/bench/pods/%s%s", r->op == CREATE || r->op == CREATE_FREE ? "" : name,
		 r->op == STATUS ? "/status" : "");
	switch (r->op) {
	case CREATE:
	case CREATE_FREE:
		path[strlen(path) - 1] = '\0';
		len = pod_json(body, sizeof body, name, r->op == CREATE);
		send_request(c, "POST", path, "application/json", body, len);
		break;
	case GET:
		send_request(c, "GET", path, "application/json", "", 0);
		break;
	case STATUS:
		len = snprintf(body, sizeof body, status, n % 250, n & 1 ? "True" : "False", ++serial);
		send_request(c, "PATCH", path, "application/merge-patch+json", body, len);
		break;
	case DELETE:
		send_request(c, "DELETE", path, "application/json", gone, sizeof gone - 1);
		break;
	}
}

static void run_answered(struct conn *c, int code, const char *body, size_t len)
{
	struct run *r = c->user;

	if (code != 200 && code != 201)
		give_up("%s: %d %.*s", op_names[r->op], code, len > 400 ? 400 : (int)len, body);
	r->took[r->done++] = clock_mono_ns() - c->started_ns;
	next_request(c);
}

static int cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned long ticks(void);

static void closed_loop(enum op op, unsigned connections, unsigned base, unsigned count, unsigned modulo, bool tell)
{
	struct run r = { .op = op, .base = base, .count = count, .modulo = modulo, .took = calloc(count, sizeof *r.took) };
	struct conn **conns = calloc(connections, sizeof *conns);
	unsigned long cpu;
	uint64_t start;

	for (unsigned i = 0; i < connections; i++)
		conns[i] = conn_open(&pool, run_answered, &r);
	cpu = ticks();
	start = clock_mono_ns();
	for (unsigned i = 0; i < connections; i++)
		next_request(conns[i]);
	while (r.done < count)
		pool_run(&pool, 1000);
	start = clock_mono_ns() - start;
	qsort(r.took, count, sizeof *r.took, cmp);
	if (tell)
		printf("%s/%u %.0f /s (p50 %.2f p99 %.2f ms, server CPU %.0f us each)\n", op_names[op], connections, count / (start / 1e9),
		       r.took[count / 2] / 1e6, r.took[count - 1 - count / 100] / 1e6,
		       (ticks() - cpu) * 1e6 / sysconf(_SC_CLK_TCK) / count);
	fflush(stdout);
	for (unsigned i = 0; i < connections; i++)
		conn_close(conns[i]);
	free(conns);
	free(r.took);
}

/* --- LIST --- */

static void list(const char *name, const char *query)
{
	uint64_t took[9];
	size_t bytes = 0;
	char path[128];

	snprintf(path, sizeof path, "/api/v1/namespaces/bench/pods%s", query);
	for (int i = 0; i < 9; i++) {
		uint64_t start = clock_mono_ns();
		struct buf b;
		if (single("GET", path, "", &b) != 200)
			give_up("list: %.200s", b.data);
		took[i] = clock_mono_ns() - start;
		bytes = b.len;
		buf_fini(&b);
	}
	qsort(took, 9, sizeof *took, cmp);
	printf("%s %.1f ms (%.1f MB)\n", name, took[4] / 1e6, bytes / 1e6);
	fflush(stdout);
}

/* --- watches --- */

struct watcher { uint64_t events, last_ns; unsigned objects; bool in_line; };

/* Count the lines: one event each. */
static void watched(struct conn *c, int code, const char *body, size_t len)
{
	struct watcher *w = c->user;
	const char *end = body + len;

	if (code != 200)
		give_up("watch: %d %.*s", code, len > 200 ? 200 : (int)len, body);
	for (const char *nl; body < end && (nl = memchr(body, '\n', end - body)); body = nl + 1)
		w->events++;
	w->last_ns = clock_mono_ns();
}

static unsigned long total(const struct watcher *w, unsigned n)
{
	unsigned long sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += w[i].events;
	return sum;
}

static char *current_version(void)
{
	struct buf b;
	char *at, *rv;

	single("GET", "/api/v1/namespaces/bench/pods?limit=1", "", &b);
	at = strstr(b.data, "\"resourceVersion\":\"");
	if (!at)
		give_up("the list has no resourceVersion");
	rv = strndup(at + 19, strcspn(at + 19, "\""));
	buf_fini(&b);
	return rv;
}

static uint64_t own_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void watches(unsigned n, unsigned pods)
{
	struct watcher *w = calloc(n, sizeof *w);
	struct conn **conns = calloc(n, sizeof *conns);
	own_free char *rv = current_version();
	const char *wish = getenv("LOAD_CHANGES");
	unsigned changes = wish ? strtoul(wish, NULL, 10) : 4000 / scale;
	struct run burst = { .op = STATUS, .count = changes, .modulo = pods, .took = calloc(changes + 1, sizeof *burst.took) };
	uint64_t took[21], start, last, own;
	unsigned long cpu;
	char path[256];

	snprintf(path, sizeof path, "/api/v1/namespaces/bench/pods?watch=1&resourceVersion=%s", rv);
	for (unsigned i = 0; i < n; i++) {
		conns[i] = conn_open(&pool, watched, &w[i]);
		conns[i]->streaming = true;
		send_request(conns[i], "GET", path, "application/json", "", 0);
	}
	for (start = clock_mono_ns(); clock_mono_ns() - start < NS_PER_S;)
		pool_run(&pool, 100);
	for (int i = 0; i < 21; i++) {   // one change at a time: when has the last one seen it?
		unsigned long before = total(w, n);
		struct run one = { .op = STATUS, .base = i, .count = 1, .took = took + i };
		struct conn *c = conn_open(&pool, run_answered, &one);
		start = clock_mono_ns();
		next_request(c);
		while (!one.done || total(w, n) < before + n)
			pool_run(&pool, 1000);
		for (unsigned k = last = 0; k < n; k++)
			last = w[k].last_ns > last ? w[k].last_ns : last;
		took[i] = last - start;
		conn_close(c);
	}
	qsort(took, 21, sizeof *took, cmp);
	printf("watch-last-of-%u %.2f ms (max %.2f)\n", n, took[10] / 1e6, took[20] / 1e6);
	fflush(stdout);
	unsigned long before = total(w, n);
	struct conn *writers[16];
	for (int i = 0; i < 16; i++)
		writers[i] = conn_open(&pool, run_answered, &burst);
	cpu = ticks();
	own = own_cpu_ns();
	start = clock_mono_ns();
	for (int i = 0; i < 16; i++)
		next_request(writers[i]);
	while (burst.done < burst.count || total(w, n) < before + (unsigned long)n * burst.count)
		pool_run(&pool, 1000);
	start = clock_mono_ns() - start;
	printf("watch-burst %.0f events/s (%u changes to %u watchers; CPU for each: server %.2f us, load %.2f us)\n",
	       n * (double)burst.count / (start / 1e9), burst.count, n, (ticks() - cpu) * 1e6 / sysconf(_SC_CLK_TCK) / burst.count / n,
	       (own_cpu_ns() - own) / 1e3 / burst.count / n);
	fflush(stdout);
	for (int i = 0; i < 16; i++)
		conn_close(writers[i]);
	for (unsigned i = 0; i < n; i++)
		conn_close(conns[i]);
	free(burst.took);
	free(conns);
	free(w);
}

/* --- the scheduler --- */

static void make_nodes(unsigned n)
{
	char body[2048], path[128];

	for (unsigned i = 0; i < n; i++) {
		snprintf(body, sizeof body, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-%u\"}}", i);
		single("POST", "/api/v1/nodes", body, NULL);
		snprintf(path, sizeof path, "/api/v1/nodes/node-%u/status", i);
		snprintf(body, sizeof body, "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-%u\"},\"status\":{\"capacity\":{\"cpu\":"
			 "\"64\",\"memory\":\"256Gi\",\"pods\":\"1000\"},\"allocatable\":{\"cpu\":\"64\",\"memory\":\"256Gi\",\"pods\":\"1000\"},"
			 "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}", i);
		if (single("PUT", path, body, NULL) != 200)
			give_up("the status of node-%u was refused", i);
	}
}

/* Free pods are created by 16 connections; how long until the last is bound? */
static void bind(unsigned nodes, unsigned count)
{
	struct buf b;
	uint64_t start;
	unsigned bound = 0;

	make_nodes(nodes);
	start = clock_mono_ns();
	closed_loop(CREATE_FREE, 16, 0, count, 0, false);
	while (bound < count) {
		bound = 0;
		usleep(5000);
		single("GET", "/api/v1/namespaces/bench/pods?fieldSelector=spec.nodeName%3D&limit=1", "", &b);
		if (!strstr(b.data, "\"items\":[{") && !strstr(b.data, "\"items\": [{"))
			bound = count;
		buf_fini(&b);
		if (clock_mono_ns() - start > 300 * NS_PER_S)
			give_up("pods are not bound");
	}
	printf("bind %.0f /s (%u pods on %u nodes, creation included)\n", count / ((clock_mono_ns() - start) / 1e9), count, nodes);
	fflush(stdout);
}

/* --- the processes --- */

static void memory(const char *name)
{
	own_free char *list_of = strdup(pids);
	char *save = NULL;
	unsigned long sum = 0;

	for (char *pid = strtok_r(list_of, ",", &save); pid; pid = strtok_r(NULL, ",", &save)) {
		char path[64], line[128];
		snprintf(path, sizeof path, "/proc/%s/status", pid);
		own_file FILE *f = fopen(path, "r");
		while (f && fgets(line, sizeof line, f))
			if (!strncmp(line, "VmRSS:", 6))
				sum += atol(line + 6);
	}
	printf("%s %.1f MiB\n", name, sum / 1024.0);
	fflush(stdout);
}

static unsigned long ticks(void)
{
	own_free char *list_of = strdup(pids);
	char *save = NULL;
	unsigned long sum = 0, user, system;

	for (char *pid = strtok_r(list_of, ",", &save); pid; pid = strtok_r(NULL, ",", &save)) {
		char path[64];
		snprintf(path, sizeof path, "/proc/%s/stat", pid);
		own_file FILE *f = fopen(path, "r");
		if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
			sum += user + system;
	}
	return sum;
}

static void idle_cpu(unsigned seconds)
{
	unsigned long before = ticks();

	sleep(seconds);
	printf("idle-cpu %.2f %% of a core (%u s)\n", (ticks() - before) * 100.0 / sysconf(_SC_CLK_TCK) / seconds, seconds);
	fflush(stdout);
}

static bool wanted(const char *part)
{
	const char *only = getenv("LOAD_ONLY");

	return !only || strstr(only, part);
}

/* Changes by 1, 16 and 64 connections; what was made is gone again at the end. */
static void one_turn(unsigned number)
{
	static const unsigned widths[] = { 1, 16, 64 }, counts[] = { 500, 1500, 1500 };
	unsigned first = number * 10000;

	for (int i = 0; i < 3; i++) {
		closed_loop(CREATE, widths[i], first, counts[i], 0, true);
		first += counts[i];
	}
	closed_loop(STATUS, 1, first - 500, 500, 0, true);
	closed_loop(STATUS, 16, first - 1500, 1500, 0, true);
	closed_loop(DELETE, 16, number * 10000, 1500, 0, true);
	closed_loop(DELETE, 64, number * 10000 + 1500, 2000, 0, false);
}

int main(int argc, char **argv)
{
	static const unsigned widths[] = { 1, 16, 64 };
	char ca[512], crt[512], key[512], *colon;
	unsigned pods, at = 0;

	if (argc != 4 || !(colon = strrchr(argv[1], ':')))
		give_up("usage: load HOST:PORT PKI-FOLDER PID[,PID...]");
	scale = getenv("LOAD_QUICK") ? 10 : 1;
	pods = 5000 / scale;
	host = strdup(argv[1]);
	*colon = '\0';
	pids = argv[3];
	memset(padding, 'x', sizeof padding - 1);
	snprintf(ca, sizeof ca, "%s/ca.crt", argv[2]);
	snprintf(crt, sizeof crt, "%s/admin.crt", argv[2]);
	snprintf(key, sizeof key, "%s/admin.key", argv[2]);
	pool_init(&pool, argv[1], atoi(colon + 1), ca, crt, key);
	single("POST", "/api/v1/namespaces", "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"bench\"}}", NULL);
	single("POST", "/api/v1/nodes", "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"nowhere\"}}", NULL);
	if (getenv("LOAD_TURN")) {
		one_turn(atoi(getenv("LOAD_TURN")));
		return 0;
	}
	memory("rss-empty");
	for (int i = 0; i < 3; i++) {
		closed_loop(CREATE, widths[i], at, pods / 5 * (i + 1), 0, true);   // 1000, 2000, 3000
		at += pods / 5 * (i + 1);
	}
	closed_loop(DELETE, 16, pods, pods / 5, 0, false);   // down to 5000
	memory("rss-5000-pods");
	for (int i = 0; i < 3 && wanted("get"); i++)
		closed_loop(GET, widths[i], 0, (i ? 30000 : 8000) / scale, pods, true);
	for (int i = 0; i < 3 && wanted("status"); i++)
		closed_loop(STATUS, widths[i], 0, (i ? 8000 : 2000) / scale, pods, true);
	if (wanted("list")) {
		list("list", "");
		list("list-rv0", "?resourceVersion=0");
	}
	if (wanted("watch"))
		watches(100, pods);
	memory("rss-after");
	if (wanted("bind"))
		bind(20, 1000 / scale);
	for (int i = 0, from = 0; i < 3 && wanted("delete"); i++) {
		unsigned count = i ? pods * 2 / 5 : pods / 10;
		closed_loop(DELETE, widths[i], from, count, 0, true);
		from += count;
	}
	if (wanted("idle"))
		idle_cpu(scale > 1 ? 3 : 20);
	return 0;
}
