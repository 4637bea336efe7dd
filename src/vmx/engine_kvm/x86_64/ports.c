// SPDX-License-Identifier: Apache-2.0
// I/O ports: serial port, ACPI registers, the ways to reset; see bus.h.
#include <string.h>

#include "vmx/engine_kvm/arch.h"
#include "vmx/engine_kvm/bus.h"

#define I8042_RESET 0xfe

static void write_port(struct bus *b, uint16_t port, uint8_t v)
{
	switch (port) {
	case PORT_I8042_COMMAND:
		if (v == I8042_RESET)
			b->ended(b->user, MACHINE_RESET, "");
		break;
	case PORT_RESET:
		if (v == 1)
			b->ended(b->user, MACHINE_RESET, "");
		break;
	case PORT_SLEEP_CONTROL:
		if ((v & SLEEP_ENABLE) && SLEEP_TYPE(v) == SLEEP_TYPE_S5)
			b->ended(b->user, MACHINE_POWER_OFF, "");
		break;
	default:
		if (port >= PORT_SERIAL && port < PORT_SERIAL + 8)
			serial_write(&b->serial, port - PORT_SERIAL, v);
		break;
	}
}

static uint8_t read_port(struct bus *b, uint16_t port)
{
	if (port >= PORT_SERIAL && port < PORT_SERIAL + 8)
		return serial_read(&b->serial, port - PORT_SERIAL);
	if (port == PORT_SLEEP_CONTROL || port == PORT_SLEEP_STATUS)
		return 0;
	return 0xff;
}

void bus_port(struct bus *b, uint16_t port, bool write, unsigned len, uint8_t *data)
{
	if (port == PORT_EVENTS && !write && len == 4) {
		uint32_t v = __atomic_exchange_n(&b->events, 0, __ATOMIC_SEQ_CST);
		memcpy(data, &v, sizeof(v));
		return;
	}
	for (unsigned i = 0; i < len; i++) {   // wider accesses are those of the bytes
		if (write)
			write_port(b, (uint16_t)(port + i), data[i]);
		else
			data[i] = read_port(b, (uint16_t)(port + i));
	}
}
