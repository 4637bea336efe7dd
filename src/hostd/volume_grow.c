// SPDX-License-Identifier: Apache-2.0
// Volumes that grow, also while a VM uses them; see volume_store.h.
#include "volume_store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/jpath.h"
#include "base/own.h"
#include "bulkhead/disk.h"

/* The data file before its descriptor, as disks want it. It is in use, and never cut here, whatever its user puts behind its end now. */
static int lengthen_data(const char *path, uint64_t size, struct err *e)
{
	own_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || fallocate(fd, 0, (off_t)size - 1, 1) || fsync(fd) ? err_sys(e, errno, "make '%s' longer", path) : 0;
}

/* Of a disk that a VM has open: what the next one will find. The VM changes what it has in memory. */
static int grow_descriptor(struct volume_store *s, const char *disk, uint64_t size, struct err *e)
{
	own_json json_t *desc = volume_descriptor(s, disk, e);
	char path[PATH_LEN];
	if (!desc)
		return -e->code;
	volume_disk_path(s, disk, ".bhd", path);
	json_object_set_new(desc, "size", json_integer((json_int_t)size));
	return volume_json_write(path, desc, e);
}

static int grow_closed(struct volume_store *s, const char *disk, uint64_t size, struct err *e)
{
	struct bh_disk *d = NULL;
	char path[PATH_LEN];
	volume_disk_path(s, disk, ".bhd", path);
	int rc = bh_disk_open(path, NULL, &d, e);
	if (rc)
		return rc;
	rc = bh_disk_resize(d, size, e);
	int closed = bh_disk_close(d, rc ? NULL : e);
	return rc ? rc : closed;
}

/* Whether it may have this size. data: the file that must be so long before, of a volume in use. */
static int grow_check(struct volume_store *s, const char *id, const json_t *rec, uint64_t size, char data[PATH_LEN], struct err *e)
{
	uint64_t old = (uint64_t)jpath_int(rec, "size", 0);
	if (size < old)
		return err_set(e, EINVAL, "volume %s has %llu MiB, it cannot shrink", id, (unsigned long long)(old / MIB));
	int rc = volume_room_for(s, size - old, e);
	if (!rc)
		volume_disk_path(s, jpath_str(rec, "disk", ""), ".data", data);
	return rc;
}

static int grow(struct volume_store *s, const char *id, json_t *rec, uint64_t size, bool used, struct err *e)
{
	int rc = used ? 0 : volume_writable(s, id, rec, e);
	if (rc)
		return rc;
	const char *disk = jpath_str(rec, "disk", "");
	rc = used ? grow_descriptor(s, disk, size, e) : grow_closed(s, disk, size, e);
	if (rc)
		return rc;
	json_object_set_new(rec, "size", json_integer((json_int_t)size));
	return volume_record_write(s, VOLUME, id, rec, e);
}

static int grow_unused(struct volume_store *s, const char *id, uint64_t size, struct err *e)
{
	own_json json_t *rec = NULL;
	char data[PATH_LEN];
	pthread_mutex_lock(&s->lock);
	int rc = volume_record_read(s, VOLUME, id, &rec, e);
	if (!rc)
		rc = grow_check(s, id, rec, size, data, e);
	if (!rc)
		rc = grow(s, id, rec, size, false, e);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* The sync of its data may take long, and other volumes do not wait for it. Meanwhile this one may get another disk, or grow further. */
static int grow_used(struct volume_store *s, const char *id, uint64_t size, struct err *e)
{
	char lengthened[PATH_LEN] = "", data[PATH_LEN];
	for (;;) {
		own_json json_t *rec = NULL;
		pthread_mutex_lock(&s->lock);
		int rc = volume_record_read(s, VOLUME, id, &rec, e);
		bool more = !rc && (!*lengthened || (uint64_t)jpath_int(rec, "size", 0) < size);
		if (more)
			rc = grow_check(s, id, rec, size, data, e);
		bool ready = rc || !more || !strcmp(data, lengthened);
		if (!rc && more && ready)
			rc = grow(s, id, rec, size, true, e);
		pthread_mutex_unlock(&s->lock);
		if (ready)
			return rc;
		rc = lengthen_data(data, size, e);
		if (rc)
			return rc;
		strcpy(lengthened, data);
	}
}

int volume_grow(struct volume_store *s, const char *id, uint64_t size_bytes, bool used, struct err *e)
{
	uint64_t size = (size_bytes + MIB - 1) / MIB * MIB;
	return used ? grow_used(s, id, size, e) : grow_unused(s, id, size, e);
}
