// SPDX-License-Identifier: Apache-2.0
#ifndef BH_DISK_CHAIN_H
#define BH_DISK_CHAIN_H

#include <stdbool.h>

#include "base/err.h"

struct bh_disk;
struct descriptor;
struct iof_layer;

int chain_build(struct bh_disk *d, const char *at, struct err *e);   // from the descriptor, bottom to top; at: from there down
int chain_close(struct bh_disk *d, struct err *e);                   // top to bottom
void chain_wire(struct bh_disk *d);                                  // who hands which operation to whom
int chain_check_order(const struct descriptor *desc, struct err *e);
struct iof_layer *chain_find(struct bh_disk *d, const char *name);   // NULL: none
struct iof_layer *chain_link(struct bh_disk *d);                     // the link filter; NULL: not a clone
bool chain_plain_above_link(const struct bh_disk *d);                // nothing sees reads before the link does

#endif
