// SPDX-License-Identifier: Apache-2.0
// Makes and removes the disks of claims that shall be on this host, as an external provisioner and snapshotter does: a
// claim that names this node (annotation volume.kubernetes.io/selected-node) and our driver gets a disk and a
// PersistentVolume; released volumes go; claims that ask for more grow; VolumeSnapshots are taken. Works under our server
// and under an upstream one alike.
#ifndef BH_HOSTD_CLAIMS_H
#define BH_HOSTD_CLAIMS_H

#include "base/err.h"
#include "host.h"

#define CLAIMS_DRIVER "disk.bulkhead.dev"

struct claims;

int claims_start(const struct host *h, struct claims **c, struct err *e);
void claims_stop(struct claims *c);   // NULL allowed
void claims_poke(struct claims *c);   // a pod has started or ended: look again. Any thread; NULL allowed

#endif
