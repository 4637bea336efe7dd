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
#include "base/proc.h"
#include "cli.h"

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

int cmd_down(struct cli *c)
{
	struct cluster cl;
	struct err e = ERR_INIT;
	char hostd[4096];
	bool purge = cli_flag(c, "--purge");
	if (c->argc)
		return cli_usage("down [--root DIR] [--purge]");
	if (cluster_load(c->root, &cl, &e)) {
		if (purge && dir_remove(c->root, &e))
			return cli_fail(&e);
		if (!c->json)
			fprintf(stderr, "nothing runs in %s\n", c->root);
		return 0;
	}
	if (stop_supervisor(c->root, &e))
		return cli_fail(&e);
	snprintf(hostd, sizeof(hostd), "%s/bulkhead-hostd", cli_bin_dir());
	const char *argv[] = {hostd, "--root", c->root, "--tag", cl.tag, "--pod-cidr", cl.pod_cidr, "--shutdown", NULL};
	if (proc_check(argv, NULL, NULL, &e))
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
