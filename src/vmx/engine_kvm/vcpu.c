// SPDX-License-Identifier: Apache-2.0
// One virtual processor and its thread. A signal takes it out of the guest: the handler does nothing, immediate_exit closes
// the gap between the look at m->stop and the entry.
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/log.h"
#include "bulkhead/prda.h"
#include "vmx/engine_kvm/machine.h"

#define KICK_SIGNAL SIGUSR1

static void on_kick(int sig) { (void)sig; }

// ---- exits

static void fail(struct vcpu *v, const char *fmt, unsigned long long a, unsigned long long b)
{
	char why[160];
	snprintf(why, sizeof(why), fmt, a, b);
	v->m->ops->ended(v->m->user, MACHINE_FAILED, why);
}

// The area shared with the kernel is not the guest's to write, so its fields can be used as they are.
static void on_port(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	uint8_t *data = (uint8_t *)r + r->io.data_offset;
	for (uint32_t i = 0; i < r->io.count; i++, data += r->io.size)
		v->m->ops->port(v->m->user, r->io.port, r->io.direction == KVM_EXIT_IO_OUT, r->io.size, data);
}

static void on_mmio(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	v->m->ops->mmio(v->m->user, r->mmio.phys_addr, r->mmio.is_write, r->mmio.len, r->mmio.data);
}

PRDA_DEFINE_COUNTER(exits_port, "bulkhead_vm_exits_port_total", "exits for an I/O port");
PRDA_DEFINE_COUNTER(exits_mmio, "bulkhead_vm_exits_mmio_total", "exits for memory-mapped devices");
PRDA_DEFINE_COUNTER(exits_other, "bulkhead_vm_exits_other_total", "exits for signals, interrupts and the guest's end");

static void count(struct vcpu *v, enum machine_exit kind)
{
	__atomic_store_n(&v->exits[kind], v->exits[kind] + 1, __ATOMIC_RELAXED);
	prda_add(kind == EXIT_PORT ? exits_port : kind == EXIT_MMIO ? exits_mmio : exits_other, 1);
}

static enum machine_exit kind_of(uint32_t reason)
{
	switch (reason) {
	case KVM_EXIT_IO:
		return EXIT_PORT;
	case KVM_EXIT_MMIO:
		return EXIT_MMIO;
	case KVM_EXIT_HLT:
		return EXIT_HALT;
	default:
		return EXIT_OTHER;
	}
}

// What the guest did. False: this processor is done.
static bool serve(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	count(v, kind_of(r->exit_reason));
	switch (r->exit_reason) {
	case KVM_EXIT_IO:
		on_port(v);
		return true;
	case KVM_EXIT_MMIO:
		on_mmio(v);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:   // triple fault
		v->m->ops->ended(v->m->user, MACHINE_RESET, "");
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		v->m->ops->ended(v->m->user, r->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? MACHINE_POWER_OFF :
				 MACHINE_RESET, "");
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		fail(v, "KVM cannot enter the guest (reason 0x%llx)", r->fail_entry.hardware_entry_failure_reason, 0);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		fail(v, "KVM failed (error %llu, at instruction 0x%llx)", r->internal.suberror, arch_instruction(v));
		return false;
	default:
		fail(v, "KVM left the guest for reason %llu, which is unknown here", r->exit_reason, 0);
		return false;
	}
}

static bool enter(struct vcpu *v)
{
	if (!ioctl(v->fd, KVM_RUN, 0))
		return serve(v);
	if (errno == EINTR || errno == EAGAIN) {
		count(v, EXIT_SIGNAL);
		return true;
	}
	fail(v, "KVM cannot run the guest (errno %llu)", (unsigned)errno, 0);
	return false;
}

// An access that was served is not over for KVM until the processor is entered again: its registers would be saved as they
// were in the middle of an instruction.
static void settle(struct vcpu *v)
{
	v->run->immediate_exit = 1;
	while (!ioctl(v->fd, KVM_RUN, 0) && serve(v))
		;
}

static void *run(void *arg)
{
	struct vcpu *v = arg;
	struct machine *m = v->m;
	char name[16];
	snprintf(name, sizeof(name), "vcpu-%u", v->n);
	pthread_setname_np(pthread_self(), name);
	int rc = m->ops->thread ? m->ops->thread(m->user) : 0;
	if (rc) {
		fail(v, "the thread of a processor cannot be jailed (errno %llu)", (unsigned)-rc, 0);
		return NULL;
	}
	while (!machine_stopping(m)) {
		if (!enter(v))
			return NULL;
	}
	settle(v);
	return NULL;
}

int vcpu_start(struct vcpu *v, struct err *e)
{
	struct sigaction a = {.sa_handler = on_kick};
	sigaction(KICK_SIGNAL, &a, NULL);
	int rc = pthread_create(&v->thread, NULL, run, v);
	if (rc)
		return err_sys(e, rc, "start the thread of processor %u", v->n);
	v->started = true;
	return 0;
}

void vcpu_join(struct vcpu *v)
{
	if (!v->started)
		return;
	for (;;) {   // again and again: the signal may come just before the thread begins to wait for something
		struct timespec until;
		v->run->immediate_exit = 1;
		pthread_kill(v->thread, KICK_SIGNAL);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 5000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_timedjoin_np(v->thread, NULL, &until) != ETIMEDOUT)
			break;
		if (v->m->ops->stopping)
			v->m->ops->stopping(v->m->user);
	}
	v->run->immediate_exit = 0;
	v->started = false;
}
