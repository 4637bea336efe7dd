// SPDX-License-Identifier: Apache-2.0
// `bulkhead supervise`, started by `up`: keeps bulkhead-server, bulkhead-pagerd and bulkhead-hostd of one root running. A child that ends
// is started again, at once the first time, then with a back-off. The VMs are not its children and never end with it.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cidr.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "cli.h"
#include "hostnet.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define STEADY_NS (10 * NS_PER_S)    // a child that ran this long starts afresh
#define STOP_NS (15 * NS_PER_S)
#define DNS_ADDR 10                   // number of the resolver's address in the range of Services
#define UID_BASE 700000                // of the users of VMs; several hosts on one machine have separate ones
#define UIDS 4096
#define LOG_MAX_BYTES (16 << 20)

struct child {
	const char *name;
	const char *argv[32];
	const char *root;              // whose log it writes
	const char *netns;             // NULL: the machine's network
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

static int enter(const char *netns)
{
	char path[64];
	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : setns(fd, CLONE_NEWNET);
}

static void start(struct child *k)
{
	char path[4096], old[4200];
	struct stat st;
	snprintf(path, sizeof(path), "%s/log/%s.log", k->root, k->name);
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
	if (k->netns && enter(k->netns))
		_exit(126);
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

static int watch(struct child *kids, size_t n, const sigset_t *set)
{
	for (;;) {
		uint64_t now = clock_mono_ns(), next = 0;
		for (size_t i = 0; i < n; i++) {
			if (!kids[i].pid && now >= kids[i].restart_at_ns)
				start(&kids[i]);
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

/* Everything that the children's arguments point to. */
struct plan {
	struct cluster cl;
	char server[4096], hostd[4096], pagerd[4096], listen[64], pods[64], port[8], dns[CIDR_TEXT], bootstrap[4096], reason[256];
	const char *engine;
	struct hostnet_host hosts[HOSTS_MAX];
	char host_bootstrap[HOSTS_MAX][160], uid_base[HOSTS_MAX][16];
	struct { char socket[160], store[160], metrics[160]; } pager[HOSTS_MAX];   // of each host
	char memory[16];
	const char *templates, *waiting;
	struct child kids[2 * HOSTS_MAX + 1];
	size_t count;
};

static struct child *add(struct plan *p, const char *name, const char *root)
{
	struct child *k = &p->kids[p->count++];
	k->name = name;
	k->root = root;
	return k;
}

/* NAME, VALUE, ..., NULL */
static void args(struct child *k, const char *program, ...)
{
	va_list list;
	size_t n = 0;
	k->argv[n++] = program;
	va_start(list, program);
	for (const char *a; (a = va_arg(list, const char *)) && n + 1 < sizeof(k->argv) / sizeof(*k->argv);)
		k->argv[n++] = a;
	va_end(list);
}

/* One more option behind them. */
static void arg(struct child *k, const char *name, const char *value)
{
	size_t n = 0;
	while (k->argv[n])
		n++;
	k->argv[n] = name;
	k->argv[n + 1] = value;
}

/* The process behind a host's memory; returns its socket. */
static const char *add_pager(struct plan *p, unsigned n, const char *root, const char *netns)
{
	snprintf(p->pager[n].socket, sizeof(p->pager[n].socket), "%s/run/pager.sock", root);
	snprintf(p->pager[n].store, sizeof(p->pager[n].store), "%s/run/pager.store", root);
	snprintf(p->pager[n].metrics, sizeof(p->pager[n].metrics), "%s/run/metrics", root);
	struct child *k = add(p, "pagerd", root);
	k->netns = netns;
	k->backoff_max_ms = BACKOFF_FIRST_MS;   // whoever faults waits for it
	args(k, p->pagerd, "--control", p->pager[n].socket, "--store", p->pager[n].store, "--memory-mib", p->memory, "--metrics",
	     p->pager[n].metrics, NULL);
	return p->pager[n].socket;
}

static int plan_hosts(struct plan *p, const char *root, struct err *e)
{
	const struct cluster *c = &p->cl;
	int rc = hostnet_make(root, c, e);
	for (unsigned n = 1; n <= c->hosts && !rc; n++) {
		struct hostnet_host *h = &p->hosts[n - 1];
		char log[160];
		hostnet_host(root, c, n, h);
		snprintf(log, sizeof(log), "%s/log", h->root);
		snprintf(p->host_bootstrap[n - 1], sizeof(p->host_bootstrap[0]), "%s/hosts/%u/bootstrap.kubeconfig", root, n);
		snprintf(p->uid_base[n - 1], sizeof(p->uid_base[0]), "%u", UID_BASE + n * UIDS);
		rc = dir_make(log, 0755, e);
		snprintf(log, sizeof(log), "%s/run", h->root);
		if (!rc)
			rc = dir_make(log, 0755, e);
		const char *pager = add_pager(p, n - 1, h->root, h->netns);
		struct child *k = add(p, "hostd", h->root);
		k->netns = h->netns;
		args(k, p->hostd, "--root", h->root, "--node-name", h->name, "--node-addr", h->address, "--kubelet-port", p->port, "--tag", h->tag,
		     "--engine", p->engine, "--bootstrap", p->host_bootstrap[n - 1], "--cluster-cidr", c->cluster_cidr, "--cluster-dns", p->dns,
		     "--vm-uid-base", p->uid_base[n - 1], "--templates", p->templates, "--waiting", p->waiting, "--pager", pager, NULL);
	}
	return rc;
}

static int plan_own(struct plan *p, const char *root, struct err *e)
{
	const struct cluster *c = &p->cl;
	struct cidr range;
	char gateway[CIDR_TEXT];
	if (!cidr_parse(c->service_cidr, &range))
		cidr_addr_text(range.base + DNS_ADDR, p->dns);
	if (cidr_parse(c->pod_cidr, &range))
		return err_set(e, EINVAL, "cluster.json: \"%s\" is no range of pods", c->pod_cidr);
	snprintf(p->pods, sizeof(p->pods), "%s:%u", cidr_addr_text(range.base + 1, gateway), c->api_port);   // the bridge's address
	snprintf(p->listen, sizeof(p->listen), "%s:%u", c->address, c->api_port);
	args(add(p, "server", root), p->server, "--root", root, "--listen", p->listen, "--advertise", c->address, "--node-name", c->node_name,
	     "--node-addr", c->address, "--kubelet-port", p->port, "--store", c->store[0] ? c->store : "sqlite", "--service-cidr", c->service_cidr, "--cluster-cidr", c->cluster_cidr,
	     c->hosts ? NULL : "--pod-listen", p->pods, NULL);   // hosts on a network of their own reach the server there
	if (c->audit_log[0] && strcmp(c->audit_log, "off")) {
		arg(&p->kids[0], "--audit-log", c->audit_log);
		if (c->audit_policy[0])
			arg(&p->kids[0], "--audit-policy", c->audit_policy);
	}
	if (c->hosts)
		return plan_hosts(p, root, e);
	const char *pager = add_pager(p, 0, root, NULL);
	args(add(p, "hostd", root), p->hostd, "--root", root, "--node-name", c->node_name, "--node-addr", c->address, "--kubelet-port", p->port,
	     "--tag", c->tag, "--pod-cidr", c->pod_cidr, "--engine", p->engine, "--cluster-cidr", c->cluster_cidr, "--cluster-dns", p->dns,
	     "--templates", p->templates, "--waiting", p->waiting, "--pager", pager, NULL);
	return 0;
}

static int plan(struct plan *p, const char *root, struct err *e)
{
	const struct cluster *c = &p->cl;
	snprintf(p->server, sizeof(p->server), "%s/bulkhead-server", cli_bin_dir());
	snprintf(p->hostd, sizeof(p->hostd), "%s/bulkhead-hostd", cli_bin_dir());
	snprintf(p->pagerd, sizeof(p->pagerd), "%s/bulkhead-pagerd", cli_bin_dir());
	snprintf(p->memory, sizeof(p->memory), "%u", c->memory_mib);
	p->templates = c->templates[0] ? c->templates : "on";
	p->waiting = c->waiting[0] ? p->cl.waiting : "1";
	snprintf(p->port, sizeof(p->port), "%u", c->kubelet_port);
	p->engine = strcmp(c->engine, "auto") ? c->engine : engine_choose(p->reason, sizeof(p->reason));
	if (!c->server[0])
		return plan_own(p, root, e);
	snprintf(p->bootstrap, sizeof(p->bootstrap), "%.4000s/bootstrap.kubeconfig", root);
	const char *pager = add_pager(p, 0, root, NULL);
	args(add(p, "hostd", root), p->hostd, "--root", root, "--node-name", c->node_name, "--node-addr", c->address, "--kubelet-port", p->port,
	     "--tag", c->tag, "--engine", p->engine, "--bootstrap", p->bootstrap, "--templates", p->templates, "--waiting", p->waiting, "--pager", pager, NULL);
	return 0;
}

int cmd_supervise(struct cli *c)
{
	static struct plan p;
	struct err e = ERR_INIT;
	char path[4096], pid[16];
	if (cluster_load(c->root, &p.cl, &e))
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
	if (plan(&p, c->root, &e))
		return cli_fail(&e);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return watch(p.kids, p.count, &set);
}
