// SPDX-License-Identifier: Apache-2.0
// bulkhead-vmx: one process per VM. Started by hostd with a configuration (proto/vmx_msg.h), it opens what the VM needs,
// gives up its privileges, starts the engine and serves the VM's devices until the guest ends. It outlives hostd.
// Exit code: 0 the guest powered off or was stopped on request, 1 it could not be started, 2 it failed.
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/evloop.h"
#include "base/file.h"
#include "base/host_pid.h"
#include "base/log.h"
#include "base/own.h"
#include "prda/metrics.h"
#include "vmx/config.h"
#include "vmx/control.h"
#include "vmx/engine.h"
#include "vmx/engine_kvm/probe.h"
#include "vmx/jail.h"
#include "vmx/vm.h"

static const char usage[] =
	"usage: bulkhead-vmx --config-fd N\n"
	"  Run one VM as the JSON behind descriptor N says (src/vmx/proto/vmx_msg.h). Started by bulkhead-hostd.\n"
	"       bulkhead-vmx --probe-kvm [KERNEL [MILLISECONDS]]\n"
	"  Run a tiny guest on KVM and then boot KERNEL, each within MILLISECONDS (10000); print {\"usable\": true or false,\n"
	"  \"reason\": why} in one line. Exit code: 0 usable, 1 not.\n"
	"       bulkhead-vmx --version | --help\n";

// Returns the descriptor, or -1.
static int parse_args(int argc, char **argv)
{
	if (argc != 3 || strcmp(argv[1], "--config-fd"))
		return -1;
	char *end;
	errno = 0;
	long fd = strtol(argv[2], &end, 10);
	return errno || *end || end == argv[2] || fd < 0 || fd > 1 << 20 ? -1 : (int)fd;
}

static void on_signal(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)events;
	struct signalfd_siginfo s;
	if (read(evwatch_fd(w), &s, sizeof(s)) == sizeof(s)) {
		log_info("vmx", "stopping the VM: signal=%s", strsignal((int)s.ssi_signo));
		vm_kill(user);
	}
}

static int watch_signals(struct evloop *l, struct vm *vm, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return err_sys(e, errno, "block signals");
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || !evloop_add(l, fd, EPOLLIN, on_signal, vm))
		return err_sys(e, errno, "watch signals");
	return 0;
}

static void report_failure(int ready_fd, const struct err *e)
{
	log_error("vmx", "%s", e->text);
	if (ready_fd < 0)
		return;
	json_t *o = json_pack("{s:s, s:s}", "state", "failed", "error", e->text);
	own_free char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (text) {
		fd_write_all(ready_fd, text, strlen(text));
		fd_write_all(ready_fd, "\n", 1);
	}
}

// Counters that others may read, or, if that cannot be, that nobody reads: no reason not to run the VM.
static struct metrics *count(const struct vmx_config *c)
{
	struct err e = ERR_INIT;
	struct metrics *m = NULL;
	if (metrics_open(c->metrics_dir, "vmx", strchr(c->name, '/') ? c->name : NULL, &m, &e))
		log_warn("vmx", "%s", e.text);
	return m;
}

// Everything up to the running guest. On failure e says why.
static int start(struct vm *vm, struct vmx_config *c, struct evloop *l, struct control **control, struct err *e)
{
	int rc;
	if ((rc = jail_begin(c->uid, e)) || (rc = watch_signals(l, vm, e)) || (rc = vm_init(vm, c, l, e)) ||
	    (rc = jail_enter(c->uid, c->gid, vm->ops->has_transport, e)) || (rc = vm_start(vm, e)))
		return rc;
	*control = control_new(l, c->control_fd, vm);
	return *control ? 0 : err_set(e, ENOMEM, "the control socket cannot be served");
}

static int run(struct vm *vm, struct vmx_config *c, struct err *e)
{
	struct evloop *l = evloop_new();
	if (!l)
		return err_set(e, ENOMEM, "no memory or descriptors for the event loop");
	struct control *control = NULL;
	int rc = start(vm, c, l, &control, e);
	if (!rc) {
		rc = evloop_run(l);
		if (rc)
			err_set(e, -rc, "the event loop failed");
	}
	bool started = vm->state != VMX_STARTING || vm->stop_asked;
	vm_fini(vm);
	control_free(control);
	evloop_free(l);
	if (rc)
		return rc;
	if (!started)
		return err_set(e, EIO, "%s", vm->why);
	log_line(vm->failed ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "vmx", "ended: %s", vm->why);
	return 0;
}

static int probe(int argc, char **argv)
{
	struct err e = ERR_INIT;
	const char *kernel = argc > 2 ? argv[2] : NULL;
	int limit_ms = argc > 3 ? atoi(argv[3]) : KVM_PROBE_MS, rc = 0;
	own_fd int fd = kernel ? open(kernel, O_RDONLY | O_CLOEXEC) : -1;
	if (argc > 4 || limit_ms < 1) {
		fputs(usage, stderr);
		return 1;
	}
	if (kernel && fd < 0)
		rc = err_sys(&e, errno, "open the kernel %s", kernel);
	if (!rc)
		rc = kvm_probe(fd, limit_ms, &e);
	json_t *o = json_pack("{s:b, s:s}", "usable", !rc, "reason",
			      rc ? e.text : kernel ? "a stock kernel boots" : "a tiny guest runs; no kernel was given to try");
	if (!o || json_dumpf(o, stdout, JSON_COMPACT) || putchar('\n') < 0)
		rc = -EIO;
	json_decref(o);
	return rc ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct vm vm = {.start_real_ns = clock_real_ns(), .start_ns = clock_mono_ns(), .ram = GUEST_RAM_INIT,
			.pid = host_pid_self(), .paging = PAGING_INIT};
	tsc_mark(&vm.tsc);
	log_init("bulkhead-vmx");
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return puts("bulkhead-vmx " BULKHEAD_VERSION) < 0;
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return fputs(usage, stdout) < 0;
	if (argc >= 2 && !strcmp(argv[1], "--probe-kvm"))
		return probe(argc, argv);
	int config_fd = parse_args(argc, argv);
	if (config_fd < 0) {
		fputs(usage, stderr);
		return 1;
	}
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	struct err e = ERR_INIT;
	struct vmx_config *c = NULL;
	int ready_fd;
	int rc = vmx_config_read(config_fd, &c, &ready_fd, &e);
	if (!rc) {
		close(config_fd);
		log_identity(c->name);
		struct metrics *m = count(c);
		rc = run(&vm, c, &e);
		metrics_close(m);
	}
	if (rc)
		report_failure(ready_fd, &e);
	vmx_config_free(c);
	return rc ? 1 : vm.failed ? 2 : 0;
}
