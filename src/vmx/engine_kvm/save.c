// SPDX-License-Identifier: Apache-2.0
// A whole VM, saved and restored; see save.h.
#include "save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "virtio/mmio.h"
#include "vmx/engine_kvm/arch.h"

static int no_memory(struct err *e) { return err_set(e, ENOMEM, "no memory"); }

static int save_slot(struct bus *bus, unsigned n, struct buf *b, struct err *e)
{
	struct virtio_mmio_state s;
	if (!bus->slot[n])
		return 0;
	virtio_mmio_save(bus->slot[n], &s);
	return state_add(b, STATE_DEVICE, n, &s, sizeof(s)) ? no_memory(e) : 0;
}

int save_vm(struct machine *m, struct bus *bus, const struct state_shape *shape, struct buf *b, struct err *e)
{
	if (state_begin(b, shape))
		return no_memory(e);
	int rc = machine_save(m, b, e);
	struct serial_state serial;
	serial_save(&bus->serial, &serial);
	if (!rc && (state_add(b, STATE_SERIAL, 0, &serial, sizeof(serial)) ||
		    state_add(b, STATE_ACPI_EVENTS, 0, &bus->events, sizeof(bus->events))))
		rc = no_memory(e);
	for (unsigned n = 0; n < SLOTS && !rc; n++)
		rc = save_slot(bus, n, b, e);
	if (!rc)
		state_finish(b);
	return rc;
}

static int restore_slot(struct bus *bus, unsigned n, struct state *s, struct err *e)
{
	struct virtio_mmio_state d;
	size_t len;
	if (!bus->slot[n] || !state_find(s, STATE_DEVICE, n, &len))
		return 0;
	int rc = state_take(s, STATE_DEVICE, n, &d, sizeof(d), "the device in slot", e);
	if (!rc)
		rc = virtio_mmio_restore(bus->slot[n], &d, e);
	if (rc)
		err_wrap(e, "slot %u", n);
	return rc;
}

static int restore_parts(struct machine *m, struct bus *bus, struct state *s, const char *cpu_model, struct err *e)
{
	struct serial_state serial;
	uint32_t events;
	int rc;
	if ((rc = machine_restore(m, s, cpu_model, e)) ||
	    (rc = state_take(s, STATE_SERIAL, 0, &serial, sizeof(serial), "serial port", e)) ||
	    (rc = state_take(s, STATE_ACPI_EVENTS, 0, &events, sizeof(events), "ACPI events", e)))
		return rc;
	for (unsigned n = 0; n < SLOTS && !rc; n++)
		rc = restore_slot(bus, n, s, e);
	if (!rc)
		rc = state_all_taken(s, e);
	if (rc)
		return rc;
	serial_restore(&bus->serial, &serial);
	bus->events = events;
	if (events)
		machine_edge(m, IRQ_EVENTS);
	return 0;
}

int restore_vm(struct machine *m, struct bus *bus, const struct state_shape *shape, const char *cpu_model, const struct buf *bytes,
	       struct err *e)
{
	own_free struct state *s = calloc(1, sizeof(*s));
	if (!s)
		return no_memory(e);
	int rc = state_parse(s, bytes->data, bytes->len, e);
	if (rc)
		return rc;
	if (s->shape.vcpus != shape->vcpus || s->shape.memory_mib != shape->memory_mib)
		return err_set(e, EINVAL, "a VM of %u processors and %u MiB was saved, and this one has %u and %u MiB", s->shape.vcpus,
			       s->shape.memory_mib, shape->vcpus, shape->memory_mib);
	return restore_parts(m, bus, s, cpu_model, e);
}

int state_read(int fd, struct buf *out, struct err *e)
{
	for (;;) {
		if (buf_reserve(out, 1u << 16))
			return no_memory(e);
		ssize_t n = pread(fd, out->data + out->len, 1u << 16, (off_t)out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read the saved state");
		if (!n)
			return 0;
		out->len += (size_t)n;
		if (out->len > STATE_BYTES_MAX)
			return err_set(e, EFBIG, "the saved state is longer than %u bytes", STATE_BYTES_MAX);
	}
}
