// SPDX-License-Identifier: Apache-2.0
// Adopt, question and end bulkhead-vmx processes; see vm.h. The control connection is what ties hostd to a VM: its end is
// the VM's end. The pid is what vmx itself says on that connection, never what a file says.
#include "vm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "base/usock.h"
#include "pager_client.h"
#include "vm_cgroup.h"

#define SAVE_TIMEOUT_S 90
#define STOP_MS 3000
#define KILL_MS 2000
#define GONE_LOOK_MS 20
#define WATCHER_STACK (64 * 1024)

/* The group of a VM that has moved into another folder is still named after the first: the file says so. NULL: no memory. */
static char *group_of(const char *dir)
{
	own_free char *path = vm_path(dir, "group");
	own_buf struct buf text = BUF_INIT;
	return path && !file_read(path, PATH_MAX, &text, NULL) && text.len ? strndup(text.data, text.len) : strdup(dir);
}

static void remove_group(const char *dir)
{
	own_free char *group = group_of(dir);
	if (group)
		vm_cgroup_remove(group);
}

char *vm_path(const char *dir, const char *name)
{
	char *path;
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
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

int vm_attach(const char *dir, const struct vm_paging *paging, vm_end_fn *on_end, void *user, struct vm **out, struct err *e)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	own_free char *control_path = vm_path(dir, "control.sock");
	if (!vm || !control_path) {
		free(vm);
		return err_sys(e, ENOMEM, "attach VM");
	}
	*vm = (struct vm){.control = -1, .watch = -1, .pidfd = -1, .quit = {-1, -1}, .on_end = on_end, .user = user,
			  .dir = strdup(dir), .vsock_path = vm_path(dir, "vsock.sock"), .group = group_of(dir)};
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
	rc = paging ? vm_memory_attach(vm->control, paging, vm->memory_id, e) : -ENODATA;
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
	int rc = vm_attach(dir, paging, on_end, user, out, e);
	if (rc != -ECONNREFUSED && rc != -ENOENT)
		return rc;
	remove_group(dir);   // it ended while nobody watched
	return -ENOENT;
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
		return err_set(e, n == -EAGAIN ? ETIMEDOUT : n > 0 ? EPROTO : EPIPE, "VM process does not answer");
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

int vm_balloon(struct vm *vm, uint64_t target_bytes, struct err *e)
{
	struct vmx_balloon rq = {.head = {.type = VMX_MSG_BALLOON}, .target_bytes = target_bytes};
	struct vmx_msg reply;
	int rc = request(vm, &rq.head, sizeof(rq), &reply, sizeof(reply), e);
	if (!rc)
		atomic_store(&vm->balloon_asked, target_bytes);
	return rc;
}

uint64_t vm_balloon_asked(const struct vm *vm) { return atomic_load(&vm->balloon_asked); }
bool vm_alive(const struct vm *vm) { return !atomic_load(&vm->ended); }
uint32_t vm_pid(const struct vm *vm) { return (uint32_t)vm->pid; }
const char *vm_vsock_path(const struct vm *vm) { return vm->vsock_path; }

/* Has its process gone, within this time? */
static bool gone_within(const struct vm *vm, int ms)
{
	struct pollfd gone = {vm->pidfd, POLLIN, 0};
	if (vm->pidfd >= 0)
		return poll(&gone, 1, ms) > 0;
	for (;; ms -= GONE_LOOK_MS) {              // no descriptor was left: as good as it can be known
		waitpid(vm->pid, NULL, WNOHANG);
		if (vm->pid <= 0 || (kill(vm->pid, 0) && errno == ESRCH))
			return vm->pid > 0;
		if (ms <= 0)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = GONE_LOOK_MS * 1000000L}, NULL);
	}
}

bool vm_kill(struct vm *vm)
{
	struct vmx_stop rq = {.head = {.type = VMX_MSG_STOP}, .how = 0};
	struct vmx_msg reply;
	if (atomic_load(&vm->ended))
		return true;
	request(vm, &rq.head, sizeof(rq), &reply, sizeof(reply), NULL);
	bool ended = gone_within(vm, STOP_MS);
	if (!ended) {
		log_warn("vm", "does not stop, killed pid=%d", vm->pid);
		if (vm->pidfd >= 0)
			syscall(SYS_pidfd_send_signal, vm->pidfd, SIGKILL, NULL, 0);
		else
			vm_cgroup_kill(vm->group);
		ended = gone_within(vm, KILL_MS);
	}
	waitpid(vm->pid, NULL, WNOHANG);
	vm_cgroup_remove(vm->group);       // whose watcher is told to quit does not see the end
	return ended;
}

int vm_gone_fd(const struct vm *vm)
{
	return vm->pidfd < 0 ? -1 : fcntl(vm->pidfd, F_DUPFD_CLOEXEC, 0);
}

int vm_become(struct vm *vm, const char *dir, vm_end_fn *on_end, void *user, struct err *e)
{
	char *new_dir = strdup(dir), *vsock_path = vm_path(dir, "vsock.sock");
	own_free char *group = vm_path(vm->dir, "group");
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

/* Whose the VM in dir is, as its control socket says. */
static uid_t user_of(const char *dir)
{
	own_free char *path = vm_path(dir, "control.sock");
	struct stat st = {0};
	return path && !stat(path, &st) ? st.st_gid : 0;
}

/* One that is there and does not answer. Which process it is cannot be asked; that its end of a connection closes tells when it is gone. */
static bool end_silent(const char *dir, int *gone)
{
	own_free char *path = vm_path(dir, "control.sock");
	own_free char *group = group_of(dir);
	if (!path || !group)
		return false;
	own_fd int sock = usock_connect(path, SOCK_SEQPACKET, NULL);
	if (sock < 0)
		return sock == -ECONNREFUSED || sock == -ENOENT;
	vm_cgroup_kill(group);
	struct pollfd end = {sock, POLLIN, 0};
	if (poll(&end, 1, KILL_MS) > 0) {
		vm_cgroup_remove(group);
		return true;
	}
	*gone = take_fd(sock);
	return false;
}

bool vm_ended_leftover(const char *dir, int *gone, uid_t *uid)
{
	struct vm *vm = NULL;
	int rc = vm_adopt(dir, NULL, nobody_asks, NULL, &vm, NULL);
	if (rc == -ENOENT)
		return true;
	*gone = -1;
	*uid = user_of(dir);
	if (rc)
		return end_silent(dir, gone);
	bool ended = vm_kill(vm);
	if (!ended)
		*gone = vm_gone_fd(vm);
	vm_close(vm);
	return ended;
}

void vm_end_leftover(const char *dir)
{
	own_fd int gone = -1;
	uid_t uid;
	vm_ended_leftover(dir, &gone, &uid);
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
	own_free char *path = vm_path(dir, "vmx.log");
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
