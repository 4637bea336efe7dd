// SPDX-License-Identifier: Apache-2.0
// A thread of its own reads each node's /stats/summary with the server's kubelet certificate; what containers use per second
// is the difference of two readings.
#include "server/metrics.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/client.h"
#include "server/map.h"
#include "server/metrics_memory.h"
#include "server/registry.h"
#include "server/request.h"

#define PERIOD_NS (15 * NS_PER_S)
#define FIRST_GAP_NS (2 * NS_PER_S)     // between the first two readings
#define RECENT_NS (60 * NS_PER_S)
#define WANTED_NS (90 * NS_PER_S)       // after the last one who asked
#define ANSWER_MS 10000
#define WAITERS_MAX 1024

struct reading { uint64_t at_ns, cpu_ns; };

struct metrics {
	struct server *srv;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	uint64_t wanted_until_ns;       // monotonic
	json_t *known;                  // as metrics_recent gives it
	uint64_t known_ns;
	struct request *waiters[WAITERS_MAX];
	size_t waiting;
	struct map readings;            // the thread's: "node/X", "ns/pod/container" -> struct reading
	struct map clients;             // the thread's: "name@address:port" -> struct k8s_client
};

/* --- nodes --- */

/* A client for one node: a kubeconfig of its own, never on disk. */
static struct k8s_client *client_of(struct metrics *m, const json_t *node)
{
	const char *address = NULL;
	char key[400], text[4096], path[64];
	json_t *a;
	size_t i;

	json_array_foreach(jpath_get(node, "status.addresses"), i, a)
		if (!strcmp(jpath_str(a, "type", ""), "InternalIP") && !address)
			address = jpath_str(a, "address", NULL);
	if (!address)
		return NULL;
	int port = (int)jpath_int(node, "status.daemonEndpoints.kubeletEndpoint.Port", m->srv->kubelet_port);
	snprintf(key, sizeof key, "%s:%d", address, port);
	struct k8s_client *c = map_get(&m->clients, key);
	if (c)
		return c;
	int n = snprintf(text, sizeof text, "apiVersion: v1\nkind: Config\ncurrent-context: n\nclusters:\n- name: n\n  cluster:\n    server: %s%s%s%d\n"
			 "    certificate-authority: %s/pki/ca.crt\ncontexts:\n- name: n\n  context: {cluster: n, user: n}\nusers:\n- name: n\n  user:\n"
			 "    client-certificate: %s/pki/kubelet-client.crt\n    client-key: %s/pki/kubelet-client.key\n",
			 strchr(address, ':') ? "https://[" : "https://", address, strchr(address, ':') ? "]:" : ":", port, m->srv->root, m->srv->root,
			 m->srv->root);
	own_fd int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
	if (n >= (int)sizeof text || fd < 0 || write(fd, text, (size_t)n) != n)
		return NULL;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (k8s_client_open(path, &c, NULL))
		return NULL;
	if (map_put(&m->clients, key, c)) {
		k8s_client_close(c);
		return NULL;
	}
	return c;
}

/* --- readings --- */

/* Billionths of a processor since the last reading, or -1: this is the first. */
static long long rate(struct metrics *m, const char *key, uint64_t now, uint64_t cpu_ns, uint64_t *window_ns)
{
	struct reading *r = map_get(&m->readings, key);
	long long out = -1;

	if (r && now > r->at_ns && cpu_ns >= r->cpu_ns) {
		*window_ns = now - r->at_ns;
		out = (long long)((double)(cpu_ns - r->cpu_ns) * 1e9 / (double)*window_ns);
	}
	if (!r) {
		r = calloc(1, sizeof *r);
		if (!r || map_put(&m->readings, key, r)) {
			free(r);
			return -1;
		}
	}
	*r = (struct reading){ now, cpu_ns };
	return out;
}

/* about: of a node or container in its summary. */
static json_t *usage(long long cpu, const json_t *about)
{
	char c[32], b[32], w[32];
	long long swap = jpath_int(about, "swap.swapUsageBytes", -1);

	snprintf(c, sizeof c, "%lldn", cpu);
	snprintf(b, sizeof b, "%lldKi", jpath_int(about, "memory.workingSetBytes", 0) >> 10);
	snprintf(w, sizeof w, "%lldKi", swap >> 10);
	return json_pack("{s:s,s:s,s:s*}", "cpu", c, "memory", b, "swap", swap < 0 ? NULL : w);
}

/* What the VMs' memory is; see metrics_memory.h. */
static void annotate(json_t *out, const struct metrics_memory *m)
{
	json_t *said = metrics_memory_annotations(m);

	if (said)
		json_object_set_new(out, "annotations", said);
}

static json_t *stamped(uint64_t window_ns)
{
	char now[CLOCK_TEXT_MAX], window[32];

	snprintf(window, sizeof window, "%.3fs", (double)window_ns / 1e9);
	return json_pack("{s:s,s:s}", "timestamp", clock_text(clock_real_ns(), 0, now), "window", window);
}

static void take_pod(struct metrics *m, const json_t *p, uint64_t now, json_t *pods)
{
	const char *ns = jpath_str(p, "podRef.namespace", ""), *name = jpath_str(p, "podRef.name", "");
	json_t *containers = json_array(), *c;
	struct metrics_memory memory = { 0 };
	uint64_t window = 0;
	bool complete = true;
	char key[600];
	size_t i;

	json_array_foreach(json_object_get(p, "containers"), i, c) {
		snprintf(key, sizeof key, "%.63s/%.253s/%.63s", ns, name, jpath_str(c, "name", ""));
		long long cpu = rate(m, key, now, (uint64_t)jpath_int(c, "cpu.usageCoreNanoSeconds", 0), &window);
		complete &= cpu >= 0;
		json_array_append_new(containers, json_pack("{s:s,s:o}", "name", jpath_str(c, "name", ""), "usage",
							    usage(cpu, c)));
	}
	if (complete && json_array_size(containers)) {
		json_t *out = stamped(window);
		json_object_set(out, "containers", containers);
		metrics_memory_add(&memory, p);
		annotate(out, &memory);
		snprintf(key, sizeof key, "%.63s/%.253s", ns, name);
		json_object_set_new(pods, key, out);
	}
	json_decref(containers);
}

static void read_node(struct metrics *m, const json_t *node, json_t *nodes, json_t *pods)
{
	struct k8s_client *c = client_of(m, node);
	const char *name = jpath_str(node, "metadata.name", "");
	own_json json_t *summary = NULL;
	struct metrics_memory memory = { 0 };
	struct err e = ERR_INIT;
	uint64_t window = 0;
	char key[300];
	json_t *p;
	size_t i;

	if (!c || k8s_client_call(c, "GET", "/stats/summary", NULL, NULL, ANSWER_MS, &summary, &e)) {
		log_limited(LOG_LEVEL_WARN, "metrics", "node=%s does not say what it uses: %s", name, c ? e.text : "it has no address");
		return;
	}
	uint64_t now = clock_mono_ns();
	snprintf(key, sizeof key, "node/%.253s", name);
	long long cpu = rate(m, key, now, (uint64_t)jpath_int(summary, "node.cpu.usageCoreNanoSeconds", 0), &window);
	if (cpu >= 0) {
		json_t *out = stamped(window);
		json_object_set_new(out, "usage", usage(cpu, json_object_get(summary, "node")));
		json_array_foreach(json_object_get(summary, "pods"), i, p)
			metrics_memory_add(&memory, p);
		annotate(out, &memory);
		json_object_set_new(nodes, name, out);
	}
	json_array_foreach(json_object_get(summary, "pods"), i, p)
		take_pod(m, p, now, pods);
}

/* What is no more must not stay for ever. */
static void forget_old(struct metrics *m, uint64_t now)
{
	struct map kept = MAP_INIT;
	const char *key;
	struct reading *r;
	size_t pos = 0;

	while ((r = map_next(&m->readings, &pos, &key)))
		if (now - r->at_ns > RECENT_NS || map_put(&kept, key, r))
			free(r);
	map_fini(&m->readings, NULL);
	m->readings = kept;
}

/* Ask all nodes. True: there is something to show. */
static bool read_all(struct metrics *m)
{
	json_t *nodes = json_object(), *pods = json_object(), *known = json_pack("{s:o,s:o}", "nodes", nodes, "pods", pods);
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (!store_list(m->srv->store, reg_prefix(k8s_kind_find("", "v1", "nodes"), NULL, prefix), NULL, 0, 0, &l)) {
		for (size_t i = 0; i < l.count && !m->stop; i++) {
			own_json json_t *node = obj_json(l.objs[i]);
			read_node(m, node, nodes, pods);
		}
		store_list_fini(&l);
	}
	forget_old(m, clock_mono_ns());
	bool some = json_object_size(nodes) || json_object_size(pods);
	pthread_mutex_lock(&m->lock);
	if (some) {
		json_decref(m->known);
		m->known = json_incref(known);
		m->known_ns = clock_mono_ns();
	}
	pthread_mutex_unlock(&m->lock);
	json_decref(known);
	return some;
}

/* Under the lock. */
static void wake_waiters(struct metrics *m)
{
	for (size_t i = 0; i < m->waiting; i++)
		request_wake(m->waiters[i]);
	m->waiting = 0;
}

static void pause_until(struct metrics *m, uint64_t mono_ns)
{
	uint64_t now = clock_mono_ns();
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	uint64_t at = (uint64_t)until.tv_sec * NS_PER_S + (uint64_t)until.tv_nsec + (mono_ns > now ? mono_ns - now : 0);
	until = (struct timespec){ .tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S) };
	while (!m->stop && pthread_cond_timedwait(&m->wake, &m->lock, &until) != ETIMEDOUT && clock_mono_ns() < mono_ns)
		;
}

static void *run(void *arg)
{
	struct metrics *m = arg;

	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		uint64_t start = clock_mono_ns();
		if (start > m->wanted_until_ns) {
			pthread_cond_wait(&m->wake, &m->lock);
			continue;
		}
		pthread_mutex_unlock(&m->lock);
		bool some = read_all(m);
		pthread_mutex_lock(&m->lock);
		bool first = !some && start - m->known_ns > RECENT_NS;
		if (some || !first)
			wake_waiters(m);
		if (first && m->waiting)
			m->known_ns = start - RECENT_NS + FIRST_GAP_NS * 2;   // one more try, then whoever waits is told that there is nothing
		pause_until(m, start + (first ? FIRST_GAP_NS : PERIOD_NS));
	}
	wake_waiters(m);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

json_t *metrics_recent(struct metrics *m)
{
	uint64_t now = clock_mono_ns();
	json_t *out = NULL;

	pthread_mutex_lock(&m->lock);
	if (m->known && now - m->known_ns <= RECENT_NS)
		out = json_incref(m->known);
	if (now > m->wanted_until_ns)
		pthread_cond_signal(&m->wake);
	m->wanted_until_ns = now + WANTED_NS;
	pthread_mutex_unlock(&m->lock);
	return out;
}

void metrics_await(struct metrics *m, struct request *r, void (*resume)(struct request *r))
{
	pthread_mutex_lock(&m->lock);
	bool now = m->stop || m->waiting == WAITERS_MAX;
	if (!now) {
		request_suspend(r, resume);
		m->waiters[m->waiting++] = r;
	}
	pthread_mutex_unlock(&m->lock);
	if (now)
		resume(r);
}

int metrics_start(struct server *srv, struct metrics **out, struct err *e)
{
	struct metrics *m = calloc(1, sizeof *m);

	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	m->srv = srv;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->wake, NULL);
	int r = pthread_create(&m->thread, NULL, run, m);
	if (r) {
		free(m);
		return err_sys(e, r, "metrics");
	}
	*out = m;
	return 0;
}

void metrics_stop(struct metrics *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	wake_waiters(m);
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
}

static void close_client(void *c)
{
	k8s_client_close(c);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	map_fini(&m->readings, free);
	map_fini(&m->clients, close_client);
	json_decref(m->known);
	free(m);
}
