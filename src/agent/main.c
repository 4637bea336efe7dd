// SPDX-License-Identifier: Apache-2.0
// bulkhead-agent: PID 1 of a pod's VM. Without arguments as PID 1 it boots the guest; with --listen DIR it runs as an
// ordinary process for tests and development, behind the Unix socket DIR/vsock.sock.
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "base/evloop.h"
#include "base/file.h"
#include "base/log.h"
#include "boot.h"
#include "container.h"
#include "control.h"
#include "machine.h"
#include "pod.h"
#include "ports.h"
#include "reaper.h"
#include "rehearsal.h"
#include "runtime.h"
#include "stream.h"
#include "template.h"

#define FILES_MAX 1048576

static const char usage[] =
	"usage: bulkhead-agent                         as PID 1 of a VM\n"
	"       bulkhead-agent --listen DIR [--crun PROGRAM]   as an ordinary process, for tests\n";

static void on_connection(void *user, unsigned port, int fd)
{
	struct agent *a = user;
	if (port == PORT_CONTROL)
		control_add(a->control, fd);
	else
		streams_add(a->streams, fd);
}

/* socket: for tests; NULL: vsock. */
static int serve(struct agent *a, const char *socket, struct err *e)
{
	a->loop = evloop_new();
	a->reaper = a->loop ? reaper_new(a->loop) : NULL;
	a->pod = pod_new();
	a->containers = containers_new(a);
	a->control = control_new(a);
	a->streams = streams_new(a);
	if (!a->reaper || !a->pod || !a->containers || !a->control || !a->streams)
		return err_set(e, ENOMEM, "no memory");
	struct ports *ports = socket ? ports_unix(a->loop, socket, on_connection, a, e)
				     : ports_vsock(a->loop, on_connection, a, e);
	if (!ports)
		return -e->code;
	a->ready_ns = boot_now_ns();
	int rc = evloop_run(a->loop);
	ports_free(ports);
	streams_free(a->streams);
	containers_free(a->containers);
	pod_free(a->pod);
	control_free(a->control);
	reaper_free(a->reaper);
	evloop_free(a->loop);
	return rc ? err_sys(e, -rc, "wait for events") : 0;
}

/* What containers get without a limit of their own, and what the agent needs for many streams. */
static void raise_limits(void)
{
	struct rlimit files = {.rlim_cur = FILES_MAX, .rlim_max = FILES_MAX};
	setrlimit(RLIMIT_NOFILE, &files);
}

/* Containers write their output in small pieces. As a batch process the agent does not interrupt a writer for each of
 * them (on one CPU), but finds a pipe full of them. Its children are scheduled as usual. */
static void schedule_as_batch(void)
{
	struct sched_param none = {0};
	sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none);
}

static int run_guest(void)
{
	struct err e = ERR_INIT;
	struct agent a = {.machine = &machine_guest, .run_dir = "/run/bulkhead", .scratch_dir = "/scratch",
			  .cgroup_dir = "/sys/fs/cgroup/pod", .init_ns = boot_now_ns(), .crun = "/usr/bin/crun"};
	int rc = boot_early(&e);
	raise_limits();
	schedule_as_batch();
	if (!rc)
		rc = dir_make(a.run_dir, 0755, &e);
	if (!rc)
		rc = runtime_prepare(&a, &e);
	a.cloned = !rc && template_wanted();
	if (a.cloned)
		rc = template_wait(&a.slots, &e);
	struct err slow = ERR_INIT;
	if (!rc && a.slots && rehearse(&a, &slow))
		log_warn("agent", "%s", slow.text);
	if (!rc)
		rc = serve(&a, NULL, &e);
	if (rc)
		log_error("agent", "%s; powering off", e.text);
	a.machine->power_off();
	return 1;
}

static int run_folder(const char *dir, const char *crun)
{
	struct err e = ERR_INIT;
	char run[PATH_MAX], scratch[PATH_MAX], cgroup[PATH_MAX], socket[PATH_MAX];
	snprintf(run, sizeof(run), "%s/run", dir);
	snprintf(scratch, sizeof(scratch), "%s/scratch", dir);
	snprintf(socket, sizeof(socket), "%s/vsock.sock", dir);
	snprintf(cgroup, sizeof(cgroup), "%s/cgroup", dir);
	const struct machine_ops machine = machine_folder(dir);
	struct agent a = {.machine = &machine, .run_dir = run, .scratch_dir = scratch, .cgroup_dir = cgroup,
			  .init_ns = boot_now_ns(), .crun = crun};
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (strlen(dir) + sizeof("/scratch") > AGENT_DIR_MAX) {
		log_error("agent", "%s: at most %zu bytes", dir, AGENT_DIR_MAX - sizeof("/scratch"));
		return 2;
	}
	int rc = dir_make(run, 0700, &e);
	if (!rc)
		rc = dir_make(scratch, 0700, &e);
	if (!rc)
		rc = serve(&a, socket, &e);
	if (rc) {
		log_error("agent", "%s", e.text);
		return 1;
	}
	a.machine->power_off();
	return 0;
}

int main(int argc, char **argv)
{
	const char *dir = NULL, *crun = "crun";
	log_init("bulkhead-agent");
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], REHEARSAL_WORD))
		return 0;
	if (getpid() == 1)
		return run_guest();
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--version")) {
			puts("bulkhead-agent " BULKHEAD_VERSION);
			return 0;
		} else if (!strcmp(argv[i], "--listen") && i + 1 < argc) {
			dir = argv[++i];
		} else if (!strcmp(argv[i], "--crun") && i + 1 < argc) {
			crun = argv[++i];
		} else {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (!dir) {
		fputs(usage, stderr);
		return 2;
	}
	return run_folder(dir, crun);
}
