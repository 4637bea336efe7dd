// SPDX-License-Identifier: Apache-2.0
// Disks and network card for a VM that runs already; see vm.h. vmx is in its jail by then and can open nothing: every file that its
// disks consist of is opened here and handed over.
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base/usock.h"
#include "bulkhead/disk.h"
#include "vm_internal.h"

struct plug {
	int fds[USOCK_FDS_MAX];    // of the message, owned; 0: what all of this is
	size_t count;
	json_t *files;             // borrowed
};

static void plug_close(struct plug *p)
{
	while (p->count)
		close(p->fds[--p->count]);
}

static int add_fd(struct plug *p, int fd, struct err *e)
{
	if (p->count < USOCK_FDS_MAX) {
		p->fds[p->count++] = fd;
		return 0;
	}
	close(fd);
	return err_set(e, ENOTSUP, "its disks and its network card are more than %d files", USOCK_FDS_MAX - 1);
}

static int add_file(void *user, const char *path, enum bh_disk_file what, bool writable, struct err *e)
{
	struct plug *p = user;
	size_t i;
	json_t *f;
	json_array_foreach(p->files, i, f) {   // two disks with one parent
		int had = p->fds[json_integer_value(json_object_get(f, "fd"))];
		if (!writable && !strcmp(json_string_value(json_object_get(f, "path")), path) && (fcntl(had, F_GETFL) & O_ACCMODE) == O_RDONLY)
			return 0;
	}
	int fd = open(path, (writable ? O_RDWR : O_RDONLY) | (writable && what == BH_DISK_FILE_SIDE ? O_CREAT : 0) | O_CLOEXEC | O_NOCTTY, 0640);
	if (fd < 0 && errno == ENOENT && !writable)
		return 0;                  // what was never written; if it is needed, the disk says so
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	if (what == BH_DISK_FILE_DATA && flock(fd, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB)) {   // goes over with the descriptor
		int code = errno;
		close(fd);
		return err_sys(e, code, "%s is in use: lock it", path);
	}
	int rc = add_fd(p, fd, e);
	if (!rc && json_array_append_new(p->files, json_pack("{s:s, s:i}", "path", path, "fd", (int)p->count - 1)))
		rc = err_sys(e, ENOMEM, "plug disks");
	return rc;
}

static int add_disks(struct plug *p, json_t *disks, const struct vm_config *c, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; i < c->disks_count && !rc; i++) {
		const struct vm_disk *d = &c->disks[i];
		rc = bh_disk_files(d->path, d->read_only, add_file, p, e);
		if (!rc && json_array_append_new(disks, json_pack("{s:s, s:s, s:b}", "serial", d->serial, "path", d->path, "read_only", d->read_only)))
			rc = err_sys(e, ENOMEM, "plug disks");
	}
	return rc;
}

static int add_queue(struct plug *p, int queue, struct err *e)
{
	int fd = fcntl(queue, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? err_sys(e, errno, "plug a network card") : add_fd(p, fd, e);
}

static int add_net(struct plug *p, json_t *nets, const struct vm_config *c, struct err *e)
{
	if (c->tap_fd < 0)
		return 0;
	json_t *more = json_array();
	int rc = add_queue(p, c->tap_fd, e), first = (int)p->count - 1;
	for (size_t i = 0; i < c->queue_fds && !rc; i++) {
		rc = add_queue(p, c->queue_fd[i], e);
		if (!rc && json_array_append_new(more, json_integer((int)p->count - 1)))
			rc = err_sys(e, ENOMEM, "plug a network card");
	}
	json_t *net = json_pack("{s:i, s:s, s:b, s:o}", "tap_fd", first, "mac", c->mac, "vnet_hdr", c->vnet_hdr, "queue_fds", more);
	if (json_array_append_new(nets, net) && !rc)
		rc = err_sys(e, ENOMEM, "plug a network card");
	return rc;
}

struct count { const char *path[USOCK_FDS_MAX]; size_t count, room; };

static int count_file(void *user, const char *path, enum bh_disk_file what, bool writable, struct err *e)
{
	struct count *n = user;
	(void)what;
	for (size_t i = 0; !writable && i < n->count; i++)
		if (!strcmp(n->path[i], path))
			return 0;
	if (!writable && access(path, F_OK))
		return 0;
	if (n->count == n->room)
		return err_set(e, ENOTSUP, "its disks consist of more than %zu files", n->room);
	n->path[n->count] = strdup(path);
	return n->path[n->count++] ? 0 : err_sys(e, ENOMEM, "look at disks");
}

int vm_plug_check(const struct vm_config *c, struct err *e)
{
	/* Beside what all of it is, and the network card's queues. */
	struct count n = {.room = USOCK_FDS_MAX - 1 - (c->tap_fd >= 0)};
	n.room -= c->queue_fds < n.room ? c->queue_fds : n.room;
	int rc = 0;
	for (size_t i = 0; i < c->disks_count && !rc; i++)
		rc = bh_disk_files(c->disks[i].path, c->disks[i].read_only, count_file, &n, e);
	while (n.count)
		free((char *)n.path[--n.count]);
	return rc;
}

int vm_plug(struct vm *vm, const struct vm_config *c, struct err *e)
{
	struct plug p = {.count = 0};
	json_t *disks = json_array(), *nets = json_array();
	p.files = json_array();
	own_json json_t *all = json_pack("{s:s, s:o, s:o, s:o}", "name", c->name, "disks", disks, "nets", nets, "files", p.files);
	int about = memfd_create("vm-plug", MFD_CLOEXEC);
	int rc = !all || about < 0 ? err_sys(e, ENOMEM, "plug devices") : add_fd(&p, about, e);
	if (!rc)
		rc = add_net(&p, nets, c, e);
	if (!rc)
		rc = add_disks(&p, disks, c, e);
	own_free char *text = rc ? NULL : json_dumps(all, JSON_COMPACT);
	if (!rc && (!text || fd_write_all(about, text, strlen(text))))
		rc = err_sys(e, ENOMEM, "plug devices");
	struct vmx_msg rq = {.type = VMX_MSG_PLUG}, reply;
	if (!rc)
		rc = vm_request(vm, &rq, sizeof(rq), p.fds, p.count, &reply, sizeof(reply), e);
	plug_close(&p);
	return rc;
}
