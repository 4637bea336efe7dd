// SPDX-License-Identifier: Apache-2.0
// Waiting to be cloned; see template.h. A template has virtio-mmio slots without devices, which no driver took at boot.
// Nobody says that the VM is a clone now; it is found out by trying to bind the slot that every clone has a device in. A clone that
// waits for its pod is known by a network card in a slot where no pod has one.
#include "template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/own.h"
#include "boot.h"
#include "vmx/slots.h"

#define WORD "bulkhead.template"
#define DEVICES "/sys/bus/platform/devices"
#define BIND "/sys/bus/platform/drivers/virtio-mmio/bind"
#define UNBIND "/sys/bus/platform/drivers/virtio-mmio/unbind"
#define WAITING "bulkhead-agent: waiting to be cloned\n"    // hostd looks for this line (src/hostd/template_build.c)
#define POLL_NS 2000000

struct template_slots {
	char name[SLOTS][32];   // of the platform devices; "": none
	int bind;               // owned
};

static void slots_free(struct template_slots **s)
{
	if (*s && (*s)->bind >= 0)
		close((*s)->bind);
	free(*s);
}

bool template_wanted(void)
{
	own_buf struct buf line = BUF_INIT;
	if (file_read("/proc/cmdline", 4096, &line, NULL) || !line.data)
		return false;
	char *save = NULL;
	for (char *word = strtok_r(line.data, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		if (!strcmp(word, WORD))
			return true;
	return false;
}

static int slots_find(struct template_slots *s, struct err *e)
{
	own_dir DIR *d = opendir(DEVICES);
	struct dirent *de;
	if (!d)
		return err_sys(e, errno, "read " DEVICES);
	while ((de = readdir(d))) {
		char path[320];
		own_buf struct buf uid = BUF_INIT;
		if (strncmp(de->d_name, "LNRO0005:", 9) || strlen(de->d_name) >= sizeof(s->name[0]))
			continue;
		snprintf(path, sizeof(path), DEVICES "/%s/firmware_node/uid", de->d_name);
		if (file_read(path, 32, &uid, NULL) || !uid.data)
			continue;
		unsigned long slot = strtoul(uid.data, NULL, 10);
		if (slot < SLOTS)
			strcpy(s->name[slot], de->d_name);
	}
	s->bind = open(BIND, O_WRONLY | O_CLOEXEC);
	return s->bind < 0 ? err_sys(e, errno, "open " BIND) : 0;
}

static bool write_slot(const struct template_slots *s, int fd, unsigned slot)
{
	const char *name = s->name[slot];
	return *name && pwrite(fd, name, strlen(name), 0) == (ssize_t)strlen(name);
}

/* True: the slot has a device, and its driver has it now. */
static bool bind_slot(const struct template_slots *s, unsigned slot) { return write_slot(s, s->bind, slot); }

/* The other disks, and network cards: the slots are filled from the first one. */
static void bind_all(const struct template_slots *s)
{
	for (unsigned n = SLOT_NET; n < SLOT_NET + NETS_MAX && bind_slot(s, n); n++)
		;
	for (unsigned n = SLOT_DISK + 1; n < SLOT_DISK + DISKS_MAX && bind_slot(s, n); n++)
		;
}

int template_wait(struct template_slots **later, struct err *e)
{
	__attribute__((cleanup(slots_free))) struct template_slots *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "no memory");
	s->bind = -1;
	int rc = boot_load_module("quota_v2", e);   // clones need it for their scratch disk
	if (!rc)
		rc = slots_find(s, e);
	if (rc)
		return rc;
	own_fd int console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (!*s->name[SLOT_DISK])
		return err_set(e, ENODEV, "this VM has no slot to put a disk in: it cannot be a template");
	if (console < 0 || fd_write_all(console, WAITING, strlen(WAITING)))
		return err_sys(e, errno, "write to the console");
	while (!bind_slot(s, SLOT_DISK))
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	bind_slot(s, SLOT_VSOCK);   // not when the template had it
	if (!bind_slot(s, SLOT_REHEARSAL)) {
		bind_all(s);
		return 0;
	}
	own_fd int unbind = open(UNBIND, O_WRONLY | O_CLOEXEC);
	if (unbind < 0 || !write_slot(s, unbind, SLOT_REHEARSAL))
		return err_sys(e, errno, "give back the network card of the rehearsal");
	*later = take(s);
	return 0;
}

void template_plug(struct template_slots *slots)
{
	__attribute__((cleanup(slots_free))) struct template_slots *s = slots;
	bind_all(s);
}
