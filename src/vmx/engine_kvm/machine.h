// SPDX-License-Identifier: Apache-2.0
// A virtual machine on KVM: memory, interrupt controllers and processors, without any device. Each processor has a thread;
// what a guest does outside of its memory goes to the owner's callbacks, on these threads.
#ifndef BULKHEAD_KVM_MACHINE_H
#define BULKHEAD_KVM_MACHINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/guest_mem.h"
#include "vmx/engine_kvm/arch.h"

struct buf;
struct kvm_run;
struct machine;
struct state;

enum machine_end { MACHINE_RESET, MACHINE_POWER_OFF, MACHINE_FAILED };

enum machine_exit { EXIT_PORT, EXIT_MMIO, EXIT_HALT, EXIT_SIGNAL, EXIT_OTHER, EXIT_KINDS };   // why KVM came back to us

struct machine_ops {                  // on vCPU threads, several at once
	void (*port)(void *user, uint16_t port, bool write, unsigned len, uint8_t *data);
	void (*mmio)(void *user, gpa_t at, bool write, unsigned len, uint8_t *data);
	/* A processor cannot go on. why: a sentence for MACHINE_FAILED. The processor stops; others go on. */
	void (*ended)(void *user, enum machine_end how, const char *why);
	/* The thread begins, before it runs anything of the guest's. May be NULL. 0, or -errno: it ends (MACHINE_FAILED). */
	int (*thread)(void *user);
	/* machine_stop waits for a processor, on the thread that called it: take what processors may be waiting to write. */
	void (*stopping)(void *user);
};

struct vcpu {
	struct machine *m;
	unsigned n;
	int fd;                       // owned; -1: none
	struct kvm_run *run;          // owned mapping; NULL: none
	pthread_t thread;
	bool started;
	uint64_t exits[EXIT_KINDS];   // relaxed atomics, written by its thread
};

#define MACHINE_VCPUS_MAX 32

struct machine {
	int kvm_fd, vm_fd;            // owned; -1: none
	size_t run_bytes;
	struct guest_mem mem;         // the guest's address space
	struct arch_machine arch;
	unsigned nvcpus;
	struct vcpu vcpu[MACHINE_VCPUS_MAX];
	bool stop;                    // atomic: the threads end
	const struct machine_ops *ops;
	void *user;
};

#define MACHINE_INIT { .kvm_fd = -1, .vm_fd = -1 }

/* Open /dev/kvm and see whether it has what is needed. By path: before the jail. 0 or -errno. */
int machine_open(struct machine *m, struct err *e);
/* Make memory (size bytes at ram, borrowed), interrupt controllers and processors. 0 or -errno. */
int machine_setup(struct machine *m, void *ram, uint64_t size, unsigned nvcpus, struct err *e);
/* Then arch_boot, or all is as it was saved: of the processor model, NULL: of any. 0 or -errno and a sentence. */
int machine_restore(struct machine *m, struct state *s, const char *cpu_model, struct err *e);
void machine_close(struct machine *m);   // stops it first

/* An eventfd of the caller's: each write is an edge on the line. 0 or -errno. */
int machine_irqfd(struct machine *m, int fd, unsigned line, struct err *e);
/* Have KVM write to fd when the guest stores the 32 bits v at at. 0 or -errno. */
int machine_ioeventfd(struct machine *m, int fd, gpa_t at, uint32_t v, struct err *e);
/* Let the guest read len bytes at host (pages, borrowed until machine_close) at at, without leaving it; its writes there go to
 * machine_ops as without. 0; -ENOTSUP: this KVM cannot. */
int machine_show(struct machine *m, gpa_t at, void *host, size_t len);
void machine_edge(struct machine *m, unsigned line);   // any thread

/* Let the processors run, from where they are. 0 or -errno. */
int machine_start(struct machine *m, const struct machine_ops *ops, void *user, struct err *e);
/* From the thread that started it; waits for the processors' threads. They end between two instructions: the machine can be
 * saved or started again. */
void machine_stop(struct machine *m);
int machine_save(struct machine *m, struct buf *b, struct err *e);   // stopped. 0 or -errno
/* Whether the processors are to end: what one waits for on their behalf is not coming. */
bool machine_stopping(const struct machine *m);

// vcpu.c
int vcpu_start(struct vcpu *v, struct err *e);
void vcpu_join(struct vcpu *v);          // m->stop is set

#endif
