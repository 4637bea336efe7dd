// SPDX-License-Identifier: Apache-2.0
// One VM; see vm.h.
#include "vm.h"

#include <bulkhead/disk.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/evloop.h"
#include "base/file.h"
#include "base/log.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"
#include "vmx/callfilter.h"
#include "vmx/console.h"
#include "vmx/devthread.h"
#include "vmx/engine.h"
#include "vmx/handed.h"
#include "vmx/shed.h"

#define GUEST_CID 3
#define VM_FINI_S 20

static const struct engine_ops *engine_find(const char *name)
{
	static const struct engine_ops *const engines[] = {&engine_qemu, &engine_kvm};
	for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	}
	return NULL;
}

static int vsock_init(struct vm *vm, struct err *e)
{
	struct vm_device *d = &vm->vsock_device;
	d->slot = SLOT_VSOCK;
	d->thread = devthread_new("vsock");
	if (!d->thread)
		return err_set(e, ENOMEM, "no memory or descriptors for the vsock device");
	struct vsock_attr a = {.loop = devthread_loop(d->thread), .listen_fd = vm->config->vsock_fd,
			       .guest_cid = GUEST_CID, .nqueues = vm->ops->has_transport ? 3 : 2};
	int rc = vsock_new(&a, &vm->vsock);
	if (rc)
		return err_set(e, -rc, "the vsock device cannot be made");
	d->dev = vsock_dev(vm->vsock);
	return 0;
}

static int disk_init(struct vm *vm, unsigned n, struct err *e)
{
	const struct vmx_disk_config *c = &vm->config->disk[n];
	struct vm_disk *d = &vm->disk[n];
	struct bh_disk_attr attr = {.mode = c->read_only ? BH_DISK_RDONLY : BH_DISK_RDWR, .keep_descriptor = vm->config->uid != 0};
	int rc = bh_disk_open(c->path, &attr, &d->disk, e);
	if (rc) {
		err_wrap(e, "disk \"%s\"", c->serial);
		return rc;
	}
	char name[16];
	snprintf(name, sizeof(name), "disk-%.10s", c->serial);
	d->device.slot = SLOT_DISK + n;
	d->device.thread = devthread_new(name);
	if (!d->device.thread)
		return err_set(e, ENOMEM, "no memory or descriptors for disk \"%s\"", c->serial);
	// A queue for each processor: one does not wait for another's lock. QEMU's own devices have one.
	unsigned queues = vm->config->vcpus < BLK_QUEUES_MAX ? vm->config->vcpus : BLK_QUEUES_MAX;
	struct blk_attr a = {.loop = devthread_loop(d->device.thread), .disk = d->disk, .serial = c->serial,
			     .nqueues = vm->ops->has_transport ? queues : 1, .read_only = c->read_only};
	rc = blk_new(&a, &d->blk);
	if (rc)
		return err_set(e, -rc, "the device of disk \"%s\" cannot be made", c->serial);
	d->device.dev = blk_dev(d->blk);
	return 0;
}

static int net_init(struct vm *vm, unsigned n, struct err *e)
{
	const struct vmx_net_config *c = &vm->config->net[n];
	struct vm_net *d = &vm->net[n];
	char name[16];
	snprintf(name, sizeof(name), "net-%u", n);
	d->device.slot = SLOT_NET + n;
	d->device.thread = devthread_new(name);
	if (!d->device.thread)
		return err_set(e, ENOMEM, "no memory or descriptors for network card %u", n);
	struct net_attr a = {.loop = devthread_loop(d->device.thread), .ntaps = c->ntaps, .vnet_hdr = c->vnet_hdr};
	memcpy(a.tap_fd, c->tap_fd, sizeof(a.tap_fd));
	sscanf(c->mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &a.mac[0], &a.mac[1], &a.mac[2], &a.mac[3], &a.mac[4], &a.mac[5]);
	int rc = net_new(&a, &d->net);
	if (rc)
		return err_sys(e, -rc, "the TAP of network card %u cannot be used", n);
	d->device.dev = net_dev(d->net);
	return 0;
}

/* In a VM that waits: a card whose other end nobody reads, for the guest to try its driver on. */
static int rehearsal_init(struct vm *vm, struct err *e)
{
	const unsigned n = SLOT_REHEARSAL - SLOT_NET;
	struct vmx_net_config *c = &vm->config->net[n];
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
		return err_sys(e, errno, "make a network card for a rehearsal");
	*c = (struct vmx_net_config){.tap_fd = {ends[0]}, .ntaps = 1, .mac = "02:00:00:00:00:01"};   // the other end stays open
	return net_init(vm, n, e);
}

static void discard(void *vm, void *host, size_t len) { guest_ram_discard(&((struct vm *)vm)->ram, host, len); }

static int small_init(struct vm *vm, struct err *e)
{
	struct balloon_attr a = {.discard = discard, .user = vm};
	vm->small_thread = devthread_new("small");
	vm->rng = rng_new();
	if (!vm->small_thread || !vm->rng || balloon_new(&a, &vm->balloon))
		return err_set(e, ENOMEM, "no memory or descriptors for balloon and random numbers");
	vm->rng_device = (struct vm_device){.thread = vm->small_thread, .dev = rng_dev(vm->rng), .slot = SLOT_RNG};
	vm->balloon_device = (struct vm_device){.thread = vm->small_thread, .dev = balloon_dev(vm->balloon), .slot = SLOT_BALLOON};
	return 0;
}

static int ram_init(struct vm *vm, struct err *e)
{
	uint64_t size = (uint64_t)vm->config->memory_mib << 20;
	int saved = vm->config->paged ? -1 : vm->config->restore_memory_fd;   // of a paged VM the pager knows what was saved
	if (saved >= 0 && vm->ops->has_transport)
		return guest_ram_open_copy(&vm->ram, size, saved, e);
	int rc = guest_ram_open(&vm->ram, size, e);
	vm->ram.paged = vm->config->paged;
	return rc;
}

int vm_init(struct vm *vm, struct vmx_config *c, struct evloop *l, struct err *e)
{
	vm->config = c;
	vm->loop = l;
	vm->ops = engine_find(c->engine);
	if (!vm->ops)
		return err_set(e, EINVAL, "engine \"%s\" is not known; there are: qemu, kvm", c->engine);
	if (c->waiting && !vm->ops->plug)
		return err_set(e, ENOTSUP, "a VM of the engine \"%s\" cannot wait for its devices", c->engine);
	int rc = vm->ops->open ? vm->ops->open(vm, &vm->engine, e) : 0;
	if (!rc)
		rc = ram_init(vm, e);
	if (!rc)
		rc = paging_open(&vm->paging, c, &vm->ram, !vm->ops->has_transport, e);
	if (!rc)
		rc = vsock_init(vm, e);
	for (unsigned i = 0; i < c->ndisks && !rc; i++)
		rc = disk_init(vm, i, e);
	for (unsigned i = 0; vm->ops->has_transport && i < c->nnets && !rc; i++)
		rc = net_init(vm, i, e);
	if (!rc && vm->ops->has_transport && c->waiting)
		rc = rehearsal_init(vm, e);
	if (!rc && vm->ops->has_transport)
		rc = small_init(vm, e);
	return rc;
}

int vm_start(struct vm *vm, struct err *e)
{
	int rc = vm->ops->start(vm, &vm->engine, e);
	if (!rc)
		rc = paging_own(&vm->paging, e);   // what this thread had to put into memory is there; the devices do not run yet
	if (!rc)
		rc = callfilter_enter(CALLFILTER_CONTROL, e);   // QEMU runs, which could not with this
	if (rc)
		return rc;
	vm->engine_ns = clock_mono_ns();
	rc = devthread_start(vm->vsock_device.thread, e);
	for (unsigned i = 0; i < vm->config->ndisks && !rc; i++)
		rc = devthread_start(vm->disk[i].device.thread, e);
	for (unsigned i = 0; i < NETS_MAX && !rc; i++)
		rc = vm->net[i].net ? devthread_start(vm->net[i].device.thread, e) : 0;
	return rc || !vm->small_thread ? rc : devthread_start(vm->small_thread, e);
}

static void vsock_fini(void *v) { vsock_free(v); }
static void blk_fini(void *b) { blk_free(b); }
static void net_fini(void *n) { net_free(n); }

static void disk_fini(struct vm_disk *d)
{
	struct err e = ERR_INIT;
	if (d->device.thread)
		devthread_call(d->device.thread, blk_fini, d->blk);
	devthread_free(d->device.thread);
	if (d->disk && bh_disk_close(d->disk, &e))
		log_error("vmx", "close slot=%u: %s", d->device.slot, e.text);
}

static void on_alarm(int sig) { _exit(128 + sig); }

void vm_fini(struct vm *vm)
{
	if (vm->paging.on) {   // a device may wait for a page that nobody brings any more: then without goodbye
		signal(SIGALRM, on_alarm);   // without a handler the first process of a namespace would not hear it
		alarm(VM_FINI_S);
	}
	if (vm->engine)
		vm->ops->free(vm->engine);
	if (vm->vsock_device.thread)
		devthread_call(vm->vsock_device.thread, vsock_fini, vm->vsock);
	devthread_free(vm->vsock_device.thread);
	for (unsigned i = 0; i < DISKS_MAX; i++)
		disk_fini(&vm->disk[i]);
	for (unsigned i = 0; i < NETS_MAX; i++) {
		if (vm->net[i].device.thread)
			devthread_call(vm->net[i].device.thread, net_fini, vm->net[i].net);
		devthread_free(vm->net[i].device.thread);
	}
	devthread_free(vm->small_thread);
	balloon_free(vm->balloon);
	rng_free(vm->rng);
	console_free(vm->console);
	paging_close(&vm->paging);
	guest_ram_close(&vm->ram);
}

void vm_kill(struct vm *vm)
{
	vm->stop_asked = true;
	vm->state = VMX_STOPPING;
	vm->ops->kill(vm->engine);
}

int vm_power_button(struct vm *vm, struct err *e)
{
	int rc = vm->ops->power_button(vm->engine, e);
	if (rc)
		return rc;
	vm->stop_asked = true;
	vm->state = VMX_STOPPING;
	return 0;
}

static bool is_same_file(int a, int b)
{
	struct stat x, y;
	return a >= 0 && b >= 0 && !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int vm_save(struct vm *vm, int state_fd, int memory_fd, struct err *e)
{
	if (!vm->ops->save)
		return err_set(e, ENOTSUP, "the engine \"%s\" cannot save a VM", vm->ops->name);
	if (vm->state != VMX_RUNNING)
		return err_set(e, EBUSY, "only a running VM can be saved");
	if (is_same_file(memory_fd, vm->config->restore_memory_fd))
		return err_set(e, EINVAL, "the VM's own memory comes from that file");
	int rc = vm->ops->save(vm->engine, state_fd, memory_fd, e);
	if (!rc)
		vm->state = VMX_PAUSED;
	return rc;
}

// ---- a VM that waited

static int plug_disks(struct vm *vm, unsigned first, struct err *e)
{
	unsigned n = vm->config->ndisks;
	int rc = 0;
	vm->config->ndisks = first;
	while (!rc && vm->config->ndisks < n) {
		unsigned i = vm->config->ndisks;
		rc = disk_init(vm, i, e);
		vm->config->ndisks += !rc;     // others ask for what the disks did
		if (!rc)
			rc = devthread_start(vm->disk[i].device.thread, e);
	}
	return rc;
}

/* The TAPs are the message's: what an engine without network cards of its own keeps is ours. */
static int plug_nets(struct vm *vm, struct err *e)
{
	int rc = 0;
	for (unsigned i = 0; i < vm->config->nnets && !rc; i++) {
		struct vmx_net_config *c = &vm->config->net[i];
		for (unsigned k = 0; k < c->ntaps; k++) {
			c->tap_fd[k] = fcntl(c->tap_fd[k], F_DUPFD_CLOEXEC, 3);
			if (c->tap_fd[k] < 0)
				return err_sys(e, errno, "keep the TAP of network card %u", i);
		}
		rc = net_init(vm, i, e);
		if (!rc)
			rc = devthread_start(vm->net[i].device.thread, e);
	}
	return rc;
}

int vm_plug(struct vm *vm, const int *fds, size_t nfds, struct err *e)
{
	struct handed h = {.count = 0};
	if (vm->state != VMX_WAITING)
		return err_set(e, EALREADY, "this VM does not wait for disks and network cards");
	unsigned first = vm->config->ndisks;       // those that it has waited with
	vm->state = VMX_STARTING;                  // nobody plugs twice
	int rc = vmx_config_plug(vm->config, fds, nfds, h.file, &h.count, e);
	if (!rc) {
		bh_disk_set_opener(handed_open, &h);
		rc = plug_disks(vm, first, e);
		bh_disk_set_opener(NULL, NULL);
	} else {
		vm->config->ndisks = first;
	}
	handed_fini(&h);
	if (!rc && vm->ops->has_transport)
		rc = plug_nets(vm, e);
	if (!rc)
		rc = vm->ops->plug(vm->engine, first, e);
	if (rc)
		return rc;
	vm->state = VMX_RUNNING;
	log_identity(vm->config->name);
	log_info("vmx", "running engine=%s engine_pid=%d disks=%u", vm->ops->name, (int)vm->ops->pid(vm->engine), vm->config->ndisks);
	return 0;
}

struct resize {
	struct blk *blk;
	bool changed;
};

static void resize(void *arg)
{
	struct resize *r = arg;
	r->changed = blk_resized(r->blk);
}

int vm_resize(struct vm *vm, const char *serial, uint64_t size_bytes, struct err *e)
{
	for (unsigned i = 0; i < vm->config->ndisks; i++) {
		if (strcmp(vm->config->disk[i].serial, serial))
			continue;
		struct resize r = {.blk = vm->disk[i].blk};
		int rc = bh_disk_resize(vm->disk[i].disk, size_bytes, e);
		if (rc) {
			err_wrap(e, "disk \"%s\"", serial);
			return rc;
		}
		devthread_call(vm->disk[i].device.thread, resize, &r);
		return r.changed ? 0 : err_set(e, EALREADY, "disk \"%s\" has the size that the guest knows", serial);
	}
	return err_set(e, ENOENT, "there is no disk with the serial \"%s\"", serial);
}

int vm_balloon(struct vm *vm, uint64_t target_bytes, struct err *e)
{
	uint64_t most = vm->ram.size / 4 * 3;   // a guest that has less does not live
	if (!vm->ops->balloon)
		return err_set(e, ENOTSUP, "this VM has no balloon");
	if (target_bytes > most)
		return err_set(e, EINVAL, "a guest of %llu bytes can do without %llu at most, not %llu", (unsigned long long)vm->ram.size,
			       (unsigned long long)most, (unsigned long long)target_bytes);
	return vm->ops->balloon(vm->engine, target_bytes, e);
}

void vm_status(const struct vm *vm, struct vmx_status *s)
{
	struct vsock_stats v;
	vsock_stats(vm->vsock, &v);
	s->state = vm->state;
	s->engine = vm->ops == &engine_qemu ? 0 : 1;
	s->pid = (uint32_t)vm->pid;
	s->engine_pid = (uint32_t)vm->ops->pid(vm->engine);
	s->vcpus = vm->config->vcpus;
	s->memory_mib = vm->config->memory_mib;
	s->start_real_ns = vm->start_real_ns;
	s->setup_ns = vm->engine_ns - vm->start_ns;
	s->boot_ns = v.first_rx_ns ? v.first_rx_ns - vm->engine_ns : 0;
	s->vsock_rx_bytes = v.rx_bytes;
	s->vsock_tx_bytes = v.tx_bytes;
	for (unsigned i = 0; i < vm->config->ndisks; i++) {
		struct blk_stats d;
		blk_stats(vm->disk[i].blk, &d);
		s->disk_read_bytes += d.read_bytes;
		s->disk_write_bytes += d.write_bytes;
		s->disk_ops += d.ops;
	}
	for (unsigned i = 0; i < NETS_MAX && vm->net[i].net; i++) {
		struct net_stats n;
		net_stats(vm->net[i].net, &n);
		s->net_rx_packets += n.rx_packets;
		s->net_tx_packets += n.tx_packets;
		s->net_rx_bytes += n.rx_bytes;
		s->net_tx_bytes += n.tx_bytes;
	}
	if (vm->ops->exits)
		vm->ops->exits(vm->engine, s);
	s->memory_resident_bytes = guest_ram_resident(&vm->ram);
	s->memory_balloon_bytes = vm->ops->ballooned ? vm->ops->ballooned(vm->engine) : 0;
}

void vm_running(struct vm *vm)
{
	if (vm->state != VMX_STARTING)
		return;
	static const char line[] = "{\"state\":\"running\"}\n";
	vm->state = vm->config->waiting ? VMX_WAITING : VMX_RUNNING;
	fd_write_all(vm->config->ready_fd, line, sizeof(line) - 1);
	close(vm->config->ready_fd);
	shed_start_pages();
	log_info("vmx", "running engine=%s engine_pid=%d setup_us=%llu", vm->ops->name, (int)vm->ops->pid(vm->engine),
		 (unsigned long long)(vm->engine_ns - vm->start_ns) / 1000);
}

void vm_ended(struct vm *vm, bool failed, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(vm->why, sizeof(vm->why), fmt, ap);
	va_end(ap);
	vm->failed = failed;
	evloop_stop(vm->loop);
}
