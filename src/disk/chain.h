// SPDX-License-Identifier: Apache-2.0
#ifndef BH_DISK_CHAIN_H
#define BH_DISK_CHAIN_H

#include <stdbool.h>

#include "base/err.h"

struct bh_disk;
struct descriptor;
struct descriptor_filter;
struct iof_filter;
struct iof_settings;
struct iof_layer;

int chain_build(struct bh_disk *d, const char *at, struct err *e);   // from the descriptor, bottom to top; at: from there down
int chain_close(struct bh_disk *d, struct err *e);                   // top to bottom
void chain_wire(struct bh_disk *d);                                  // who hands which operation to whom
bool chain_puts_elsewhere(const struct descriptor *desc);            // block n of the disk is not at n of the data file; NULL: false
int chain_check_order(const struct descriptor *desc, struct err *e);
struct iof_layer *chain_find(struct bh_disk *d, const char *name);   // NULL: none
struct iof_layer *chain_link(struct bh_disk *d);                     // the link filter; NULL: not a clone
bool chain_plain_above_link(const struct bh_disk *d);                // nothing sees reads before the link does

/* For those who rewire an open disk (online.c). */
int chain_layer_open(struct bh_disk *d, const struct descriptor_filter *df, struct iof_layer *next, struct iof_layer **top, struct err *e);
int chain_layer_close(struct iof_layer *l, struct err *e);
int chain_settings_known(const struct iof_filter *f, const struct iof_settings *s, struct err *e);

#endif
