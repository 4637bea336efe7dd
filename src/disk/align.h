// SPDX-License-Identifier: Apache-2.0
#ifndef BH_DISK_ALIGN_H
#define BH_DISK_ALIGN_H

#include <bulkhead/iofilter.h>

/* The layer that chain.c puts above a filter that wants whole blocks. below: that filter's layer. */
extern const struct iof_filter align_filter;        // reads pass
extern const struct iof_filter align_read_filter;   // reads are aligned too
int align_open(struct iof_layer *l, uint32_t align, struct err *e);

#endif
