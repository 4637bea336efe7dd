// SPDX-License-Identifier: Apache-2.0
// A VM's memory and pagerd: what vmx hands over, and what pagerd says of it; see vm.h.
#include "vm_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "base/usock.h"
#include "pager_client.h"

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
	own_free char *path = vm_path(vm->dir, "control.sock");
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

int vm_memory_attach(int sock, const struct vm_paging *p, uint8_t id[16], struct err *e)
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

int vm_memory_stats(struct vm *vm, struct pager_stats *out, struct err *e)
{
	return vm->pager ? pager_client_stats(vm->pager, vm->memory_id, out, e) : err_set(e, ENODATA, "the VM is not paged");
}

const uint8_t *vm_memory_id(const struct vm *vm) { return vm->pager ? vm->memory_id : NULL; }
