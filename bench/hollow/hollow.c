// SPDX-License-Identifier: Apache-2.0
// A cluster of hosts without VMs on one API server: hollow [OPTION]... HOST:PORT PKI-FOLDER PID[,PID...]
// Registers the hosts, fills them with pods, watches a while how they live, and has all of them list and watch anew at once.
// Says after each of these how long calls took, and the CPU time and memory of the server's processes (PIDS).
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "calls.h"
#include "host.h"

#define AT_ONCE 32   // hosts that register, or list, at the same time

static const char usage[] =
	"Usage: hollow [OPTION]... HOST:PORT PKI-FOLDER PID[,PID...]\n"
	"  --hosts N     (1000)\n"
	"  --pods N      of each host (30)\n"
	"  --seconds N   how long to watch them live (30)\n"
	"  --churn N     pods deleted and made anew each second meanwhile (10)\n"
	"  --lease N     seconds between renewals of a host's lease (10)\n"
	"  --status N    seconds between reports of a node's status (60)\n"
	"  --watch-nodes hosts watch all nodes, too\n"
	"  --row FILE    append a line of a table that bench/hollow/run prints\n"
	"  --limit MS    fail when the p99 of a kind of call is more (0: no limit)\n";

static struct { unsigned hosts, pods, seconds, churn, lease, status, limit_ms; bool nodes; } opt =
	{ .hosts = 1000, .pods = 30, .seconds = 30, .churn = 10, .lease = 10, .status = 60 };
static struct pool pool;
static const char *authority, *pids, *row;
static struct host **hosts;
static uint64_t worst;
static const char *worst_call, *worst_phase;

/* --- the server's processes --- */

static double cpu_s(void)
{
	own_free char *list = strdup(pids);
	unsigned long sum = 0, user, sys;
	char *save = NULL, path[64];

	for (char *pid = strtok_r(list, ",", &save); pid; pid = strtok_r(NULL, ",", &save)) {
		snprintf(path, sizeof path, "/proc/%s/stat", pid);
		own_file FILE *f = fopen(path, "r");
		if (f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) == 2)
			sum += user + sys;
	}
	return sum / (double)sysconf(_SC_CLK_TCK);
}

static double memory_mib(void)
{
	own_free char *list = strdup(pids);
	char *save = NULL, path[64], line[128];
	unsigned long sum = 0;

	for (char *pid = strtok_r(list, ",", &save); pid; pid = strtok_r(NULL, ",", &save)) {
		snprintf(path, sizeof path, "/proc/%s/status", pid);
		own_file FILE *f = fopen(path, "r");
		while (f && fgets(line, sizeof line, f))
			if (!strncmp(line, "VmRSS:", 6))
				sum += atol(line + 6);
	}
	return sum / 1024.0;
}

static struct { const char *name; uint64_t start; double cpu; unsigned long events; } phase;
static struct cost { double s, cpu, mib, p99_ms; const char *whose; } filled, lived, followed;

static void begin(const char *name)
{
	phase.name = name;
	phase.start = clock_mono_ns();
	phase.cpu = cpu_s();
	phase.events = host_events();
}

static struct cost end(void)
{
	struct cost c = { .s = (clock_mono_ns() - phase.start) / 1e9, .cpu = cpu_s() - phase.cpu, .mib = memory_mib() };
	uint64_t p99 = calls_tell(phase.name, &c.whose);

	c.p99_ms = p99 / 1e6;
	if (p99 > worst) {
		worst = p99;
		worst_call = c.whose;
		worst_phase = phase.name;
	}
	printf("%s: %.1f s, server CPU %.2f s (%.1f %% of a core), resident %.1f MiB, %lu watch events\n", phase.name, c.s, c.cpu,
	       100 * c.cpu / c.s, c.mib, host_events() - phase.events);
	fflush(stdout);
	return c;
}

/* Growth shows when each figure is told by host or pod. */
static void write_row(void)
{
	own_file FILE *f = fopen(row, "a");
	unsigned pods = opt.hosts * opt.pods;

	if (!f)
		give_up("%s: cannot be written", row);
	fprintf(f, "| %u | %u | %.1f (%.2f) | %.1f (%.1f) | %.2f (%.2f) | %.0f (%.1f) | %.0f: %s | %.0f: %s, %s |\n", opt.hosts, pods, filled.cpu,
		1e3 * filled.cpu / pods, 100 * lived.cpu / lived.s, 1e4 * lived.cpu / lived.s / opt.hosts, followed.cpu,
		1e3 * followed.cpu / opt.hosts, lived.mib, 1024 * lived.mib / pods, lived.p99_ms,
		lived.whose, worst / 1e6, worst_call, worst_phase);
}

/* --- those who make pods and look at them --- */

struct client { struct conn *conn; enum call call; bool busy; };

static void answered(struct conn *c, int code, const char *body, size_t len)
{
	struct client *cl = c->user;

	if (code != 200 && code != 201 && code != 404 && code != 409)
		give_up("client, call %d: %d %.*s", cl->call, code, len > 400 ? 400 : (int)len, body);
	call_took(cl->call, clock_mono_ns() - c->started_ns);
	cl->busy = false;
}

static void client_open(struct client *cl)
{
	*cl = (struct client){ 0 };
	cl->conn = conn_open(&pool, answered, cl);
}

static void client_ask(struct client *cl, enum call call, const char *method, const char *path, const char *body)
{
	char head[512];

	snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
		 "Content-Length: %zu\r\n\r\n", method, path, authority, strlen(body));
	cl->call = call;
	cl->busy = true;
	conn_send(cl->conn, head, body, strlen(body));
}

static void make_pod(struct client *cl, unsigned number)
{
	static char about[1601], body[4096];

	memset(about, 'x', sizeof about - 1);
	snprintf(body, sizeof body, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"pod-%u\",\"labels\":{\"app\":\"app-%u\"},"
		 "\"annotations\":{\"about\":\"%s\"}},\"spec\":{\"automountServiceAccountToken\":false,\"containers\":[{\"name\":\"main\","
		 "\"image\":\"registry.example/app:1\",\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"}}}]}}", number, number % 100, about);
	client_ask(cl, CALL_POD_CREATE, "POST", "/api/v1/namespaces/hollow/pods", body);
}

static void turn(int ms)
{
	static uint64_t ticked;
	uint64_t now;

	pool_run(&pool, ms);
	now = clock_mono_ns();
	if (now - ticked < 10 * NS_PER_MS)
		return;
	ticked = now;
	for (unsigned i = 0; i < opt.hosts; i++)
		host_tick(hosts[i], now);
}

/* --- the phases --- */

/* Have every host do it, some at a time, until all are done. */
static void all_do(void (*act)(struct host *h), bool (*done)(const struct host *h))
{
	uint64_t start = clock_mono_ns();
	unsigned begun = 0;

	for (unsigned i = 0; i < opt.hosts;) {
		while (i < begun && done(hosts[i]))
			i++;
		for (; begun < opt.hosts && begun < i + AT_ONCE; begun++)
			if (act) {
				act(hosts[begun]);
				turn(0);   // handshakes take long; nobody's answer waits for those of all
			}
		if (i < opt.hosts)
			turn(10);
		if (clock_mono_ns() - start > 600 * NS_PER_S)
			give_up("%s: host %u is not done after 10 minutes", phase.name, i);
	}
}

/* Connections that wait for their turn would be closed by the server: each host lists as soon as it is connected. */
static void connect_and_follow(struct host *h)
{
	host_connect(h);
	host_follow(h);
}

static struct cost follow(const char *name)
{
	begin(name);
	all_do(connect_and_follow, host_following);
	return end();
}

static void register_hosts(const struct hosts_setup *setup)
{
	for (unsigned i = 0; i < opt.hosts; i++)
		hosts[i] = host_new(setup, i);
	begin("register");
	all_do(host_register, host_idle);
	end();
}

static unsigned running(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < opt.hosts; i++)
		n += host_running(hosts[i]);
	return n;
}

static void fill(void)
{
	struct client clients[16];
	unsigned made = 0, all = opt.hosts * opt.pods, was = 0;
	uint64_t at;

	begin("fill");
	for (int i = 0; i < 16; i++)
		client_open(&clients[i]);
	for (at = clock_mono_ns(); was < all; turn(10)) {
		unsigned n = running();
		for (int i = 0; i < 16 && made < all; i++)
			if (!clients[i].busy)
				make_pod(&clients[i], made++);
		for (int i = 0; i < 16 && made == all; i++)   // the server would close what is idle
			if (clients[i].conn && !clients[i].busy) {
				conn_close(clients[i].conn);
				clients[i].conn = NULL;
			}
		if (n != was)
			at = clock_mono_ns();
		was = n;
		if (clock_mono_ns() - at > 60 * NS_PER_S)
			give_up("fill: %u of %u pods run, and no more for a minute", was, all);
	}
	printf("fill: %.0f pods/s from made to running\n", all / ((clock_mono_ns() - phase.start) / 1e9));
	filled = end();
}

/* Every second: some pods go and others come, somebody gets a pod and lists the first 500. */
static void live(void)
{
	struct client churn, look;
	unsigned oldest = 0, newest = opt.hosts * opt.pods, done = 0;
	uint64_t start = clock_mono_ns(), now, looks = 0;
	char path[128];

	client_open(&churn);
	client_open(&look);
	begin("live");
	while ((now = clock_mono_ns() - start) < opt.seconds * NS_PER_S) {
		if (!churn.busy && opt.churn && done < now * 2 * opt.churn / NS_PER_S) {
			snprintf(path, sizeof path, "/api/v1/namespaces/hollow/pods/pod-%u", oldest);
			if (done++ % 2)
				make_pod(&churn, newest++);
			else
				client_ask(&churn, CALL_POD_DELETE, "DELETE", path, (oldest++, ""));
		}
		if (!look.busy && looks < now * 4 / NS_PER_S) {
			snprintf(path, sizeof path, "/api/v1/namespaces/hollow/pods/pod-%u", newest - 1);
			client_ask(&look, looks % 4 ? CALL_POD_GET : CALL_LIST_500, "GET", looks % 4 ? path : "/api/v1/pods?limit=500", "");
			looks++;
		}
		turn(10);
	}
	lived = end();
	all_do(NULL, host_idle);
	while (churn.busy || look.busy)
		turn(10);
	conn_close(churn.conn);
	conn_close(look.conn);
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "hosts", required_argument, NULL, 'h' }, { "pods", required_argument, NULL, 'p' }, { "seconds", required_argument, NULL, 's' },
		{ "churn", required_argument, NULL, 'c' }, { "lease", required_argument, NULL, 'l' }, { "status", required_argument, NULL, 't' },
		{ "limit", required_argument, NULL, 'm' }, { "watch-nodes", no_argument, NULL, 'n' },
		{ "row", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (c) {
		case 'h': opt.hosts = atoi(optarg); break;
		case 'p': opt.pods = atoi(optarg); break;
		case 's': opt.seconds = atoi(optarg); break;
		case 'c': opt.churn = atoi(optarg); break;
		case 'l': opt.lease = atoi(optarg); break;
		case 't': opt.status = atoi(optarg); break;
		case 'm': opt.limit_ms = atoi(optarg); break;
		case 'n': opt.nodes = true; break;
		case 'r': row = optarg; break;
		default: give_up("%s", usage);
		}
	if (argc - optind != 3 || !strrchr(argv[optind], ':') || !opt.hosts || !opt.lease || !opt.status)
		give_up("%s", usage);
}

int main(int argc, char **argv)
{
	struct hosts_setup setup = { .pool = &pool, .watches = { "/api/v1/pods?fieldSelector=spec.nodeName%%3D%s", "/api/v1/services",
								 "/apis/discovery.k8s.io/v1/endpointslices" } };
	char ca[512], crt[512], key[512], *address, *colon;
	struct client first;
	const char *whose;

	parse(argc, argv);
	address = argv[optind];
	authority = setup.authority = strdup(address);
	colon = strrchr(address, ':');
	*colon = '\0';
	pids = argv[optind + 2];
	snprintf(ca, sizeof ca, "%s/ca.crt", argv[optind + 1]);
	snprintf(crt, sizeof crt, "%s/admin.crt", argv[optind + 1]);
	snprintf(key, sizeof key, "%s/admin.key", argv[optind + 1]);
	setup.lease_s = opt.lease;
	setup.status_s = opt.status;
	if (opt.nodes)
		strcpy(setup.watches[3], "/api/v1/nodes");
	pool_init(&pool, address, atoi(colon + 1), ca, crt, key);
	hosts = calloc(opt.hosts, sizeof *hosts);
	client_open(&first);
	client_ask(&first, CALL_POD_CREATE, "POST", "/api/v1/namespaces", "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"hollow\"}}");
	while (first.busy)
		pool_run(&pool, 100);
	calls_tell("first", &whose);
	conn_close(first.conn);   // the server would, after two minutes
	printf("start: %u hosts with %u pods each, resident %.1f MiB\n", opt.hosts, opt.pods, memory_mib());
	register_hosts(&setup);
	follow("follow");
	fill();
	live();
	followed = follow("follow again");
	if (row)
		write_row();
	if (opt.limit_ms && worst > opt.limit_ms * NS_PER_MS)
		give_up("the p99 of some call is %.0f ms, more than %u", worst / 1e6, opt.limit_ms);
	return 0;
}
