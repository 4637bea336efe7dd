// SPDX-License-Identifier: Apache-2.0
// `bulkhead supervise`, started by `up`: keeps bulkhead-server, bulkhead-pagerd and bulkhead-hostd of one root running. A child that ends
// is started again, at once the first time, then with a back-off. The VMs are not its children and never end with it.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "cli.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define STEADY_NS (10 * NS_PER_S)    // a child that ran this long starts afresh
#define STOP_NS (15 * NS_PER_S)
#define LOG_MAX_BYTES (16 << 20)

struct child {
	const char *name;
	const char *argv[24];
	pid_t pid;
	uint64_t started_ns, restart_at_ns, backoff_ms;
	uint64_t backoff_max_ms;             // 0: BACKOFF_MAX_MS
};

static int lock_file(const char *root, int flags)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/run/supervise.pid", root);
	return open(path, flags | O_CLOEXEC, 0644);
}

int supervise_running(const char *root)
{
	own_fd int fd = lock_file(root, O_RDWR);
	char text[16] = "";
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

static void start(struct child *k, const char *root)
{
	char path[4096], old[4200];
	struct stat st;
	snprintf(path, sizeof(path), "%s/log/%s.log", root, k->name);
	snprintf(old, sizeof(old), "%s.1", path);
	if (!stat(path, &st) && st.st_size > LOG_MAX_BYTES)
		rename(path, old);
	k->started_ns = clock_mono_ns();
	k->pid = fork();
	if (k->pid < 0) {
		log_error("supervise", "fork: %s", strerror(errno));
		k->pid = 0;
		k->restart_at_ns = k->started_ns + NS_PER_S;
		return;
	}
	if (k->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	execv(k->argv[0], (char *const *)k->argv);
	_exit(127);
}

static void ended(struct child *k, int status)
{
	uint64_t now = clock_mono_ns();
	if (now - k->started_ns >= STEADY_NS)
		k->backoff_ms = 0;
	log_warn("supervise", "%s ended status=%d signal=%d, again in %llu ms", k->name, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		 WIFSIGNALED(status) ? WTERMSIG(status) : 0, (unsigned long long)k->backoff_ms);
	k->pid = 0;
	k->restart_at_ns = now + k->backoff_ms * NS_PER_MS;
	k->backoff_ms = k->backoff_ms ? k->backoff_ms * 2 : BACKOFF_FIRST_MS;
	uint64_t max = k->backoff_max_ms ? k->backoff_max_ms : BACKOFF_MAX_MS;
	if (k->backoff_ms > max)
		k->backoff_ms = max;
}

static void reap(struct child *kids, size_t n)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < n; i++)
			if (kids[i].pid == pid)
				ended(&kids[i], status);
}

static void stop(struct child *k)
{
	uint64_t until = clock_mono_ns() + STOP_NS;
	if (!k->pid)
		return;
	kill(k->pid, SIGTERM);
	while (waitpid(k->pid, NULL, WNOHANG) == 0) {
		if (clock_mono_ns() > until) {
			kill(k->pid, SIGKILL);
			until = UINT64_MAX;
		}
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	k->pid = 0;
}

static int watch(struct child *kids, size_t n, const char *root, const sigset_t *set)
{
	for (;;) {
		uint64_t now = clock_mono_ns(), next = 0;
		for (size_t i = 0; i < n; i++) {
			if (!kids[i].pid && now >= kids[i].restart_at_ns)
				start(&kids[i], root);
			if (!kids[i].pid && (!next || kids[i].restart_at_ns < next))
				next = kids[i].restart_at_ns;
		}
		struct timespec wait = {.tv_sec = 3600};
		if (next) {
			uint64_t ns = next > now ? next - now : 1;
			wait = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
		}
		int sig = sigtimedwait(set, NULL, &wait);
		if (sig == SIGTERM || sig == SIGINT)
			break;
		reap(kids, n);
	}
	for (size_t i = n; i-- > 0;)
		stop(&kids[i]);
	return 0;
}

int cmd_supervise(struct cli *c)
{
	struct cluster cl;
	struct err e = ERR_INIT;
	char path[4096], server[4096], hostd[4096], pagerd[4096], pager_socket[4096], store[4096], metrics[4200], memory[16], listen[64], port[8], pid[16], reason[256];
	if (cluster_load(c->root, &cl, &e))
		return cli_fail(&e);
	own_fd int lock = lock_file(c->root, O_RDWR | O_CREAT);
	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB)) {
		err_sys(&e, errno, "another supervisor works in %s", c->root);
		return cli_fail(&e);
	}
	int n = snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(lock, 0) || pwrite(lock, pid, (size_t)n, 0) != n)
		log_warn("supervise", "pid not written");
	snprintf(path, sizeof(path), "%s/log", c->root);
	dir_make(path, 0755, NULL);
	snprintf(server, sizeof(server), "%s/bulkhead-server", cli_bin_dir());
	snprintf(hostd, sizeof(hostd), "%s/bulkhead-hostd", cli_bin_dir());
	snprintf(pagerd, sizeof(pagerd), "%s/bulkhead-pagerd", cli_bin_dir());
	snprintf(metrics, sizeof(metrics), "%s/run/metrics", c->root);
	snprintf(pager_socket, sizeof(pager_socket), "%s/run/pager.sock", c->root);
	snprintf(store, sizeof(store), "%s/run/pager.store", c->root);
	snprintf(memory, sizeof(memory), "%u", cl.memory_mib);
	snprintf(listen, sizeof(listen), "%s:%u", cl.address, cl.api_port);
	snprintf(port, sizeof(port), "%u", cl.kubelet_port);
	const char *engine = strcmp(cl.engine, "auto") ? cl.engine : engine_choose(reason, sizeof(reason));
	struct child kids[] = {
		{.name = "server", .argv = {server, "--root", c->root, "--listen", listen, "--advertise", cl.address, "--node-name",
					    cl.node_name, "--node-addr", cl.address, "--kubelet-port", port, "--store",
					    cl.store[0] ? cl.store : "sqlite", NULL}},
		{.name = "pagerd", .argv = {pagerd, "--control", pager_socket, "--store", store, "--memory-mib", memory, "--metrics", metrics, NULL},
		 .backoff_max_ms = BACKOFF_FIRST_MS},   // whoever faults waits for it
		{.name = "hostd", .argv = {hostd, "--root", c->root, "--node-name", cl.node_name, "--node-addr", cl.address,
					   "--kubelet-port", port, "--tag", cl.tag, "--pod-cidr", cl.pod_cidr, "--engine", engine, "--templates",
					   cl.templates[0] ? cl.templates : "on", "--pager", pager_socket, NULL}},
	};
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return watch(kids, sizeof(kids) / sizeof(kids[0]), c->root, &set);
}
