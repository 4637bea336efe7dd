// SPDX-License-Identifier: Apache-2.0
// What a guest finds at its ports and addresses outside memory: serial port, ACPI registers, the way to reset, and a
// virtio device in each slot that has one. Everything else reads as ones and swallows what is written.
#ifndef BULKHEAD_KVM_BUS_H
#define BULKHEAD_KVM_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/guest_mem.h"
#include "virtio/mmio.h"
#include "vmx/engine_kvm/machine.h"
#include "vmx/engine_kvm/serial.h"
#include "vmx/slots.h"


struct bus {
	struct serial serial;
	struct virtio_mmio *slot[SLOTS];   // borrowed; NULL: empty; atomic, a device may come while the guest runs
	uint32_t events;                   // atomic: what happened since the guest looked
	void (*ended)(void *user, enum machine_end how, const char *why);
	void *user;
};

// Any thread. data: len bytes, 1, 2, 4 or 8.
void bus_port(struct bus *b, uint16_t port, bool write, unsigned len, uint8_t *data);
void bus_mmio(struct bus *b, gpa_t at, bool write, unsigned len, uint8_t *data);
/* The registers of a slot without a device: device type 0 (virtio 1.2, 4.2.3.1.1), which drivers leave alone without a word. */
void bus_empty(uint8_t window[VIRTIO_MMIO_SIZE]);

#endif
