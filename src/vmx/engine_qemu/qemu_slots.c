// SPDX-License-Identifier: Apache-2.0
// A cpio archive with one file, and the initramfs behind it; see qemu_slots.h.
#include "qemu_slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"
#include "slots_aml.h"

// One member in cpio's "newc" form: all numbers as eight hexadecimal digits, name and data padded to four bytes.
static int add_member(struct buf *b, const char *name, const void *data, size_t len, unsigned mode)
{
	static const char zeros[4];
	size_t name_len = strlen(name) + 1;
	int rc = buf_printf(b, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 0, mode, 0, 0, 1, 0, len, 0, 0, 0, 0,
			    name_len, 0);
	if (!rc)
		rc = buf_append(b, name, name_len);
	if (!rc)
		rc = buf_append(b, zeros, -b->len & 3);
	if (!rc && len)
		rc = buf_append(b, data, len);
	return rc ? rc : buf_append(b, zeros, -b->len & 3);
}

int qemu_slots_initrd(int initrd_fd, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	own_fd int fd = memfd_create("template-initrd", MFD_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(initrd_fd, &st))
		return err_sys(e, errno, "make the template's initramfs");
	if (add_member(&b, "kernel/firmware/acpi/slots.aml", slots_aml, sizeof(slots_aml), 0100644) ||
	    add_member(&b, "TRAILER!!!", NULL, 0, 0))
		return err_set(e, ENOMEM, "no memory");
	int rc = fd_write_all(fd, b.data, b.len);
	if (rc)
		return err_sys(e, -rc, "write the template's initramfs");
	void *all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, initrd_fd, 0);
	if (all == MAP_FAILED)
		return err_sys(e, errno, "read the initramfs");
	rc = fd_write_all(fd, all, (size_t)st.st_size);
	munmap(all, (size_t)st.st_size);
	return rc ? err_sys(e, -rc, "write the template's initramfs") : take_fd(fd);
}
