// SPDX-License-Identifier: Apache-2.0
// `bulkhead down`: stop the processes, end the VMs, remove the network; with --purge everything kept on disk as well.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/proc.h"
#include "cli.h"
#include "hostnet.h"

#define STOP_NS (40 * NS_PER_S)

static int stop_supervisor(const char *root, struct err *e)
{
	uint64_t end = clock_mono_ns() + STOP_NS;
	int pid = supervise_running(root);
	if (pid > 0)
		kill(pid, SIGTERM);
	while (supervise_running(root)) {
		if (clock_mono_ns() > end)
			return err_set(e, ETIMEDOUT, "the supervisor (pid %d) does not stop", pid);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	return 0;
}

/* One host's pods, in order; the time that hostd gives them is all they have. */
static int drain_host(const char *root, struct err *e)
{
	json_t *answer = NULL;
	bool done = false;
	int rc = hostd_call(root, "POST", "/v1/shutdown", NULL, NULL, &answer, e);
	while (!rc && !(done = jpath_bool(answer, "done", false))) {
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
		json_decref(answer);
		answer = NULL;
		rc = hostd_call(root, "GET", "/v1/shutdown", NULL, NULL, &answer, e);
		if (!rc && !jpath_bool(answer, "going", false))
			rc = err_set(e, EAGAIN, "hostd of %s was restarted while its pods ended; say it again", root);
	}
	json_decref(answer);
	return rc;
}

static int drain(const char *root, const struct cluster *cl, struct err *e)
{
	int rc = cl->hosts ? 0 : drain_host(root, e);
	for (unsigned n = 1; n <= cl->hosts && !rc; n++) {
		struct hostnet_host h;
		hostnet_host(root, cl, n, &h);
		rc = drain_host(h.root, e);
	}
	return rc;
}

/* In the host's own network. */
static int shut_host(const char *root, const char *tag, const char *pod_cidr, const char *netns, struct err *e)
{
	char hostd[4096], net[64];
	snprintf(hostd, sizeof(hostd), "%s/bulkhead-hostd", cli_bin_dir());
	snprintf(net, sizeof(net), "--net=/run/netns/%s", netns ? netns : "");
	const char *argv[] = {"nsenter", net, hostd, "--root", root, "--tag", tag, "--shutdown", *pod_cidr ? "--pod-cidr" : NULL, pod_cidr, NULL};
	return proc_check(netns ? argv : argv + 2, NULL, NULL, e);
}

static int shut_hosts(const char *root, const struct cluster *cl, struct err *e)
{
	int rc = 0;
	if (!cl->hosts)
		return shut_host(root, cl->tag, cl->pod_cidr, NULL, e);
	for (unsigned n = 1; n <= cl->hosts && !rc; n++) {
		struct hostnet_host h;
		char path[64];
		hostnet_host(root, cl, n, &h);
		snprintf(path, sizeof(path), "/run/netns/%s", h.netns);
		bool there = !access(path, F_OK) && !access(h.root, F_OK);   // after a reboot the network is gone by itself
		rc = there ? shut_host(h.root, h.tag, "", h.netns, e) : 0;
	}
	if (!rc)
		hostnet_remove(cl);
	return rc;
}

int cmd_down(struct cli *c)
{
	struct cluster cl;
	struct err e = ERR_INIT;
	bool purge = cli_flag(c, "--purge"), first = cli_flag(c, "--drain");
	if (c->argc)
		return cli_usage("down [--root DIR] [--drain] [--purge]");
	if (cluster_load(c->root, &cl, &e)) {
		if (purge && dir_remove(c->root, &e))
			return cli_fail(&e);
		if (!c->json)
			fprintf(stderr, "nothing runs in %s\n", c->root);
		return 0;
	}
	if (first && drain(c->root, &cl, &e))
		return cli_fail(&e);
	if (stop_supervisor(c->root, &e))
		return cli_fail(&e);
	if (shut_hosts(c->root, &cl, &e))
		return cli_fail(&e);
	cluster_forget(c->root);
	if (purge && dir_remove(c->root, &e))
		return cli_fail(&e);
	if (c->json)
		cli_print_json(json_pack("{s:s, s:b}", "root", c->root, "purged", purge));
	else
		fprintf(stderr, "stopped%s\n", purge ? ", nothing is kept" : "");
	return 0;
}
