// SPDX-License-Identifier: Apache-2.0
// Start a bulkhead-vmx process: everything that it needs is opened, described and inherited; see vm.h.
#include "vm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
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

#define START_TIMEOUT_MS 20000
#define CONSOLE_MAX_BYTES (1 << 20)
// Beside the guest's memory: vmx itself; QEMU, which may fill a gibibyte with translated code before it begins anew.
#define OWN_BYTES_KVM (128ull << 20)
#define OWN_BYTES_QEMU (1280ull << 20)
#define THREADS_MAX 256

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
	own_free char *path = vm_path(dir, name);
	return path ? open(path, flags | O_CLOEXEC, mode) : -1;
}

static int listen_in(const char *dir, const char *name, int type, struct err *e)
{
	own_free char *path = vm_path(dir, name);
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
	own_free char *path = vm_path(c->dir, "control.sock");
	if (!path || (c->uid && chown(path, (uid_t)-1, c->uid)))   // says whose user the VM is, even when the VM does not answer
		return err_sys(e, path ? errno : ENOMEM, "change the group of the VM's control socket");
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
	own_free char *path = vm_path(c->dir, "control.sock");
	struct timeval limit = {.tv_sec = START_TIMEOUT_MS / 1000};
	if (!path)
		return err_sys(e, ENOMEM, "start VM");
	own_fd int sock = usock_connect(path, SOCK_SEQPACKET, NULL);
	if (sock < 0)
		return 0;                          // it has ended already; its last line says why
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	int rc = vm_memory_attach(sock, c->paging, id, e);
	*attached = !rc;
	return rc == -EPIPE ? 0 : rc;
}

static int start_once(const struct vm_config *c, vm_end_fn *on_end, void *user, struct vm **vm, struct err *e)
{
	int rc = dir_make(c->dir, 0700, e), ready[2];
	if (rc)
		return rc;
	own_free char *group = vm_path(c->dir, "group");
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
		rc = vm_attach(c->dir, c->paging, on_end, user, vm, e);
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
