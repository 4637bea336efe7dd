// SPDX-License-Identifier: Apache-2.0
// `bulkhead up`: choose what is not chosen yet, start the supervisor unless it runs, wait until the API answers and the
// node is Ready.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"
#include "hostnet.h"
#include "k8s/client.h"

#define WAIT_NS (180 * NS_PER_S)
#define CLONES_WAITING_MAX 16      // as hostd

static void say(const struct cli *c, const char *text)
{
	if (!c->json)
		fprintf(stderr, "%s\n", text);
}

int up_start_supervisor(const char *root, struct err *e)
{
	char path[4096], self[4096];
	snprintf(path, sizeof(path), "%s/run", root);
	int rc = dir_make(path, 0755, e);
	if (!rc) {
		snprintf(path, sizeof(path), "%s/log", root);
		rc = dir_make(path, 0755, e);
	}
	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/log/supervise.log", root);
	snprintf(self, sizeof(self), "%s/bulkhead", cli_bin_dir());
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "fork");
	if (pid == 0) {
		setsid();
		if (fork())
			_exit(0);
		int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
		dup2(null, 0);
		dup2(log, 1);
		dup2(log, 2);
		close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
		if (chdir("/"))
			_exit(126);
		execl(self, "bulkhead", "supervise", "--root", root, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

/* The last line of a log, for what went wrong. */
static void last_line(const char *root, const char *name, char *out, size_t len)
{
	char path[4096];
	own_buf struct buf text = BUF_INIT;
	snprintf(path, sizeof(path), "%s/log/%s.log", root, name);
	snprintf(out, len, "see log/%s.log", name);
	if (file_read(path, 64 << 20, &text, NULL) || !text.len)
		return;
	while (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	char *nl = strrchr(text.data, '\n');
	snprintf(out, len, "log/%s.log says: %.300s", name, nl ? nl + 1 : text.data);
}

static bool node_ready(const json_t *node)
{
	size_t i;
	json_t *cond;
	json_array_foreach(jpath_get(node, "status.conditions"), i, cond)
		if (!strcmp(jpath_str(cond, "type", ""), "Ready") && !strcmp(jpath_str(cond, "status", ""), "True"))
			return true;
	return false;
}

static int not_ready(const char *root, bool answered, const char *node, struct err *e)
{
	char last[512];
	last_line(root, answered ? "hostd" : "server", last, sizeof(last));
	return err_set(e, ETIMEDOUT, answered ? "node %s did not become Ready within %llu s; %s" : "the API server did not answer for node %s within "
		       "%llu s; %s", node, (unsigned long long)(WAIT_NS / NS_PER_S), last);
}

int up_wait_node(const char *config_root, const char *host_root, const char *name, struct err *e)
{
	char configs[2][4096], path[512];
	uint64_t end = clock_mono_ns() + WAIT_NS;
	struct k8s_client *api = NULL;
	bool answered = false, ready = false, hostd = false;
	snprintf(configs[0], sizeof(configs[0]), "%s/admin.kubeconfig", config_root);
	snprintf(configs[1], sizeof(configs[1]), "%s/node.kubeconfig", config_root);
	snprintf(path, sizeof(path), "/api/v1/nodes/%s", name);
	while (!ready && clock_mono_ns() < end) {
		struct err why = ERR_INIT;
		own_json json_t *node = NULL;
		for (int i = 0; i < 2 && !api; i++)
			if (!access(configs[i], R_OK))
				k8s_client_open(configs[i], &api, &why);
		int rc = api ? k8s_client_call(api, "GET", path, NULL, NULL, 5000, &node, &why) : -ENOENT;
		answered |= api && (rc == 0 || rc == -ENOENT);
		hostd = !hostd_call(host_root, "GET", "/v1/health", NULL, NULL, NULL, &why);
		ready = rc == 0 && node_ready(node) && hostd;
		if (!ready)
			nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	k8s_client_close(api);
	return ready ? 0 : not_ready(host_root, answered, name, e);
}

static bool answers(struct k8s_client *api)
{
	return !k8s_client_call(api, "GET", "/api/v1/namespaces/kube-system", NULL, NULL, 5000, NULL, NULL);
}

/* The hosts of this machine join as others do, each with a token. */
static int give_tokens(const struct cli *c, const struct cluster *cl, struct err *e)
{
	char config[4096], ca[4096], token[24];
	uint64_t end = clock_mono_ns() + WAIT_NS;
	struct k8s_client *api = NULL;
	snprintf(config, sizeof(config), "%s/admin.kubeconfig", c->root);
	snprintf(ca, sizeof(ca), "%s/pki/ca.crt", c->root);
	while ((access(config, R_OK) || (!api && k8s_client_open(config, &api, NULL)) || !answers(api)) && clock_mono_ns() < end)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	int rc = api ? token_create(api, 3600 * NS_PER_S, token, e) : not_ready(c->root, false, cl->node_name, e);
	for (unsigned n = 1; n <= cl->hosts && !rc; n++) {
		struct hostnet_host h;
		hostnet_host(c->root, cl, n, &h);
		rc = join_write_bootstrap(h.root, k8s_client_server(api), ca, token, e);
	}
	k8s_client_close(api);
	return rc;
}

static int wait_ready(const struct cli *c, const struct cluster *cl, struct err *e)
{
	int rc = cl->hosts ? give_tokens(c, cl, e) : up_wait_node(c->root, c->root, cl->node_name, e);
	for (unsigned n = 1; n <= cl->hosts && !rc; n++) {
		struct hostnet_host h;
		hostnet_host(c->root, cl, n, &h);
		rc = up_wait_node(c->root, h.root, h.name, e);
	}
	return rc;
}

/* A file as the server, which runs elsewhere, finds it. "off" and nothing stay what they are. */
static int absolute(const char *option, const char *file, char out[512], struct err *e)
{
	char here[4096] = "";
	bool whole = !file || *file == '/' || !strcmp(file, "off");
	if (!whole && !getcwd(here, sizeof(here)))
		return err_sys(e, errno, "%s %s", option, file);
	if (snprintf(out, 512, "%s%s%s", here, whole ? "" : "/", file ? file : "") >= 512)
		return err_set(e, ENAMETOOLONG, "%s %s: at most 511 characters", option, file);
	return 0;
}

int cmd_up(struct cli *c)
{
	static const char text[] = "up [--root DIR] [--address IP] [--port N] [--node-name NAME] [--engine auto|kvm|qemu] "
				   "[--templates on|off]\n   [--waiting N] [--vm-memory-mib N] [--hosts N]\n"
				   "   [--store sqlite|etcd=URL,...[,ca=FILE][,cert=FILE,key=FILE]] [--audit-log FILE|off] [--audit-policy FILE]";
	struct cluster wish = {0}, cl;
	struct err e = ERR_INIT;
	const char *address = cli_option(c, "--address"), *port = cli_option(c, "--port"), *name = cli_option(c, "--node-name");
	const char *engine = cli_option(c, "--engine"), *templates = cli_option(c, "--templates"), *waiting = cli_option(c, "--waiting");
	const char *memory = cli_option(c, "--vm-memory-mib"), *store = cli_option(c, "--store"), *hosts = cli_option(c, "--hosts");
	const char *audit_log = cli_option(c, "--audit-log"), *audit_policy = cli_option(c, "--audit-policy");
	if (!templates)
		templates = getenv("BULKHEAD_TEMPLATES");
	if (!waiting)
		waiting = getenv("BULKHEAD_WAITING");
	if (c->argc)
		return cli_usage(text);
	if (engine && strcmp(engine, "qemu") && strcmp(engine, "kvm") && strcmp(engine, "auto"))
		return err_set(&e, EINVAL, "--engine %s: there are kvm, qemu and auto", engine), cli_fail(&e);
	if (templates && strcmp(templates, "on") && strcmp(templates, "off"))
		return err_set(&e, EINVAL, "--templates %s: there are on and off", templates), cli_fail(&e);
	if (waiting && (!*waiting || strspn(waiting, "0123456789") != strlen(waiting) || strlen(waiting) > 2 || atoi(waiting) > CLONES_WAITING_MAX))
		return err_set(&e, EINVAL, "--waiting %s: a number of clones from 0 to %d", waiting, CLONES_WAITING_MAX), cli_fail(&e);
	if (port && (atoi(port) < 1 || atoi(port) > 65535))
		return err_set(&e, EINVAL, "--port %s: a port is a number from 1 to 65535", port), cli_fail(&e);
	if (hosts && (atoi(hosts) < 1 || atoi(hosts) > HOSTS_MAX))
		return err_set(&e, EINVAL, "--hosts %s: from 1 to %d hosts", hosts, HOSTS_MAX), cli_fail(&e);
	if (memory && (atoi(memory) < 64 || atoi(memory) > 1 << 24))
		return err_set(&e, EINVAL, "--vm-memory-mib %s: a number of MiB from 64 to %d", memory, 1 << 24), cli_fail(&e);
	if (store && (strlen(store) >= sizeof(wish.store) || (strcmp(store, "sqlite") && strncmp(store, "etcd=http", 9))))
		return err_set(&e, EINVAL, "--store %s: there are sqlite and etcd=URL,URL,...", store), cli_fail(&e);
	if (geteuid() != 0)
		return err_set(&e, EPERM, "up needs root: it makes network namespaces and VMs with users of their own"), cli_fail(&e);
	snprintf(wish.address, sizeof(wish.address), "%s", address ? address : "");
	snprintf(wish.node_name, sizeof(wish.node_name), "%s", name ? name : "");
	snprintf(wish.engine, sizeof(wish.engine), "%s", engine ? engine : "");
	wish.hosts = hosts ? (unsigned)atoi(hosts) : 0;
	snprintf(wish.templates, sizeof(wish.templates), "%s", templates ? templates : "");
	snprintf(wish.waiting, sizeof(wish.waiting), "%s", waiting ? waiting : "");
	snprintf(wish.store, sizeof(wish.store), "%s", store ? store : "");
	if (absolute("--audit-log", audit_log, wish.audit_log, &e) || absolute("--audit-policy", audit_policy, wish.audit_policy, &e))
		return cli_fail(&e);
	wish.memory_mib = memory ? (unsigned)atoi(memory) : 0;
	wish.api_port = port ? (uint16_t)atoi(port) : 0;
	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	uint64_t t = clock_mono_ns();
	bool ran = supervise_running(c->root) != 0;
	int rc = ran ? cluster_load(c->root, &cl, &e) : cluster_choose(c->root, &wish, &cl, &e);
	if (!rc && ran && ((address && strcmp(address, cl.address)) || (name && strcmp(name, cl.node_name)) ||
			   (store && strcmp(store, cl.store[0] ? cl.store : "sqlite")) || (wish.api_port && wish.api_port != cl.api_port) ||
			   (wish.hosts && wish.hosts != cl.hosts)))
		rc = err_set(&e, EBUSY, "the cluster in %s runs already, as node %s at %s:%u: stop it first with \"bulkhead down\"",
			     c->root, cl.node_name, cl.address, cl.api_port);
	if (!rc && !ran) {
		char reason[256];
		if (!strcmp(cl.engine, "auto") && !strcmp(engine_choose(reason, sizeof(reason)), "qemu") && !c->json)
			fprintf(stderr, "engine qemu: KVM is not usable (%s)\n", reason);
		say(c, "starting server, pagerd and hostd");
		rc = up_start_supervisor(c->root, &e);
	}
	if (!rc)
		rc = wait_ready(c, &cl, &e);
	if (rc)
		return cli_fail(&e);
	double s = (double)(clock_mono_ns() - t) / 1e9;
	if (c->json) {
		char config[4096];
		snprintf(config, sizeof(config), "%s/admin.kubeconfig", c->root);
		cli_print_json(json_pack("{s:s, s:s, s:s, s:i, s:s, s:b, s:f}", "root", c->root, "kubeconfig", config, "address", cl.address,
					 "apiPort", cl.api_port, "node", cl.node_name, "alreadyRunning", ran, "seconds", s));
		return 0;
	}
	if (cl.hosts)
		fprintf(stderr, "nodes %s-1 to %s-%u are Ready (%.1f s)\n", cl.node_name, cl.node_name, cl.hosts, s);
	else
		fprintf(stderr, "node %s is Ready (%.1f s)\n", cl.node_name, s);
	printf("export KUBECONFIG=%s/admin.kubeconfig\n", c->root);
	return 0;
}
