// SPDX-License-Identifier: Apache-2.0
// userfaultfd, one call each. All return 0 or -errno; addresses and lengths are those of the process that faults.
#ifndef BH_UFFD_H
#define BH_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A userfaultfd of this process, with UFFDIO_API done and the features pagerd needs. Returns it, or -errno. */
int uffd_open(void);
/* The same from an open /dev/userfaultfd, which may have come from a process with more rights. */
int uffd_open_device(int device);
/* Is fd a userfaultfd? Makes it non-blocking. -EINVAL: no. */
int uffd_check(int fd);
/* Missing pages and write protection. -ESRCH: the process is gone. */
int uffd_register(int fd, uint64_t address, uint64_t length);

/* Copy, or zeros when from is NULL, and wake. *done: bytes that are in place; on -EEXIST the next page is there already. */
int uffd_copy(int fd, uint64_t to, const void *from, uint64_t length, uint64_t *done);
int uffd_wake(int fd, uint64_t address, uint64_t length);
int uffd_protect(int fd, uint64_t address, uint64_t length);      // writes fault from now on
int uffd_unprotect(int fd, uint64_t address, uint64_t length);    // and wakes
/* Does the process still exist? page: one of its pages that is registered. */
bool uffd_alive(int fd, uint64_t page);
/* Whoever touches this gets SIGBUS. -EINVAL, -ENOTTY: the kernel cannot (before 6.6). */
int uffd_poison(int fd, uint64_t address, uint64_t length);

#endif
