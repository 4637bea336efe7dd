// SPDX-License-Identifier: Apache-2.0
// A 16550A serial port that sends: as much of it as a kernel's console needs. Nothing is ever received.
#ifndef BULKHEAD_KVM_SERIAL_H
#define BULKHEAD_KVM_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct serial {
	pthread_mutex_t lock;
	int out;                      // where bytes go, borrowed; blocking writes
	void (*irq)(void *user);      // one edge of the interrupt line
	void *user;
	uint8_t ier, lcr, mcr, scr, fcr, dll, dlm;
	bool thr_empty;               // the interrupt "transmitter empty" is pending
};

void serial_init(struct serial *s, int out, void (*irq)(void *user), void *user);
uint8_t serial_read(struct serial *s, unsigned reg);            // reg: 0 to 7; any thread
void serial_write(struct serial *s, unsigned reg, uint8_t v);

struct serial_state { uint8_t ier, lcr, mcr, scr, fcr, dll, dlm, thr_empty; };

// While no processor runs.
void serial_save(struct serial *s, struct serial_state *to);
void serial_restore(struct serial *s, const struct serial_state *from);   // an interrupt that is due is raised again

#endif
