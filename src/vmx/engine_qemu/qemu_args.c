// SPDX-License-Identifier: Apache-2.0
// QEMU's command line for a VM; see qemu_args.h. Each device names its slot, because a template's state is found by slot.
#include "qemu_args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "vmx/vm.h"

static void add(struct qemu_args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// Failures show as a missing argument, which the end of qemu_args_build looks for.
static void add(struct qemu_args *a, const char *fmt, ...)
{
	va_list ap;
	if (a->argc == QEMU_ARGS_MAX - 1)
		return;
	va_start(ap, fmt);
	if (vasprintf(&a->argv[a->argc], fmt, ap) < 0)
		a->argv[a->argc] = NULL;
	va_end(ap);
	a->argc++;
}

static int keep(struct qemu_args *a, int fd)
{
	a->keep[a->nkeep++] = fd;
	return fd;
}
_Static_assert(QEMU_KEEP_MAX >= 8 + NETS_MAX + DISKS_MAX, "every descriptor fits");

// QEMU reads commas in option values as separators; doubled they stand for themselves.
static int add_name(struct qemu_args *a, const char *name)
{
	own_buf struct buf b = BUF_INIT;
	for (const char *p = name; *p; p++) {
		if (buf_append(&b, *p == ',' ? ",," : p, *p == ',' ? 2 : 1))
			return -ENOMEM;
	}
	add(a, "-name");
	add(a, "%s", b.data ? b.data : "pod");
	return 0;
}

static void add_socket_chardev(struct qemu_args *a, const char *id, int fd)
{
	add(a, "-chardev");
	add(a, "socket,id=%s,fd=%d", id, keep(a, fd));
}

// The words with which a guest boots fastest under emulation; docs/performance.md tells what each is good for.
static void add_kernel(struct qemu_args *a, const struct vm *vm, const struct qemu_fds *fds)
{
	const struct vmx_config *c = vm->config;
	if (c->restore_state_fd >= 0) {   // vmx gives it the state and what else it needs by its monitor; see qemu_state.c
		keep(a, c->restore_state_fd);
		add(a, "-incoming");
		add(a, "defer");
		add(a, "-S");
		return;
	}
	add(a, "-kernel");
	add(a, "/proc/self/fd/%d", keep(a, c->kernel_fd));
	add(a, "-initrd");
	add(a, "/proc/self/fd/%d", keep(a, fds->initrd >= 0 ? fds->initrd : c->initrd_fd));
	char tsc[64] = "";
	uint64_t khz = strstr(c->cmdline, "tsc_early_khz=") ? 0 : tsc_khz_since(&vm->tsc);
	if (khz)
		snprintf(tsc, sizeof(tsc), " tsc_early_khz=%llu", (unsigned long long)khz);
	add(a, "-append");
	add(a, "console=ttyS0 reboot=t panic=-1 quiet tsc=reliable%s cryptomgr.notests=1 random.trust_cpu=on "
	       "rcupdate.rcu_expedited=1 8250.nr_uarts=1 nowatchdog audit=0%s%s%s",
	    tsc, c->vcpus == 1 ? " noreplace-smp" : "", *c->cmdline ? " " : "", c->cmdline);
}

static void add_machine(struct qemu_args *a, const struct vm *vm)
{
	const struct vmx_config *c = vm->config;
	add(a, "-nodefaults");
	add(a, "-no-user-config");
	add(a, "-no-reboot");
	add(a, "-display");
	add(a, "none");
	add(a, "-sandbox");
	add(a, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add(a, "-machine");
	add(a, "microvm,accel=tcg,memory-backend=ram,auto-kernel-cmdline=off");
	add(a, "-cpu");
	add(a, "max");
	add(a, "-smp");
	add(a, "%u", c->vcpus);
	add(a, "-m");
	add(a, "%uM", c->memory_mib);
	add(a, "-object");
	add(a, "memory-backend-file,id=ram,size=%uM,mem-path=/proc/self/fd/%d,share=on", c->memory_mib,
	    keep(a, vm->ram.fd));
	add(a, "-global");
	add(a, "virtio-mmio.force-legacy=false");
}

// QEMU is told of nothing but descriptors: it may not open what the host's pager needs.
static void add_pager(struct qemu_args *a, const struct vm *vm, const struct qemu_fds *fds)
{
	const struct paging *p = &vm->paging;
	if (!p->on)
		return;
	char device[32] = "";
	if (p->device >= 0)
		snprintf(device, sizeof(device), ",device=%d", keep(a, p->device));
	add(a, "-plugin");
	add(a, "file=/proc/self/fd/%d,socket=%d,memory=%d%s", keep(a, p->plugin), keep(a, fds->pager), vm->ram.fd, device);
}

static void add_devices(struct qemu_args *a, const struct vm *vm, const struct qemu_fds *fds)
{
	const struct vmx_config *c = vm->config;
	add_socket_chardev(a, "console", fds->console);
	add(a, "-serial");
	add(a, "chardev:console");
	add_socket_chardev(a, "qmp", fds->qmp);
	add(a, "-mon");
	add(a, "chardev=qmp,mode=control");
	add_socket_chardev(a, "vsock", fds->vsock);
	if (c->restore_state_fd >= 0) {
		add(a, "-device");
		add(a, "virtio-scsi-device,id=hp,bus=virtio-mmio-bus.0");
	} else if (!c->template) {   // with a vsock device, nothing could be saved
		add(a, "-device");
		add(a, "vhost-user-vsock-device,id=dev-vsock,chardev=vsock,bus=virtio-mmio-bus.%d", SLOT_VSOCK);
	}
	for (unsigned i = 0; i < c->nnets; i++) {
		add(a, "-netdev");
		add(a, "tap,id=net%u,fd=%d,vhost=off", i, keep(a, c->net[i].tap_fd[0]));
		add(a, "-device");
		add(a, "virtio-net-device,id=dev-net%u,netdev=net%u,mac=%s,bus=virtio-mmio-bus.%u", i, i, c->net[i].mac,
		    SLOT_NET + i);
	}
	for (unsigned i = 0; i < c->ndisks; i++) {
		char id[16];
		snprintf(id, sizeof(id), "disk%u", i);
		add_socket_chardev(a, id, fds->disk[i]);
		add(a, "-device");
		add(a, "vhost-user-blk,id=dev-%s,chardev=%s,num-queues=1,bus=virtio-mmio-bus.%u", id, id,
		    SLOT_DISK + i);
	}
	for (unsigned i = c->ndisks; c->waiting && i < DISKS_MAX; i++) {   // devices come when it is known which; see qemu_state.c
		char id[16];
		snprintf(id, sizeof(id), "disk%u", i);
		add_socket_chardev(a, id, fds->disk[i]);
	}
	add(a, "-device");
	add(a, "virtio-balloon-device,id=dev-balloon,free-page-reporting=on,deflate-on-oom=on,bus=virtio-mmio-bus.%d", SLOT_BALLOON);
}

int qemu_args_build(struct qemu_args *a, const struct vm *vm, const struct qemu_fds *fds, struct err *e)
{
	add(a, "qemu-system-x86_64");
	if (add_name(a, vm->config->name))
		return err_set(e, ENOMEM, "no memory");
	add_machine(a, vm);
	add_pager(a, vm, fds);
	add_devices(a, vm, fds);
	add_kernel(a, vm, fds);
	for (int i = 0; i < a->argc; i++) {
		if (!a->argv[i])
			return err_set(e, ENOMEM, "no memory");
	}
	if (a->argc == QEMU_ARGS_MAX - 1)
		return err_set(e, E2BIG, "QEMU's command line has too many arguments");
	return 0;
}

void qemu_args_fini(struct qemu_args *a)
{
	for (int i = 0; i < a->argc; i++)
		free(a->argv[i]);
}
