// SPDX-License-Identifier: Apache-2.0
// What a clone still needs of its template: the pages that it has not touched. The folder of a VM that is a paged clone holds
// a link to the template's memory image, so that they can be had as long as the VM lives, whatever becomes of the template.
#ifndef BH_HOSTD_TEMPLATE_LINK_H
#define BH_HOSTD_TEMPLATE_LINK_H

#include <stdint.h>

#include "base/err.h"

/* The memory behind an image file (template_image.h), shared by all that ask for the same digest. The caller's. -errno. */
int template_memory(const char *path, const char *digest, uint64_t bytes, struct err *e);
void template_memory_forget(const char *digest);     // those who have it keep it

/* Link image into the VM's folder (made if absent), or remove what is there. 0 or -errno. */
int template_link(const char *vm_dir, const char *image, const char *digest, uint64_t bytes, struct err *e);
void template_unlink(const char *vm_dir);
/* The linked memory, the caller's. -ENOENT: the VM is no paged clone. -errno: its memory cannot be had any more. */
int template_linked(const char *vm_dir, uint64_t *bytes, struct err *e);

#endif
