// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of a guest: hardware-reduced, so that it looks for no chips of a PC.
#ifndef BULKHEAD_KVM_ACPI_H
#define BULKHEAD_KVM_ACPI_H

#include <stdint.h>

#include "virtio/guest_mem.h"

/* Write the tables to ACPI_BASE. slots: bit n set: slot n holds a device. Returns the root pointer's guest address, 0 when
 * they do not fit. */
gpa_t acpi_write(const struct guest_mem *mem, unsigned vcpus, uint32_t slots);

#endif
