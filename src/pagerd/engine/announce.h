// SPDX-License-Identifier: Apache-2.0
// For processes that map a guest's memory: find the mappings, make a userfaultfd, hand both over.
#ifndef BH_PAGERD_ANNOUNCE_H
#define BH_PAGERD_ANNOUNCE_H

/* sock: connected SOCK_SEQPACKET. memfd: the guest's memory. device: an open /dev/userfaultfd, for processes that may not
 * open one themselves; -1: none. Blocks until the other side has attached. Returns 0; -ENOENT nothing maps memfd here;
 * -E2BIG more than PAGER_MAPS_MAX mappings; -ECANCELED the other side wants no paging; -EPERM userfaultfd is not allowed;
 * -errno. */
int memory_announce(int sock, int memfd, int device);

#endif
