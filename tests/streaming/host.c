// SPDX-License-Identifier: Apache-2.0
// For tests: the kubelet API in front of one pretended pod, default/web, whose agent runs commands on this machine.
//   streaming-host DIR     DIR holds server.crt, server.key, ca.crt; prints its port; ends when stdin ends.
// Containers: main (runs), side (runs), slow (waits: ErrImagePull), gone (has ended, restarted once).
// Lines on stdin: "log TEXT", "err TEXT", "part TEXT" (no newline) add to main's log; "end" ends main.
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "hostd/cri_log.h"
#include "hostd/fake_agent.h"
#include "hostd/streaming.h"

struct host {
	const char *dir;
	atomic_bool ended;
};

static char *path(const char *dir, const char *name)
{
	char *p;
	return asprintf(&p, "%s/%s", dir, name) < 0 ? NULL : p;
}

static int find(void *ctx, const char *ns, const char *pod, const char *uid, const char *container, struct streaming_target *t,
		struct err *e)
{
	struct host *h = ctx;
	if (strcmp(ns, "default") || strcmp(pod, "web") || (*uid && strcmp(uid, "u1")))
		return err_set(e, ENOENT, "pod does not exist");
	if (!container || !*container)
		container = "main";
	bool main_one = !strcmp(container, "main"), gone = !strcmp(container, "gone"), slow = !strcmp(container, "slow");
	if (!main_one && !gone && !slow && strcmp(container, "side"))
		return err_set(e, ENOENT, "container %s not found in pod %s", container, pod);
	*t = (struct streaming_target){
		.vsock_path = path(h->dir, "vsock.sock"),
		.container_id = slow ? NULL : strdup(container),
		.log_dir = slow ? NULL : path(h->dir, container),
		.restart_count = gone ? 1 : 0,
		.running = !gone && !slow && !(main_one && h->ended),
		.stdin_open = main_one,
		.waiting_reason = slow ? strdup("ErrImagePull") : NULL,
	};
	return 0;
}

static json_t *pods(void *ctx)
{
	(void)ctx;
	return json_pack("{s:s, s:s, s:[{s:{s:s}, s:{s:[{s:s, s:{s:{}}}]}}, {s:{s:s}, s:{s:s}}]}", "kind", "PodList", "apiVersion", "v1",
			 "items", "metadata", "name", "web", "status", "containerStatuses", "name", "main", "state", "running",
			 "metadata", "name", "idle", "status", "phase", "Pending");
}

static json_t *stats(void *ctx)
{
	(void)ctx;
	return json_pack("{s:{s:s}}", "node", "nodeName", "test");
}

static char *metrics(void *ctx, const char *which)
{
	(void)ctx;
	char *text;
	return asprintf(&text, "which{is=\"%s\"} 1\n", which) < 0 ? NULL : text;
}

/* The container that has ended: two instances with a line each. */
static void write_gone(const char *dir)
{
	own_free char *p = path(dir, "gone");
	for (unsigned i = 0; i < 2; i++) {
		struct cri_log *l;
		const char *text = i ? "second life\n" : "first life\n";
		if (cri_log_open(p, i, &l, NULL))
			abort();
		cri_log_add(l, 1, 1000000000, CRI_STDOUT, text, strlen(text));
		cri_log_end(l, 2, 1000000000);
		cri_log_commit(l, NULL);
		cri_log_close(l);
	}
}

static void obey(struct host *h, struct cri_log *log)
{
	char *line = NULL;
	size_t cap = 0;
	uint64_t seq = cri_log_seq(log);
	for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
		uint64_t ns = (1700000000ull + ++seq) * 1000000000ull;
		if (!strncmp(line, "log ", 4))
			cri_log_add(log, seq, ns, CRI_STDOUT, line + 4, (size_t)n - 4);
		else if (!strncmp(line, "err ", 4))
			cri_log_add(log, seq, ns, CRI_STDERR, line + 4, (size_t)n - 4);
		else if (!strncmp(line, "part ", 5))
			cri_log_add(log, seq, ns, CRI_STDOUT, line + 5, (size_t)n - 6);
		else if (!strncmp(line, "end", 3))
			cri_log_end(log, seq, ns), h->ended = true;
		cri_log_commit(log, NULL);
	}
	free(line);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	log_init("streaming-host");
	signal(SIGPIPE, SIG_IGN);
	static const struct streaming_ops ops = {.find = find, .pods = pods, .stats_summary = stats, .metrics = metrics};
	struct host h = {.dir = argv[1]};
	own_free char *sock = path(h.dir, "vsock.sock"), *cert = path(h.dir, "server.crt"), *key = path(h.dir, "server.key");
	own_free char *ca = path(h.dir, "ca.crt"), *main_log = path(h.dir, "main");
	const struct streaming_config config = {.listen_addr = "127.0.0.1", .cert_path = cert, .key_path = key, .client_ca_path = ca,
						.ops = &ops, .ctx = &h};
	struct err e = ERR_INIT;
	struct streaming *s;
	struct cri_log *log;
	write_gone(h.dir);
	struct fake_agent *agent = fake_agent_start(sock);
	if (!agent || cri_log_open(main_log, 0, &log, &e) || streaming_start(&config, &s, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	printf("%u\n", streaming_port(s));
	fflush(stdout);
	obey(&h, log);
	streaming_stop(s);
	fake_agent_stop(agent);
	cri_log_close(log);
	return 0;
}
