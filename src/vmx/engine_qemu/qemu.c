// SPDX-License-Identifier: Apache-2.0
// The software engine: QEMU's microvm with TCG as a child, our devices connected to it by vhost-user. The child dies with
// us, and how it ends is told to the VM.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/host_pid.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "virtio/vhost_user.h"
#include "vmx/console.h"
#include "vmx/devthread.h"
#include "vmx/engine.h"
#include "vmx/engine_qemu/qemu_args.h"
#include "vmx/engine_qemu/qemu_slots.h"
#include "vmx/engine_qemu/qemu_state.h"
#include "vmx/engine_qemu/qmp.h"
#include "vmx/memory_file.h"
#include "vmx/vm.h"

#define STDERR_KEEP 400   // first bytes of QEMU's stderr, for the sentence that says why it ended

struct engine {
	struct vm *vm;
	pid_t pid;                       // 0: not running
	pid_t host_pid;                  // the same, as the host numbers it
	int pidfd;                       // owned; -1: none
	struct evwatch *exit_watch;
	int stderr_fd;                   // owned; our end of QEMU's stderr; -1: none
	struct evwatch *stderr_watch;
	char said[STDERR_KEEP + 1];      // on stderr, its first bytes
	size_t said_len;
	struct qmp *qmp;
	struct qemu_state state;
	struct {
		struct vhost_user *u;
		struct devthread *thread;   // borrowed: u is used on it
	} vhost[1 + DISKS_MAX];
	unsigned nvhost;
	int spare[DISKS_MAX];            // owned; our ends of the sockets of disks that may come; -1: none
	uint64_t ballooned;              // bytes, as QEMU said last
	bool shutdown;                   // QEMU announced the end, for this reason:
	char reason[32];
};

// ---- what QEMU tells

static void on_ready(void *user)
{
	struct engine *g = user;
	struct err e = ERR_INIT;
	if (g->vm->config->restore_state_fd < 0)
		vm_running(g->vm);
	else if (qemu_state_load(&g->state, &e))
		vm_ended(g->vm, true, "the saved VM does not go on: %s", e.text);
}

static void on_event(void *user, const char *name, const json_t *data)
{
	struct engine *g = user;
	log_debug("qemu", "event %s", name);
	qemu_state_event(&g->state, name, data);
	if (!strcmp(name, "SHUTDOWN")) {
		g->shutdown = true;
		snprintf(g->reason, sizeof(g->reason), "%s", jpath_str(data, "reason", "unknown"));
	} else if (!strcmp(name, "BALLOON_CHANGE")) {
		uint64_t left = (uint64_t)jpath_int(data, "actual", (long long)g->vm->ram.size);
		g->ballooned = left < g->vm->ram.size ? g->vm->ram.size - left : 0;
	}
}

static bool stderr_take(struct engine *g)
{
	char text[1024];
	ssize_t n = read(g->stderr_fd, text, sizeof(text) - 1);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		evloop_remove(g->stderr_watch);
		g->stderr_watch = NULL;
		return false;
	}
	text[n] = '\0';
	log_limited(LOG_LEVEL_WARN, "qemu", "%s", text);
	size_t part = STDERR_KEEP - g->said_len < (size_t)n ? STDERR_KEEP - g->said_len : (size_t)n;
	memcpy(g->said + g->said_len, text, part);
	g->said_len += part;
	return true;
}

static void on_stderr(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	stderr_take(user);
}

// ---- its end

static void tell_exit(struct engine *g, int status)
{
	const char *colon = g->said_len ? ": " : "";
	for (char *p = g->said; *p; p++) {
		if (*p == '\n' || *p == '\r')
			*p = p[1] ? ' ' : '\0';
	}
	if (WIFSIGNALED(status))
		vm_ended(g->vm, true, "QEMU was killed by signal %d (%s)%s%s", WTERMSIG(status),
			 strsignal(WTERMSIG(status)), colon, g->said);
	else
		vm_ended(g->vm, true, "QEMU ended with exit code %d%s%s", WEXITSTATUS(status), colon, g->said);
}

static void tell_end(struct engine *g, int status)
{
	char panic[256];
	if (g->vm->console && console_panic(g->vm->console, panic, sizeof(panic)))
		vm_ended(g->vm, true, "the guest's kernel panicked: %s", panic);
	else if (g->shutdown && !strcmp(g->reason, "guest-shutdown"))
		vm_ended(g->vm, false, "the guest powered off");
	else if (g->shutdown && !strcmp(g->reason, "guest-reset"))
		vm_ended(g->vm, !g->vm->stop_asked, "the guest rebooted");
	else if (g->vm->stop_asked)
		vm_ended(g->vm, false, "stopped on request");
	else
		tell_exit(g, status);
}

static void on_exit_(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)events;
	struct engine *g = user;
	int status;
	if (waitpid(g->pid, &status, WNOHANG) != g->pid)
		return;
	g->pid = 0;
	evloop_remove(w);
	g->exit_watch = NULL;
	qmp_drain(g->qmp);
	console_drain(g->vm->console);
	while (g->stderr_watch && stderr_take(g))
		;
	tell_end(g, status);
}

// ---- start

static int pair_of(int type, int *ours, int *theirs, struct err *e)
{
	int s[2];
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, s))
		return err_sys(e, errno, "make a socket pair for QEMU");
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	*ours = s[0];
	*theirs = s[1];
	return 0;
}

static int pair(int *ours, int *theirs, struct err *e) { return pair_of(SOCK_STREAM, ours, theirs, e); }

struct ends {                            // of the sockets between us and QEMU; owned
	struct qemu_fds ours, theirs;
	unsigned ndisks;
};

static void fds_close(struct qemu_fds *f, unsigned ndisks)
{
	own_fd int a = take_fd(f->console), b = take_fd(f->qmp), c = take_fd(f->vsock), i = take_fd(f->initrd),
		p = take_fd(f->pager);
	(void)a, (void)b, (void)c, (void)i, (void)p;
	for (unsigned n = 0; n < ndisks; n++) {
		own_fd int d = take_fd(f->disk[n]);
		(void)d;
	}
}

static int ends_open(struct ends *s, unsigned ndisks, bool paged, struct err *e)
{
	memset(s, -1, sizeof(*s));
	s->ndisks = ndisks;
	int rc = pair(&s->ours.console, &s->theirs.console, e);
	if (!rc)
		rc = pair(&s->ours.qmp, &s->theirs.qmp, e);
	if (!rc)
		rc = pair(&s->ours.vsock, &s->theirs.vsock, e);
	if (!rc && paged)
		rc = pair_of(SOCK_SEQPACKET, &s->ours.pager, &s->theirs.pager, e);
	for (unsigned i = 0; i < ndisks && !rc; i++)
		rc = pair(&s->ours.disk[i], &s->theirs.disk[i], e);
	return rc;
}

static int template_initrd(const struct vmx_config *c, struct ends *s, struct err *e)
{
	if (!c->template)
		return 0;
	s->theirs.initrd = qemu_slots_initrd(c->initrd_fd, e);
	return s->theirs.initrd < 0 ? s->theirs.initrd : 0;
}

static void ends_close(struct ends *s)
{
	fds_close(&s->ours, s->ndisks);
	fds_close(&s->theirs, s->ndisks);
}

static void vhost_closed(void *user, const char *why)
{
	const struct vm_device *d = user;
	if (why)
		log_error("vmx", "QEMU broke the vhost-user protocol: %s device=%s slot=%u", why, d->dev->ops->name, d->slot);
}

static int connect_device(struct engine *g, struct vm_device *d, int *fd, struct err *e)
{
	struct vhost_user_attr a = {.loop = devthread_loop(d->thread), .fd = *fd, .dev = d->dev, .ram = &g->vm->ram,
				    .closed = vhost_closed, .user = d};
	struct vhost_user *u = vhost_user_new(&a);
	if (!u)
		return err_set(e, ENOMEM, "no memory");
	*fd = -1;
	g->vhost[g->nvhost].u = u;
	g->vhost[g->nvhost++].thread = d->thread;
	return 0;
}

// Give our ends to those who serve them.
static int connect_all(struct engine *g, struct ends *s, struct err *e)
{
	struct vm *vm = g->vm;
	vm->console = console_new(vm->loop, s->ours.console, vm->config->console_fd, vm->config->console_max_bytes);
	if (!vm->console)
		return err_set(e, ENOMEM, "no memory");
	s->ours.console = -1;
	struct qmp_attr q = {.loop = vm->loop, .fd = s->ours.qmp, .ready = on_ready, .event = on_event, .user = g};
	g->qmp = qmp_new(&q);
	if (!g->qmp)
		return err_set(e, ENOMEM, "no memory");
	s->ours.qmp = -1;
	g->state = (struct qemu_state){.vm = vm, .qmp = g->qmp};
	int rc = vm->paging.on ? paging_expect(&vm->paging, vm->loop, take_fd(s->ours.pager), e) : 0;
	if (!rc && !vm->config->template)
		rc = connect_device(g, &vm->vsock_device, &s->ours.vsock, e);
	for (unsigned i = 0; i < vm->config->ndisks && !rc; i++)
		rc = connect_device(g, &vm->disk[i].device, &s->ours.disk[i], e);
	for (unsigned i = vm->config->ndisks; i < s->ndisks && !rc; i++)
		g->spare[i] = take_fd(s->ours.disk[i]);
	return rc;
}

// The child, up to exec. Only async-signal-safe calls; what goes wrong is said on stderr, which our parent reads.
static _Noreturn void child(const struct qemu_args *a, int stderr_fd, pid_t parent)
{
	static char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", NULL};
	sigset_t none;
	sigemptyset(&none);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	dup2(stderr_fd, STDOUT_FILENO);
	dup2(stderr_fd, STDERR_FILENO);
	for (int i = 0; i < a->nkeep; i++)
		fcntl(a->keep[i], F_SETFD, 0);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvpe(a->argv[0], a->argv, env);
	const char *why = strerrordesc_np(errno);
	struct iovec said[] = {{a->argv[0], strlen(a->argv[0])}, {" cannot be run: ", 16}, {(char *)why, strlen(why)}};
	ssize_t n = writev(STDERR_FILENO, said, 3);
	_exit(n < 0 ? 126 : 127);
}

static int spawn(struct engine *g, const struct qemu_args *a, struct err *e)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC))
		return err_sys(e, errno, "make a pipe for QEMU");
	own_fd int child_end = p[1];
	g->stderr_fd = p[0];
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	pid_t parent = getpid();
	g->pid = fork();
	if (g->pid < 0) {
		g->pid = 0;
		return err_sys(e, errno, "start a process for QEMU");
	}
	if (!g->pid)
		child(a, child_end, parent);
	g->pidfd = (int)syscall(SYS_pidfd_open, g->pid, 0);
	if (g->pidfd < 0)
		return err_sys(e, errno, "watch the QEMU process");
	g->host_pid = host_pid_of(g->pidfd);
	g->exit_watch = evloop_add(g->vm->loop, g->pidfd, EPOLLIN, on_exit_, g);
	g->stderr_watch = evloop_add(g->vm->loop, g->stderr_fd, EPOLLIN, on_stderr, g);
	return g->exit_watch && g->stderr_watch ? 0 : err_set(e, ENOMEM, "no memory");
}

static void qemu_free(struct engine *g);

// QEMU does not look at the memory before it has loaded the state, and it takes a while to start: the pages are brought meanwhile.
static int fill_memory(struct vm *vm, struct err *e)
{
	return vm->config->restore_memory_fd < 0 ? 0 : memory_file_read(&vm->ram, vm->config->restore_memory_fd, e);
}

static int qemu_start(struct vm *vm, struct engine **out, struct err *e)
{
	struct engine *g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(e, ENOMEM, "no memory");
	*g = (struct engine){.vm = vm, .pidfd = -1, .stderr_fd = -1};
	memset(g->spare, -1, sizeof(g->spare));
	struct ends s;
	struct qemu_args a = {.argc = 0};
	int rc = ends_open(&s, vm->config->waiting ? DISKS_MAX : vm->config->ndisks, vm->paging.on, e);
	if (!rc)
		rc = template_initrd(vm->config, &s, e);
	if (!rc)
		rc = qemu_args_build(&a, vm, &s.theirs, e);
	if (!rc)
		rc = spawn(g, &a, e);
	if (!rc)
		rc = connect_all(g, &s, e);
	if (!rc)
		rc = fill_memory(vm, e);
	qemu_args_fini(&a);
	ends_close(&s);
	if (rc) {
		qemu_free(g);
		return rc;
	}
	*out = g;
	return 0;
}

static void qemu_kill(struct engine *g)
{
	if (g->pid)
		kill(g->pid, SIGKILL);
}

static int qemu_power_button(struct engine *g, struct err *e) { return qmp_command(g->qmp, "system_powerdown", e); }

struct connection { struct engine *g; struct vm_device *device; int *fd; int rc; struct err *e; };

static void connect_there(void *arg)
{
	struct connection *c = arg;
	c->rc = connect_device(c->g, c->device, c->fd, c->e);
}

// The devices' threads run by now: each takes up its own connection.
static int qemu_plug(struct engine *g, unsigned first_disk, struct err *e)
{
	for (unsigned i = first_disk; i < g->vm->config->ndisks; i++) {
		struct vm_device *d = &g->vm->disk[i].device;
		struct connection c = {.g = g, .device = d, .fd = &g->spare[i], .e = e};
		devthread_call(d->thread, connect_there, &c);
		if (c.rc)
			return c.rc;
	}
	return qemu_state_plug(&g->state, first_disk, e);
}

static int qemu_save(struct engine *g, int state_fd, int memory_fd, struct err *e)
{
	return qemu_state_save(&g->state, state_fd, memory_fd, e);
}

static pid_t qemu_pid(const struct engine *g) { return g->pid ? g->host_pid : 0; }
static int qemu_balloon(struct engine *g, uint64_t target_bytes, struct err *e)
{
	return qmp_command_number(g->qmp, "balloon", "value", g->vm->ram.size - target_bytes, e);
}

static uint64_t qemu_ballooned(const struct engine *g) { return g->ballooned; }


static void vhost_free(void *u) { vhost_user_free(u); }

static void qemu_free(struct engine *g)
{
	if (g->pid) {
		kill(g->pid, SIGKILL);
		waitpid(g->pid, NULL, 0);
	}
	if (g->exit_watch)
		evloop_remove(g->exit_watch);
	if (g->stderr_watch)
		evloop_remove(g->stderr_watch);
	if (g->pidfd >= 0)
		close(g->pidfd);
	if (g->stderr_fd >= 0)
		close(g->stderr_fd);
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (g->spare[i] >= 0)
			close(g->spare[i]);
	qmp_free(g->qmp);
	for (unsigned i = 0; i < g->nvhost; i++)
		devthread_call(g->vhost[i].thread, vhost_free, g->vhost[i].u);
	free(g);
}

const struct engine_ops engine_qemu = {
	.name = "qemu", .start = qemu_start, .kill = qemu_kill, .power_button = qemu_power_button,
	.balloon = qemu_balloon, .ballooned = qemu_ballooned, .pid = qemu_pid, .save = qemu_save, .plug = qemu_plug, .free = qemu_free,
};
