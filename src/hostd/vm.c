// SPDX-License-Identifier: Apache-2.0
// Start, adopt, question and end bulkhead-vmx processes; see vm.h. The control connection is what ties hostd to a VM:
// its end is the VM's end. The pid is what vmx itself says on that connection, never what a file says.
#include "vm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <jansson.h>
#include <poll.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/usock.h"
#include "die.h"
#include "pager_client.h"
#include "vm_cgroup.h"

#define CONSOLE_MAX_BYTES (1 << 20)
#define START_TIMEOUT_MS 20000
#define REPLY_TIMEOUT_MS 5000
#define SAVE_TIMEOUT_S 90
#define WATCHER_STACK (64 * 1024)
// Beside the guest's memory: vmx itself; QEMU, which may fill a gibibyte with translated code before it begins anew.
#define OWN_BYTES_KVM (128ull << 20)
#define OWN_BYTES_QEMU (1280ull << 20)
#define THREADS_MAX 256

struct vm {
	char *dir, *vsock_path, *group;    // group: the folder it was started in
	int control;               // connection for requests, guarded by lock
	int watch;                 // second connection, only to see the end
	int pidfd;
	pid_t pid;
	atomic_bool ended;
	atomic_int refs;
	uint64_t next_id;
	pthread_mutex_t lock;
	pthread_t watcher;
	int quit[2];               // written to stop the watcher
	pthread_mutex_t owner_lock;   // guards on_end and user, which change with the owner
	vm_end_fn *on_end;
	void *user;
	struct pager_client *pager;   // borrowed; NULL: the memory is not paged
	uint8_t memory_id[16];
};

static char *join(const char *dir, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

// ---- memory

/* Ask a VM, as the only one on this connection. fds: room for *nfds descriptors. */
static int ask(int sock, uint32_t type, void *reply, size_t len, int *fds, size_t *nfds, struct err *e)
{
	struct vmx_msg rq = {.version = VMX_MSG_VERSION, .type = type};
	union { struct vmx_msg head; struct vmx_error error; char bytes[VMX_MSG_MAX]; } in;
	size_t none = 0;
	int rc = usock_send(sock, &rq, sizeof(rq), NULL, 0);
	ssize_t n = rc ? rc : usock_recv(sock, &in, sizeof(in), fds, nfds ? nfds : &none);
	if (n == -EAGAIN)
		return err_set(e, ETIMEDOUT, "VM process does not answer");
	if (n < (ssize_t)sizeof(in.head))
		return err_set(e, EPIPE, "VM process has ended");
	if (in.head.type == VMX_MSG_ERROR && (size_t)n >= sizeof(in.error)) {
		in.error.text[sizeof(in.error.text) - 1] = '\0';
		return err_set(e, in.error.code > 0 ? in.error.code : EIO, "%s", in.error.text);
	}
	if (in.head.version != VMX_MSG_VERSION || in.head.type != type || (size_t)n != len)
		return err_set(e, EPROTO, "VM process answered with version %u type %u", in.head.version, in.head.type);
	memcpy(reply, &in, len);
	return 0;
}

int vm_memory_fd(struct vm *vm, struct err *e)
{
	own_free char *path = join(vm->dir, "control.sock");
	struct timeval limit = {.tv_sec = REPLY_TIMEOUT_MS / 1000};
	struct vmx_memory memory;
	int fds[1 + VMX_MAPS_MAX];
	size_t nfds = sizeof(fds) / sizeof(fds[0]);
	own_fd int sock = path ? usock_connect(path, SOCK_SEQPACKET, e) : -ENOMEM;
	if (sock < 0)
		return sock;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	int rc = ask(sock, VMX_MSG_MEMORY, &memory, sizeof(memory), fds, &nfds, e);
	if (rc)
		return rc;
	for (size_t i = 1; i < nfds; i++)
		close(fds[i]);
	return nfds ? fds[0] : -EPROTO;
}

/* What no two runs of VMs have in common: when the process started, and its number. */
static void memory_id(const struct vmx_status *st, uint8_t id[16])
{
	uint64_t pid = st->pid;
	memcpy(id, &st->start_real_ns, 8);
	memcpy(id + 8, &pid, 8);
}

/* Hand the memory of the VM at the other end of sock to pagerd. May wait until its engine has mapped it.
 * -ENODATA: it is not paged; -EPIPE: it has ended; -ENOTSUP: pagerd does not take it. */
static int memory_attach(int sock, const struct vm_paging *p, uint8_t id[16], struct err *e)
{
	struct pager_client_vm vm = {.limit_bytes = p->limit_bytes, .reserve_bytes = p->reserve_bytes, .shares = p->shares,
				     .vad = p->vad, .vads = p->vads, .vad_fd = p->vad_fd, .vad_fds = p->vad_fds};
	struct vmx_status st;
	size_t nfds = sizeof(vm.memory_fd) / sizeof(vm.memory_fd[0]);
	int rc = ask(sock, VMX_MSG_STATUS, &st, sizeof(st), NULL, NULL, e);
	if (!rc)
		rc = ask(sock, VMX_MSG_MEMORY, &vm.memory, sizeof(vm.memory), vm.memory_fd, &nfds, e);
	if (rc)
		return rc;
	memory_id(&st, vm.id);
	if (vm.memory.fds != nfds || vm.memory.maps > VMX_MAPS_MAX)
		rc = err_set(e, EPROTO, "VM process gave %zu descriptors of its memory, not %u", nfds, vm.memory.fds);
	else if (pager_client_attach(p->client, &vm, e))
		rc = -ENOTSUP;
	for (size_t i = 0; i < nfds; i++)
		close(vm.memory_fd[i]);
	if (!rc)
		memcpy(id, vm.id, sizeof(vm.id));
	return rc;
}

/* The group of a VM that has moved into another folder is still named after the first: the file says so. NULL: no memory. */
static char *group_of(const char *dir)
{
	own_free char *path = join(dir, "group");
	own_buf struct buf text = BUF_INIT;
	return path && !file_read(path, PATH_MAX, &text, NULL) && text.len ? strndup(text.data, text.len) : strdup(dir);
}

static void remove_group(const char *dir)
{
	own_free char *group = group_of(dir);
	if (group)
		vm_cgroup_remove(group);
}

static void *watch_end(void *arg)
{
	struct vm *vm = arg;
	struct pollfd p[2] = {{vm->watch, POLLIN | POLLRDHUP, 0}, {vm->quit[0], POLLIN, 0}};
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno == EINTR)
			continue;
		if (p[0].revents & (POLLHUP | POLLRDHUP | POLLERR))
			break;
		if (p[1].revents)
			return NULL;
		char scrap[VMX_MSG_MAX];
		if (recv(vm->watch, scrap, sizeof(scrap), 0) <= 0)
			break;
	}
	struct pollfd gone = {vm->pidfd, POLLIN, 0};   // the socket closes a moment before the process is gone
	if (vm->pidfd >= 0)
		poll(&gone, 1, 2000);
	waitpid(vm->pid, NULL, WNOHANG);               // reaps it where it is our child
	if (vm->pager)
		pager_client_detach(vm->pager, vm->memory_id);
	vm_cgroup_remove(vm->group);
	pthread_mutex_lock(&vm->owner_lock);
	atomic_store(&vm->ended, true);
	vm_end_fn *on_end = vm->on_end;
	void *user = vm->user;
	pthread_mutex_unlock(&vm->owner_lock);
	on_end(user);
	return NULL;
}

static void vm_free(struct vm *vm)
{
	int *fds[] = {&vm->control, &vm->watch, &vm->pidfd, &vm->quit[0], &vm->quit[1]};
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
	pthread_mutex_destroy(&vm->owner_lock);
	pthread_mutex_destroy(&vm->lock);
	free(vm->vsock_path);
	free(vm->dir);
	free(vm->group);
	free(vm);
}

/* Connect to the VM in dir and start watching it. */
static int attach(const char *dir, const struct vm_paging *paging, vm_end_fn *on_end, void *user, struct vm **out, struct err *e)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	own_free char *control_path = join(dir, "control.sock");
	if (!vm || !control_path) {
		free(vm);
		return err_sys(e, ENOMEM, "attach VM");
	}
	*vm = (struct vm){.control = -1, .watch = -1, .pidfd = -1, .quit = {-1, -1}, .on_end = on_end, .user = user,
			  .dir = strdup(dir), .vsock_path = join(dir, "vsock.sock"), .group = group_of(dir)};
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->owner_lock, NULL);
	atomic_store(&vm->refs, 1);
	struct timeval reply_limit = {.tv_sec = REPLY_TIMEOUT_MS / 1000};
	int rc = 0;
	if (!vm->dir || !vm->vsock_path || !vm->group || pipe2(vm->quit, O_CLOEXEC))
		rc = err_sys(e, ENOMEM, "attach VM");
	if (!rc && ((rc = vm->control = usock_connect(control_path, SOCK_SEQPACKET, e)) >= 0))
		rc = vm->watch = usock_connect(control_path, SOCK_SEQPACKET, e);
	if (rc < 0) {
		vm_free(vm);
		return rc;
	}
	setsockopt(vm->control, SOL_SOCKET, SO_RCVTIMEO, &reply_limit, sizeof(reply_limit));
	setsockopt(vm->control, SOL_SOCKET, SO_SNDTIMEO, &reply_limit, sizeof(reply_limit));
	struct vmx_status st;
	rc = vm_status(vm, &st, e);
	if (rc) {   // -EPIPE: a process that is just ending held the socket; else it is there and does not answer
		vm_free(vm);
		return rc == -EPIPE ? -ENOENT : -EBUSY;
	}
	rc = paging ? memory_attach(vm->control, paging, vm->memory_id, e) : -ENODATA;
	if (rc && rc != -ENODATA) {
		vm_free(vm);
		return rc == -EPIPE ? -ENOENT : -EBUSY;
	}
	vm->pager = rc ? NULL : paging->client;
	vm->pid = (pid_t)st.pid;
	vm->pidfd = (int)syscall(SYS_pidfd_open, vm->pid, 0);
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WATCHER_STACK);
	rc = pthread_create(&vm->watcher, &attr, watch_end, vm);
	pthread_attr_destroy(&attr);
	if (rc) {
		vm_free(vm);
		return err_sys(e, rc, "watch VM");
	}
	*out = vm;
	return 0;
}

int vm_adopt(const char *dir, const struct vm_paging *paging, vm_end_fn *on_end, void *user, struct vm **out, struct err *e)
{
	int rc = attach(dir, paging, on_end, user, out, e);
	if (rc != -ECONNREFUSED && rc != -ENOENT)
		return rc;
	remove_group(dir);   // it ended while nobody watched
	return -ENOENT;
}

/* Descriptors that vmx inherits, by the names they have in its configuration. */
struct inherited { int fds[24]; size_t count; };

/* In the child they stand one after another from 3 on. Returns where, or -1. */
static int inherit_at(struct inherited *in, int fd)
{
	if (fd < 0 || in->count == sizeof(in->fds) / sizeof(in->fds[0])) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	in->fds[in->count++] = fd;
	return 2 + (int)in->count;
}

static int inherit(struct inherited *in, json_t *config, const char *name, int fd)
{
	int at = inherit_at(in, fd);
	return at < 0 ? -1 : json_object_set_new(config, name, json_integer(at));
}

static void inherited_close(struct inherited *in)
{
	while (in->count)
		close(in->fds[--in->count]);
}

static int open_in(const char *dir, const char *name, int flags, mode_t mode)
{
	own_free char *path = join(dir, name);
	return path ? open(path, flags | O_CLOEXEC, mode) : -1;
}

static int listen_in(const char *dir, const char *name, int type, struct err *e)
{
	own_free char *path = join(dir, name);
	return path ? usock_listen(path, type, 0600, e) : err_sys(e, ENOMEM, "listen");
}

static int inherit_pager(const struct vm_config *c, json_t *config, struct inherited *in, struct err *e)
{
	int device = c->paging ? pager_client_device(c->paging->client) : -1;
	if (c->paging && json_object_set_new(config, "paged", json_true()))
		return err_sys(e, ENOMEM, "start VM");
	return device >= 0 && inherit(in, config, "userfault_fd", fcntl(device, F_DUPFD_CLOEXEC, 3)) ?
		       err_sys(e, EMFILE, "start VM") : 0;
}

static json_t *describe(const struct vm_config *c)
{
	json_t *disks = json_array();
	for (size_t i = 0; i < c->disks_count; i++)
		json_array_append_new(disks, json_pack("{s:s, s:s, s:b}", "serial", c->disks[i].serial, "path",
						       c->disks[i].path, "read_only", c->disks[i].read_only));
	return json_pack("{s:i, s:s, s:s, s:s, s:s*, s:i, s:i, s:s, s:i, s:o, s:i, s:i, s:b, s:b}", "version", 1, "id", c->id, "name", c->name,
			 "engine", c->engine, "metrics_dir", c->metrics_dir, "vcpus", c->vcpus, "memory_mib", c->memory_mib, "cmdline",
			 c->cmdline ? c->cmdline : "", "console_max_bytes", CONSOLE_MAX_BYTES, "disks", disks, "uid", c->uid, "gid", c->uid,
			 "template", c->template, "waiting", c->waiting);
}

/* Everything the new process needs is opened here, in the parent, where errors can be told. */
static int prepare(const struct vm_config *c, int ready_w, json_t *config, struct inherited *in, struct err *e)
{
	if (inherit(in, config, "ready_fd", ready_w))
		return err_sys(e, EMFILE, "start VM");
	int control = listen_in(c->dir, "control.sock", SOCK_SEQPACKET, e);
	if (control < 0 || inherit(in, config, "control_fd", control))
		return -EIO;
	int vsock = listen_in(c->dir, "vsock.sock", SOCK_STREAM, e);
	if (vsock < 0 || inherit(in, config, "vsock_fd", vsock))
		return -EIO;
	if (inherit(in, config, "kernel_fd", open_in(c->guest_dir, "vmlinux", O_RDONLY, 0)) ||
	    inherit(in, config, "initrd_fd", open_in(c->guest_dir, "initramfs.cpio", O_RDONLY, 0)))
		return err_set(e, ENOENT, "guest kernel or initramfs is missing in %s: run \"make build\"", c->guest_dir);
	if (inherit(in, config, "console_fd", open_in(c->dir, "console.log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600)))
		return err_sys(e, errno, "open %s/console.log", c->dir);
	if (c->restore_state_fd >= 0 &&
	    (inherit(in, config, "restore_state_fd", fcntl(c->restore_state_fd, F_DUPFD_CLOEXEC, 3)) ||
	     inherit(in, config, "restore_memory_fd", fcntl(c->restore_memory_fd, F_DUPFD_CLOEXEC, 3))))
		return err_sys(e, EMFILE, "start VM");
	if (inherit_pager(c, config, in, e))
		return -EIO;
	if (c->tap_fd < 0)
		return json_object_set_new(config, "nets", json_array());
	json_t *net = json_pack("{s:s, s:b}", "mac", c->mac, "vnet_hdr", c->vnet_hdr);
	if (!net || inherit(in, net, "tap_fd", fcntl(c->tap_fd, F_DUPFD_CLOEXEC, 3)))
		return err_sys(e, EMFILE, "start VM");
	json_t *more = json_array();
	for (size_t i = 0; i < c->queue_fds; i++) {
		int at = inherit_at(in, fcntl(c->queue_fd[i], F_DUPFD_CLOEXEC, 3));
		if (at < 0 || json_array_append_new(more, json_integer(at)))
			return err_sys(e, EMFILE, "start VM");
	}
	json_object_set_new(net, "queue_fds", more);
	return json_object_set_new(config, "nets", json_pack("[o]", net));
}

static int config_memfd(const json_t *config)
{
	own_free char *text = json_dumps(config, JSON_COMPACT);
	own_fd int fd = memfd_create("vm-config", MFD_CLOEXEC);
	if (!text || fd < 0 || fd_write_all(fd, text, strlen(text)) || lseek(fd, 0, SEEK_SET))
		return -1;
	return take_fd(fd);
}

/* A process that is the first of a PID namespace of its own, where the host allows that: what runs in it, and QEMU below it,
 * sees no other process, and all of it dies with it. */
static pid_t fork_alone(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, NULL, NULL, NULL, NULL);
	return pid < 0 && (errno == EPERM || errno == EINVAL) ? fork() : pid;
}

/* What the VM's processes may use of the host, were they to do something else than their work. */
static void make_cgroup(const struct vm_config *c, struct vm_cgroup *g)
{
	uint64_t guest = (uint64_t)c->memory_mib << 20;
	struct vm_cgroup_limits l = {
		// A template is written to a memory file, which counts as its writer's.
		.memory_bytes = (c->template ? 2 * guest : guest) + (strcmp(c->engine, "qemu") ? OWN_BYTES_KVM : OWN_BYTES_QEMU),
		.pids = THREADS_MAX, .cpus = c->vcpus + 1,   // and the devices
	};
	struct err e = ERR_INIT;
	if (vm_cgroup_make(c->dir, &l, g, &e))
		log_limited(LOG_LEVEL_WARN, "vm", "%s", e.text);
}

static pid_t spawn(const struct vm_config *c, const struct inherited *in, const struct vm_cgroup *g)
{
	own_fd int log = open_in(c->dir, "vmx.log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	char config_fd[16];
	snprintf(config_fd, sizeof(config_fd), "%zu", 3 + in->count - 1);   // the configuration is the last one
	const char *argv[] = {c->vmx_path, "--config-fd", config_fd, NULL};
	pid_t pid = c->uid ? fork_alone() : fork();
	if (pid)
		return pid;
	setsid();
	vm_cgroup_join(g);
	signal(SIGPIPE, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* First out of the way of 0..2+count, then into place. */
	int high[24];
	for (size_t i = 0; i < in->count; i++)
		high[i] = fcntl(in->fds[i], F_DUPFD_CLOEXEC, 64);
	int null = open("/dev/null", O_RDONLY);
	dup2(null, 0);
	dup2(log >= 0 ? log : null, 1);
	dup2(log >= 0 ? log : null, 2);
	for (size_t i = 0; i < in->count; i++)
		dup2(high[i], 3 + (int)i);
	close_range(3 + (unsigned)in->count, ~0u, CLOSE_RANGE_CLOEXEC);
	execv(c->vmx_path, (char *const *)argv);
	_exit(127);
}

/* Wait for vmx's line on the ready pipe. */
static int wait_ready(int fd, const struct vm_config *c, struct err *e)
{
	own_buf struct buf line = BUF_INIT;
	uint64_t deadline = clock_mono_ns() + START_TIMEOUT_MS * NS_PER_MS;
	while (!line.data || !strchr(line.data, '\n')) {
		uint64_t now = clock_mono_ns();
		struct pollfd p = {fd, POLLIN, 0};
		if (now >= deadline || poll(&p, 1, (int)((deadline - now) / NS_PER_MS) + 1) == 0)
			return err_set(e, ETIMEDOUT, "VM did not start within %d s", START_TIMEOUT_MS / 1000);
		char chunk[512];
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (line.len + (size_t)n > 4096 || buf_append(&line, chunk, (size_t)n))
			break;
	}
	own_json json_t *answer = line.data ? json_loads(line.data, 0, NULL) : NULL;
	if (!strcmp(jpath_str(answer, "state", ""), "running"))
		return 0;
	char words[256];
	vm_last_words(c->dir, words, sizeof(words));
	return err_set(e, EIO, "VM did not start: %s", jpath_str(answer, "error", words));
}

/* A paged guest runs when its memory is attached: before it is ready. */
static int start_memory(const struct vm_config *c, uint8_t id[16], bool *attached, struct err *e)
{
	own_free char *path = join(c->dir, "control.sock");
	struct timeval limit = {.tv_sec = START_TIMEOUT_MS / 1000};
	if (!path)
		return err_sys(e, ENOMEM, "start VM");
	own_fd int sock = usock_connect(path, SOCK_SEQPACKET, NULL);
	if (sock < 0)
		return 0;                          // it has ended already; its last line says why
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	int rc = memory_attach(sock, c->paging, id, e);
	*attached = !rc;
	return rc == -EPIPE ? 0 : rc;
}

static int start_once(const struct vm_config *c, vm_end_fn *on_end, void *user, struct vm **vm, struct err *e)
{
	int rc = dir_make(c->dir, 0700, e), ready[2];
	if (rc)
		return rc;
	own_free char *group = join(c->dir, "group");
	if (group)
		unlink(group);                     // of a VM that had moved in here before
	own_json json_t *config = describe(c);
	if (!config || pipe2(ready, O_CLOEXEC))
		return err_sys(e, ENOMEM, "start VM");
	own_fd int ready_r = ready[0];
	struct inherited in = {.count = 0};
	rc = prepare(c, ready[1], config, &in, e);
	int config_fd = rc ? -1 : config_memfd(config);
	if (rc || config_fd < 0) {
		inherited_close(&in);
		return rc ? (e && e->code ? -e->code : -EIO) : err_sys(e, ENOMEM, "start VM");
	}
	in.fds[in.count++] = config_fd;
	struct vm_cgroup g = VM_CGROUP_INIT;
	make_cgroup(c, &g);
	pid_t pid = spawn(c, &in, &g);
	int fork_errno = errno;
	die_at("forked");
	inherited_close(&in);
	vm_cgroup_close(&g);
	if (pid < 0) {
		vm_cgroup_remove(c->dir);
		return err_sys(e, fork_errno, "start VM: fork");
	}
	uint8_t id[16];
	bool attached = false;
	rc = c->paging ? start_memory(c, id, &attached, e) : 0;
	if (!rc)
		rc = wait_ready(ready_r, c, e);
	if (!rc)
		rc = attach(c->dir, c->paging, on_end, user, vm, e);
	if (rc) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		if (attached)
			pager_client_detach(c->paging->client, id);
		vm_cgroup_remove(c->dir);
	}
	return rc;
}

int vm_start(const struct vm_config *c, vm_end_fn *on_end, void *user, struct vm **vm, struct err *e)
{
	int rc = start_once(c, on_end, user, vm, e);
	if (rc != -ENOTSUP || !c->paging || c->paging->vads)
		return rc;
	log_warn("vm", "%s: started with ordinary memory: %s", c->name, e ? e->text : "pagerd refuses");
	struct vm_config plain = *c;
	plain.paging = NULL;
	return start_once(&plain, on_end, user, vm, e);
}

int vm_request(struct vm *vm, struct vmx_msg *rq, size_t rq_len, const int *fds, size_t nfds, void *reply, size_t reply_len, struct err *e)
{
	pthread_mutex_lock(&vm->lock);
	rq->version = VMX_MSG_VERSION;
	rq->id = ++vm->next_id;
	char in[VMX_MSG_MAX];
	struct vmx_msg head = {0};
	ssize_t n = usock_send(vm->control, rq, rq_len, fds, nfds);
	while (n >= 0) {
		n = usock_recv(vm->control, in, sizeof(in), NULL, NULL);
		if (n < (ssize_t)sizeof(head))
			break;
		memcpy(&head, in, sizeof(head));
		if (head.id == rq->id)
			break;   // older ids: replies nobody waited for
	}
	pthread_mutex_unlock(&vm->lock);
	if (n < (ssize_t)sizeof(head))
		return err_set(e, n == -EAGAIN ? ETIMEDOUT : EPIPE, "VM process does not answer");
	if (head.type == VMX_MSG_ERROR && (size_t)n >= sizeof(struct vmx_error)) {
		struct vmx_error bad;
		memcpy(&bad, in, sizeof(bad));
		bad.text[sizeof(bad.text) - 1] = '\0';
		return err_set(e, bad.code > 0 ? bad.code : EIO, "%s", bad.text);
	}
	if (head.version != VMX_MSG_VERSION || head.type != rq->type || (size_t)n < reply_len)
		return err_set(e, EPROTO, "VM process answered with version %u type %u", head.version, head.type);
	memcpy(reply, in, reply_len);
	return 0;
}

static int request(struct vm *vm, struct vmx_msg *rq, size_t rq_len, void *reply, size_t reply_len, struct err *e)
{
	return vm_request(vm, rq, rq_len, NULL, 0, reply, reply_len, e);
}

int vm_save(struct vm *vm, int state_fd, int memory_fd, struct err *e)
{
	struct vmx_msg rq = {.type = VMX_MSG_SAVE}, reply;
	struct timeval longer = {.tv_sec = SAVE_TIMEOUT_S}, usual = {.tv_sec = REPLY_TIMEOUT_MS / 1000};
	setsockopt(vm->control, SOL_SOCKET, SO_RCVTIMEO, &longer, sizeof(longer));
	int rc = vm_request(vm, &rq, sizeof(rq), (const int[]){state_fd, memory_fd}, 2, &reply, sizeof(reply), e);
	setsockopt(vm->control, SOL_SOCKET, SO_RCVTIMEO, &usual, sizeof(usual));
	return rc;
}

int vm_status(struct vm *vm, struct vmx_status *out, struct err *e)
{
	struct vmx_msg rq = {.type = VMX_MSG_STATUS};
	return request(vm, &rq, sizeof(rq), out, sizeof(*out), e);
}

int vm_resize(struct vm *vm, const char *serial, uint64_t size_bytes, struct err *e)
{
	struct vmx_resize rq = {.head = {.type = VMX_MSG_RESIZE}, .size_bytes = size_bytes};
	struct vmx_msg reply;
	if (strlen(serial) > sizeof(rq.serial))
		return err_set(e, EINVAL, "'%s' is not a serial number", serial);
	memcpy(rq.serial, serial, strlen(serial));
	return request(vm, &rq.head, sizeof(rq), &reply, sizeof(reply), e);
}

bool vm_alive(const struct vm *vm) { return !atomic_load(&vm->ended); }
int vm_memory_stats(struct vm *vm, struct pager_stats *out, struct err *e)
{
	return vm->pager ? pager_client_stats(vm->pager, vm->memory_id, out, e) : err_set(e, ENODATA, "the VM is not paged");
}

uint32_t vm_pid(const struct vm *vm) { return (uint32_t)vm->pid; }
const uint8_t *vm_memory_id(const struct vm *vm) { return vm->pager ? vm->memory_id : NULL; }
const char *vm_vsock_path(const struct vm *vm) { return vm->vsock_path; }

void vm_kill(struct vm *vm)
{
	struct vmx_stop rq = {.head = {.type = VMX_MSG_STOP}, .how = 0};
	struct vmx_msg reply;
	if (atomic_load(&vm->ended))
		return;
	request(vm, &rq.head, sizeof(rq), &reply, sizeof(reply), NULL);
	struct pollfd gone = {vm->pidfd, POLLIN, 0};
	if (vm->pidfd >= 0 && poll(&gone, 1, 3000) == 0) {
		log_warn("vm", "does not stop, killed pid=%d", vm->pid);
		syscall(SYS_pidfd_send_signal, vm->pidfd, SIGKILL, NULL, 0);
		poll(&gone, 1, 2000);
	}
	waitpid(vm->pid, NULL, WNOHANG);
	vm_cgroup_remove(vm->group);       // whose watcher is told to quit does not see the end
}

int vm_become(struct vm *vm, const char *dir, vm_end_fn *on_end, void *user, struct err *e)
{
	char *new_dir = strdup(dir), *vsock_path = join(dir, "vsock.sock");
	own_free char *group = join(vm->dir, "group");
	int rc = group ? file_replace(group, vm->group, strlen(vm->group), 0600, e) : err_sys(e, ENOMEM, "move a VM");
	if (rc) {
		free(new_dir);
		free(vsock_path);
		return rc;
	}
	if (!new_dir || !vsock_path || rename(vm->dir, dir)) {
		int code = new_dir && vsock_path ? errno : ENOMEM;
		free(new_dir);
		free(vsock_path);
		return err_sys(e, code, "rename %s to %s", vm->dir, dir);
	}
	free(vm->dir);
	free(vm->vsock_path);
	vm->dir = new_dir;
	vm->vsock_path = vsock_path;
	pthread_mutex_lock(&vm->owner_lock);
	bool ended = atomic_load(&vm->ended);
	vm->on_end = on_end;
	vm->user = user;
	pthread_mutex_unlock(&vm->owner_lock);
	return ended ? err_set(e, EPIPE, "the VM has ended") : 0;
}

struct vm *vm_get(struct vm *vm)
{
	atomic_fetch_add(&vm->refs, 1);
	return vm;
}

void vm_put(struct vm *vm)
{
	if (atomic_fetch_sub(&vm->refs, 1) == 1)
		vm_free(vm);
}

void vm_close(struct vm *vm)
{
	if (!vm)
		return;
	if (write(vm->quit[1], "q", 1) < 0)
		log_warn("vm", "cannot wake watcher: %s", strerror(errno));
	pthread_join(vm->watcher, NULL);
	waitpid(vm->pid, NULL, WNOHANG);   // the watcher may have been told to quit before it saw the end
	vm_put(vm);
}

static void nobody_asks(void *user) { (void)user; }

void vm_end_leftover(const char *dir)
{
	struct vm *vm = NULL;
	int rc = vm_adopt(dir, NULL, nobody_asks, NULL, &vm, NULL);
	own_free char *group = rc && rc != -ENOENT ? group_of(dir) : NULL;
	if (group) {                               // it is there and does not answer
		vm_cgroup_kill(group);
		vm_cgroup_remove(group);
	}
	if (rc)
		return;
	vm_kill(vm);
	vm_close(vm);
}

/* The sentence of a log line, without time, level, program and subsystem. */
static const char *sentence(const char *line)
{
	const char *level = strchr(line, ' '), *text = level ? strstr(level, ": ") : NULL;
	if (!text)
		return line;
	text += 2;
	return !strncmp(text, "ended: ", 7) ? text + 7 : text;
}

void vm_last_words(const char *dir, char *out, size_t len)
{
	own_free char *path = join(dir, "vmx.log");
	own_buf struct buf text = BUF_INIT;
	snprintf(out, len, "its process was killed");
	if (!path || file_read(path, 1 << 20, &text, NULL) || !text.len)
		return;
	while (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	char *last = text.data ? strrchr(text.data, '\n') : NULL;
	last = last ? last + 1 : text.data;
	/* A VM that ends by itself says why; one whose last line is that it runs was killed. */
	if (text.len && !strstr(last, " vmx: running "))
		snprintf(out, len, "%s", sentence(last));
}
