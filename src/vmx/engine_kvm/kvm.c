// SPDX-License-Identifier: Apache-2.0
// The KVM engine: this process is the virtual machine monitor. Each processor has a thread, each device has its own, and
// the main thread, woken through wake_fd, starts the processors and tells the VM how the guest ended.
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "virtio/balloon.h"
#include "virtio/mmio.h"
#include "vmx/callfilter.h"
#include "vmx/console.h"
#include "vmx/devthread.h"
#include "vmx/engine.h"
#include "vmx/engine_kvm/arch.h"
#include "vmx/engine_kvm/bus.h"
#include "vmx/engine_kvm/machine.h"
#include "vmx/engine_kvm/save.h"
#include "vmx/memory_file.h"
#include "vmx/vm.h"

#define WINDOWS_BYTES (SLOTS * VIRTIO_MMIO_SIZE)
_Static_assert(WINDOWS_BYTES % 4096 == 0, "whole pages");

struct transport {                      // of one device
	struct virtio_mmio *mmio;       // owned
	struct devthread *thread;       // borrowed
	int irq_fd;                     // owned; -1: none
};

struct engine {
	struct vm *vm;
	struct machine machine;
	struct bus bus;
	struct transport transport[SLOTS];
	unsigned ntransports;
	uint32_t slots;                 // bit n: slot n holds a device
	int serial_fd;                  // owned: where the serial port writes, the console's other end
	int wake_fd;                    // owned eventfd
	int ack_fd;                     // owned eventfd that nobody reads: it takes what need not come here
	uint8_t *windows;               // owned: what the guest reads of the devices' registers, WINDOWS_BYTES
	struct evwatch *wake_watch;
	bool started;
	pthread_mutex_t lock;           // of the end: the first one counts
	bool ended, told;
	enum machine_end how;
	char why[160];
};

static void wake(struct engine *g)
{
	uint64_t one = 1;
	ssize_t n = write(g->wake_fd, &one, sizeof(one));
	(void)n;
}

// ---- on vCPU threads

static void on_port(void *user, uint16_t port, bool write, unsigned len, uint8_t *data)
{
	bus_port(&((struct engine *)user)->bus, port, write, len, data);
}

static void on_mmio(void *user, gpa_t at, bool write, unsigned len, uint8_t *data)
{
	bus_mmio(&((struct engine *)user)->bus, at, write, len, data);
}

static void on_ended(void *user, enum machine_end how, const char *why)
{
	struct engine *g = user;
	pthread_mutex_lock(&g->lock);
	if (!g->ended) {
		g->ended = true;
		g->how = how;
		snprintf(g->why, sizeof(g->why), "%s", why);
	}
	pthread_mutex_unlock(&g->lock);
	wake(g);
}

static void serial_irq(void *user) { machine_edge(&((struct engine *)user)->machine, IRQ_SERIAL); }

static int on_thread(void *user)
{
	(void)user;
	return callfilter_enter(CALLFILTER_VCPU, NULL);
}

// On the main thread: nobody else reads the console meanwhile.
static void on_stopping(void *user)
{
	struct engine *g = user;
	if (g->vm->console)
		console_drain(g->vm->console);
}

static const struct machine_ops machine_ops = {.port = on_port, .mmio = on_mmio, .ended = on_ended, .thread = on_thread,
					       .stopping = on_stopping};

// ---- on the main thread

static void tell_end(struct engine *g)
{
	char panic[256];
	console_drain(g->vm->console);
	if (console_panic(g->vm->console, panic, sizeof(panic)))
		vm_ended(g->vm, true, "the guest's kernel panicked: %s", panic);
	else if (g->how == MACHINE_POWER_OFF)
		vm_ended(g->vm, false, "the guest powered off");
	else if (g->vm->stop_asked)
		vm_ended(g->vm, false, "stopped on request");
	else if (g->how == MACHINE_RESET)
		vm_ended(g->vm, true, "the guest rebooted");
	else
		vm_ended(g->vm, true, "%s", g->why);
}

static void transport_resume(void *t) { virtio_mmio_resume(((struct transport *)t)->mmio); }
static void transport_pause(void *t) { virtio_mmio_pause(((struct transport *)t)->mmio); }

static int go_on(struct engine *g, struct err *e)
{
	for (unsigned i = 0; i < g->ntransports; i++)
		devthread_call(g->transport[i].thread, transport_resume, &g->transport[i]);
	return machine_start(&g->machine, &machine_ops, g, e);
}

static void on_wake(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)events;
	struct engine *g = user;
	struct err e = ERR_INIT;
	uint64_t n;
	if (read(evwatch_fd(w), &n, sizeof(n)) != sizeof(n))
		return;
	if (!g->started) {   // by now the devices' threads run
		g->started = true;
		if (go_on(g, &e))
			on_ended(g, MACHINE_FAILED, e.text);
		else
			vm_running(g->vm);
	}
	pthread_mutex_lock(&g->lock);
	bool tell = g->ended && !g->told;
	g->told |= tell;
	pthread_mutex_unlock(&g->lock);
	if (tell)
		tell_end(g);
}

// ---- start

static void kvm_free(struct engine *g);

static int kvm_open(struct vm *vm, struct engine **out, struct err *e)
{
	struct engine *g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(e, ENOMEM, "no memory");
	*g = (struct engine){.vm = vm, .machine = MACHINE_INIT, .serial_fd = -1, .wake_fd = -1, .ack_fd = -1};
	pthread_mutex_init(&g->lock, NULL);
	int rc = machine_open(&g->machine, e);
	if (rc) {
		kvm_free(g);
		return rc;
	}
	*out = g;
	return 0;
}

static int setup_console(struct engine *g, struct err *e)
{
	struct vm *vm = g->vm;
	int p[2];
	if (pipe2(p, O_CLOEXEC))
		return err_sys(e, errno, "make a pipe for the console");
	g->serial_fd = p[1];
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	vm->console = console_new(vm->loop, p[0], vm->config->console_fd, vm->config->console_max_bytes);
	if (!vm->console) {
		close(p[0]);
		return err_set(e, ENOMEM, "no memory");
	}
	serial_init(&g->bus.serial, g->serial_fd, serial_irq, g);
	g->bus.ended = on_ended;
	g->bus.user = g;
	g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->wake_fd >= 0)
		g->wake_watch = evloop_add(vm->loop, g->wake_fd, EPOLLIN, on_wake, g);
	return g->wake_watch ? 0 : err_set(e, ENOMEM, "no memory or descriptors");
}

// The guest reads device registers without leaving it. A slot without a device looks as bus.c says.
static int setup_windows(struct engine *g, struct err *e)
{
	void *p = mmap(NULL, WINDOWS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	g->ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p == MAP_FAILED || g->ack_fd < 0)
		return err_set(e, ENOMEM, "no memory or descriptors");
	g->windows = p;
	for (unsigned i = 0; i < SLOTS; i++)
		bus_empty(g->windows + i * VIRTIO_MMIO_SIZE);
	int rc = machine_show(&g->machine, DEVICES_BASE, g->windows, WINDOWS_BYTES);
	return rc && rc != -ENOTSUP ? err_sys(e, -rc, "show the guest its devices") : 0;
}

static void device_call(void *thread, void (*fn)(void *arg), void *arg) { devthread_call(thread, fn, arg); }

static int connect_device(struct engine *g, const struct vm_device *d, struct err *e)
{
	struct transport *t = &g->transport[g->ntransports++];
	gpa_t at = DEVICES_BASE + d->slot * VIRTIO_MMIO_SIZE;
	*t = (struct transport){.thread = d->thread, .irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (t->irq_fd < 0)
		return err_sys(e, errno, "make an interrupt of slot %u", d->slot);
	struct virtio_mmio_attr a = {.loop = devthread_loop(d->thread), .dev = d->dev, .mem = &g->machine.mem,
				     .irq_fd = t->irq_fd, .window = g->windows + d->slot * VIRTIO_MMIO_SIZE, .call = device_call, .user = d->thread};
	int rc = virtio_mmio_new(&a, &t->mmio);
	if (rc)
		return err_sys(e, -rc, "connect the device of slot %u", d->slot);
	rc = machine_irqfd(&g->machine, t->irq_fd, IRQ_SLOT(d->slot), e);
	for (unsigned i = 0; i < d->dev->nqueues && !rc; i++)
		rc = machine_ioeventfd(&g->machine, virtio_mmio_kick_fd(t->mmio, i),
				       at + VIRTIO_MMIO_QUEUE_NOTIFY, i, e);
	if (!rc)
		rc = machine_ioeventfd(&g->machine, g->ack_fd, at + VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_ACK_RINGS, e);
	__atomic_store_n(&g->bus.slot[d->slot], t->mmio, __ATOMIC_RELEASE);
	g->slots |= 1u << d->slot;
	return rc;
}

static int connect_all(struct engine *g, struct err *e)
{
	struct vm *vm = g->vm;
	int rc = connect_device(g, &vm->vsock_device, e);
	if (!rc)
		rc = connect_device(g, &vm->rng_device, e);
	if (!rc)
		rc = connect_device(g, &vm->balloon_device, e);
	for (unsigned i = 0; i < NETS_MAX && !rc; i++)   // a VM that waits has one for its rehearsal, and no other
		rc = vm->net[i].net ? connect_device(g, &vm->net[i].device, e) : 0;
	for (unsigned i = 0; i < vm->config->ndisks && !rc; i++)
		rc = connect_device(g, &vm->disk[i].device, e);
	return rc;
}

static struct state_shape shape_of(const struct engine *g)
{
	return (struct state_shape){.vcpus = g->vm->config->vcpus, .memory_mib = g->vm->config->memory_mib};
}

static int restore(struct engine *g, struct err *e)
{
	own_buf struct buf bytes = BUF_INIT;
	struct state_shape shape = shape_of(g);
	const struct vmx_config *c = g->vm->config;
	int rc = state_read(c->restore_state_fd, &bytes, e);
	if (!rc && c->paged)   // else it is a mapping of the file (vm.c)
		rc = memory_file_read(&g->vm->ram, c->restore_memory_fd, e);
	return rc ? rc : restore_vm(&g->machine, &g->bus, &shape, c->cpu_model, &bytes, e);
}

static int load(struct engine *g, struct err *e)
{
	const struct vmx_config *c = g->vm->config;
	struct arch_boot b = {.kernel_fd = c->kernel_fd, .initrd_fd = c->initrd_fd, .words = c->cmdline,
			      .slots = c->template ? ~0u : g->slots, .cpu_model = c->cpu_model};
	return arch_boot(&g->machine, &b, e);
}

static int kvm_start(struct vm *vm, struct engine **engine, struct err *e)
{
	struct engine *g = *engine;
	int rc;
	if ((rc = setup_console(g, e)) ||
	    (rc = machine_setup(&g->machine, vm->ram.base, vm->ram.size, vm->config->vcpus, e)) ||
	    (rc = setup_windows(g, e)) || (rc = connect_all(g, e)) || (rc = vm->config->restore_state_fd >= 0 ? restore(g, e) : load(g, e)))
		return rc;
	wake(g);
	return 0;
}

static void kvm_kill(struct engine *g) { on_ended(g, MACHINE_FAILED, "stopped on request"); }

static int kvm_power_button(struct engine *g, struct err *e)
{
	(void)e;
	__atomic_fetch_or(&g->bus.events, EVENT_POWER_BUTTON, __ATOMIC_SEQ_CST);
	machine_edge(&g->machine, IRQ_EVENTS);
	return 0;
}

// ---- save

static int write_state(struct engine *g, int state_fd, int memory_fd, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	struct state_shape shape = shape_of(g);
	int rc = save_vm(&g->machine, &g->bus, &shape, &b, e);
	if (rc)
		return rc;
	if (ftruncate(state_fd, 0) || lseek(state_fd, 0, SEEK_SET) < 0 || (rc = fd_write_all(state_fd, b.data, b.len)))
		return err_sys(e, rc ? -rc : errno, "write the VM's state");
	return memory_file_write(&g->vm->ram, memory_fd, e);
}

static int kvm_save(struct engine *g, int state_fd, int memory_fd, struct err *e)
{
	machine_stop(&g->machine);
	for (unsigned i = 0; i < g->ntransports; i++)
		devthread_call(g->transport[i].thread, transport_pause, &g->transport[i]);
	console_drain(g->vm->console);
	pthread_mutex_lock(&g->lock);
	bool ended = g->ended;
	pthread_mutex_unlock(&g->lock);
	if (ended)   // told when the event loop turns
		return err_set(e, ESHUTDOWN, "the guest has ended");
	int rc = write_state(g, state_fd, memory_fd, e);
	struct err again = ERR_INIT;
	if (rc && go_on(g, &again))
		on_ended(g, MACHINE_FAILED, again.text);
	return rc;
}

struct balloon_target {
	struct balloon *balloon;
	uint64_t bytes;
};

static void set_balloon(void *arg)
{
	struct balloon_target *t = arg;
	balloon_set(t->balloon, t->bytes);
}

static int kvm_balloon(struct engine *g, uint64_t target_bytes, struct err *e)
{
	struct balloon_target t = {.balloon = g->vm->balloon, .bytes = target_bytes};
	(void)e;
	devthread_call(g->vm->balloon_device.thread, set_balloon, &t);
	return 0;
}

// What the guest says, which may be anything.
static uint64_t kvm_ballooned(const struct engine *g)
{
	uint64_t all = (uint64_t)g->vm->config->memory_mib << 20, actual = balloon_actual(g->vm->balloon);
	return actual < all ? actual : all;
}

// The guest looks into the slots when its agent has been told to: nothing is said to it from here.
static int kvm_plug(struct engine *g, unsigned first_disk, struct err *e)
{
	struct vm *vm = g->vm;
	int rc = 0;
	for (unsigned i = 0; i < vm->config->nnets && !rc; i++)
		rc = connect_device(g, &vm->net[i].device, e);
	for (unsigned i = first_disk; i < vm->config->ndisks && !rc; i++)
		rc = connect_device(g, &vm->disk[i].device, e);
	return rc;
}

static void kvm_exits(const struct engine *g, struct vmx_status *s)
{
	uint64_t *const to[EXIT_KINDS] = {[EXIT_PORT] = &s->exits_port, [EXIT_MMIO] = &s->exits_mmio, [EXIT_HALT] = &s->exits_halt,
					  [EXIT_SIGNAL] = &s->exits_signal, [EXIT_OTHER] = &s->exits_other};
	for (unsigned i = 0; i < g->machine.nvcpus; i++) {
		for (unsigned k = 0; k < EXIT_KINDS; k++)
			*to[k] += __atomic_load_n(&g->machine.vcpu[i].exits[k], __ATOMIC_RELAXED);
	}
}

static pid_t kvm_pid(const struct engine *g) { (void)g; return 0; }

static void mmio_free(void *m) { virtio_mmio_free(m); }

static void kvm_free(struct engine *g)
{
	machine_stop(&g->machine);
	for (unsigned i = 0; i < g->ntransports; i++) {
		if (g->transport[i].mmio)
			devthread_call(g->transport[i].thread, mmio_free, g->transport[i].mmio);
	}
	machine_close(&g->machine);
	for (unsigned i = 0; i < g->ntransports; i++) {
		own_fd int fd = g->transport[i].irq_fd;
		(void)fd;
	}
	if (g->wake_watch)
		evloop_remove(g->wake_watch);
	own_fd int wake_fd = g->wake_fd, serial_fd = g->serial_fd, ack_fd = g->ack_fd;
	(void)wake_fd, (void)serial_fd, (void)ack_fd;
	if (g->windows)
		munmap(g->windows, WINDOWS_BYTES);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

const struct engine_ops engine_kvm = {
	.name = "kvm", .has_transport = true, .open = kvm_open, .start = kvm_start, .kill = kvm_kill,
	.power_button = kvm_power_button, .balloon = kvm_balloon, .ballooned = kvm_ballooned, .exits = kvm_exits,
	.pid = kvm_pid, .save = kvm_save, .plug = kvm_plug, .free = kvm_free,
};
