// SPDX-License-Identifier: Apache-2.0
// Saved QEMU guests; see qemu_state.h. A vhost-user vsock device can neither be saved nor be there while a state is loaded,
// and microvm's virtio-mmio slots know no hotplug. But a slot's bus has a property that says who handles hotplug on it: set
// to a device that accepts everything (`hp`, a SCSI controller's bus, in the slot that is good for nothing else), the vsock
// device can be added after the load. A guest that waits for its pod has all its slots made ready like that, and gets its disks
// and network cards while it runs.
#include "qemu_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "vmx/engine_qemu/qmp.h"
#include "vmx/memory_file.h"
#include "vmx/slots.h"
#include "vmx/vm.h"

#define SAVE_MS 60000
#define PLUG_MS 4000
#define PATH_UNATTACHED "/machine/unattached"

static void failed(struct qemu_state *s, const char *what, const char *why)
{
	s->doing = QEMU_STATE_NONE;
	vm_ended(s->vm, true, "the saved VM does not go on: %s: %s", what, why);
}

static json_t *capabilities(void)
{
	return json_pack("{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities", "capability", "x-ignore-shared", "state", 1, "capability",
			 "events", "state", 1);
}

// ---- going on

#define STEP(name, what) \
	static void name(void *user, const json_t *value, const char *why) \
	{ \
		(void)value; \
		if (why) \
			failed(user, what, why); \
	}
STEP(on_capabilities, "leave out memory")
STEP(on_handler, "prepare a device's slot")
STEP(on_incoming, "load its state")
STEP(on_vsock, "add the vsock device")
STEP(on_rehearsal, "add a network card")

static void on_cont(void *user, const json_t *value, const char *why)
{
	struct qemu_state *s = user;
	(void)value;
	if (why)
		return failed(s, "run", why);
	if (s->doing == QEMU_STATE_LOADING)
		vm_running(s->vm);
	s->doing = QEMU_STATE_NONE;
}

// The virtio-mmio transports are made one after another, each with its slot's number in the name of its bus.
static bool find_bus(const json_t *list, unsigned slot, char *path, size_t max)
{
	unsigned numbers[SLOTS], n = 0;
	const json_t *item;
	size_t i;
	json_array_foreach(list, i, item) {
		unsigned number;
		if (n == SLOTS || strcmp(jpath_str(item, "type", ""), "child<virtio-mmio>") ||
		    sscanf(jpath_str(item, "name", ""), "device[%u]", &number) != 1)
			continue;
		unsigned at = n++;
		for (; at && numbers[at - 1] > number; at--)
			numbers[at] = numbers[at - 1];
		numbers[at] = number;
	}
	if (n != SLOTS)
		return false;
	snprintf(path, max, PATH_UNATTACHED "/device[%u]/virtio-mmio-bus.%u", numbers[slot], slot);
	return true;
}

static bool may_come_later(const struct vmx_config *c, unsigned slot)
{
	return slot == SLOT_VSOCK || (c->waiting && slot >= SLOT_NET && slot < SLOT_DISK + DISKS_MAX);
}

static void on_list(void *user, const json_t *value, const char *why)
{
	struct qemu_state *s = user;
	struct err e = ERR_INIT;
	char path[128], uri[32];
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		if (!may_come_later(s->vm->config, slot))
			continue;
		if (why || !find_bus(value, slot, path, sizeof(path)))
			return failed(s, "find a device's slot", why ? why : "QEMU's list of devices has another form");
		json_t *handler = json_pack("{s:s, s:s, s:s}", "path", path, "property", "hotplug-handler", "value",
					    "/machine/peripheral/hp/hp.0");
		if (qmp_send(s->qmp, "qom-set", handler, -1, on_handler, s, &e))
			return failed(s, "prepare a device's slot", e.text);
	}
	snprintf(uri, sizeof(uri), "fd:%d", s->vm->config->restore_state_fd);
	if (qmp_send(s->qmp, "migrate-incoming", json_pack("{s:s}", "uri", uri), -1, on_incoming, s, &e))
		failed(s, "load its state", e.text);
}

int qemu_state_load(struct qemu_state *s, struct err *e)
{
	s->doing = QEMU_STATE_LOADING;
	int rc = qmp_send(s->qmp, "migrate-set-capabilities", capabilities(), -1, on_capabilities, s, e);
	return rc ? rc : qmp_send(s->qmp, "qom-list", json_pack("{s:s}", "path", PATH_UNATTACHED), -1, on_list, s, e);
}

// On it the guest does for the first time, which is slow, what it will have to do with its pod's network card.
static int add_rehearsal(struct qemu_state *s, struct err *e)
{
	char bus[32];
	snprintf(bus, sizeof(bus), "virtio-mmio-bus.%d", SLOT_REHEARSAL);
	return qmp_send(s->qmp, "device_add", json_pack("{s:s, s:s, s:s}", "driver", "virtio-net-device", "id", "dev-rehearsal", "bus", bus), -1,
			on_rehearsal, s, e);
}

static void loaded(struct qemu_state *s)
{
	struct err e = ERR_INIT;
	char bus[32];
	snprintf(bus, sizeof(bus), "virtio-mmio-bus.%d", SLOT_VSOCK);
	json_t *vsock = json_pack("{s:s, s:s, s:s, s:s}", "driver", "vhost-user-vsock-device", "id", "dev-vsock", "chardev", "vsock",
				  "bus", bus);
	if (qmp_send(s->qmp, "device_add", vsock, -1, on_vsock, s, &e) || (s->vm->config->waiting && add_rehearsal(s, &e)) || qmp_send(s->qmp, "cont", NULL, -1, on_cont, s, &e))
		failed(s, "run", e.text);
}

// ---- devices that come while the guest runs

static void on_plugged(void *user, const json_t *value, const char *why)
{
	struct qemu_state *s = user;
	(void)value;
	if (why && !*s->why)
		snprintf(s->why, sizeof(s->why), "%s", why);
	s->done = !--s->waiting;
}

static int plug_send(struct qemu_state *s, const char *command, json_t *args, int fd, struct err *e)
{
	int rc = qmp_send(s->qmp, command, args, fd, on_plugged, s, e);
	s->waiting += !rc;
	return rc;
}

static int plug_net(struct qemu_state *s, unsigned n, struct err *e)
{
	const struct vmx_net_config *c = &s->vm->config->net[n];
	char id[16], device[24], bus[32];
	snprintf(id, sizeof(id), "net%u", n);
	snprintf(device, sizeof(device), "dev-net%u", n);
	snprintf(bus, sizeof(bus), "virtio-mmio-bus.%u", SLOT_NET + n);
	int rc = plug_send(s, "getfd", json_pack("{s:s}", "fdname", id), c->tap_fd[0], e);
	if (!rc)
		rc = plug_send(s, "netdev_add", json_pack("{s:s, s:s, s:s, s:b}", "type", "tap", "id", id, "fd", id, "vhost", 0), -1, e);
	return rc ? rc : plug_send(s, "device_add", json_pack("{s:s, s:s, s:s, s:s, s:s}", "driver", "virtio-net-device", "id", device, "netdev",
							      id, "mac", c->mac, "bus", bus), -1, e);
}

static int plug_disk(struct qemu_state *s, unsigned n, struct err *e)
{
	char chardev[16], device[24], bus[32];
	snprintf(chardev, sizeof(chardev), "disk%u", n);
	snprintf(device, sizeof(device), "dev-disk%u", n);
	snprintf(bus, sizeof(bus), "virtio-mmio-bus.%u", SLOT_DISK + n);
	return plug_send(s, "device_add", json_pack("{s:s, s:s, s:s, s:i, s:s}", "driver", "vhost-user-blk", "id", device, "chardev", chardev,
						    "num-queues", 1, "bus", bus), -1, e);
}

int qemu_state_plug(struct qemu_state *s, unsigned first_disk, struct err *e)
{
	const struct vmx_config *c = s->vm->config;
	int rc = 0;
	s->done = false;
	s->why[0] = '\0';
	for (unsigned i = 0; i < c->nnets && !rc; i++)
		rc = plug_net(s, i, e);
	for (unsigned i = first_disk; i < c->ndisks && !rc; i++)
		rc = plug_disk(s, i, e);
	if (rc || !s->waiting)
		return rc;
	rc = qmp_wait(s->qmp, &s->done, PLUG_MS);
	if (rc)
		return err_sys(e, -rc, "QEMU does not take the devices");
	return *s->why ? err_set(e, EIO, "QEMU does not take the devices: %s", s->why) : 0;
}

// ---- saving

static void on_saving(void *user, const json_t *value, const char *why)
{
	struct qemu_state *s = user;
	(void)value;
	if (!why || s->done)
		return;
	snprintf(s->why, sizeof(s->why), "%s", why);
	s->done = true;
}

static int save_state(struct qemu_state *s, int state_fd, struct err *e)
{
	s->done = false;
	s->why[0] = '\0';
	s->doing = QEMU_STATE_SAVING;
	int rc;
	if ((rc = qmp_send(s->qmp, "migrate-set-capabilities", capabilities(), -1, on_saving, s, e)) ||
	    (rc = qmp_send(s->qmp, "stop", NULL, -1, on_saving, s, e)) ||
	    (rc = qmp_send(s->qmp, "getfd", json_pack("{s:s}", "fdname", "state"), state_fd, on_saving, s, e)) ||
	    (rc = qmp_send(s->qmp, "migrate", json_pack("{s:s}", "uri", "fd:state"), -1, on_saving, s, e)))
		return rc;
	rc = qmp_wait(s->qmp, &s->done, SAVE_MS);
	if (rc)
		return err_sys(e, -rc, "QEMU does not save its state");
	return *s->why ? err_set(e, EIO, "QEMU does not save its state: %s", s->why) : 0;
}

int qemu_state_save(struct qemu_state *s, int state_fd, int memory_fd, struct err *e)
{
	if (s->doing != QEMU_STATE_NONE)
		return err_set(e, EBUSY, "QEMU is loading or saving a state already");
	int rc = save_state(s, state_fd, e);
	if (!rc)
		rc = memory_file_write(&s->vm->ram, memory_fd, e);
	s->doing = QEMU_STATE_NONE;
	if (rc)
		qmp_send(s->qmp, "cont", NULL, -1, NULL, NULL, NULL);
	return rc;
}

void qemu_state_event(struct qemu_state *s, const char *name, const json_t *data)
{
	const char *status = jpath_str(data, "status", "");
	bool ended = !strcmp(status, "completed"), bad = !strcmp(status, "failed") || !strcmp(status, "cancelled");
	if (strcmp(name, "MIGRATION") || !(ended || bad))
		return;
	if (s->doing == QEMU_STATE_SAVING) {
		if (bad && !*s->why)
			snprintf(s->why, sizeof(s->why), "it says \"%s\"", status);
		s->done = true;
	} else if (s->doing == QEMU_STATE_LOADING && bad) {
		failed(s, "load its state", "QEMU cannot read it");
	} else if (s->doing == QEMU_STATE_LOADING) {
		loaded(s);
	}
}
