// SPDX-License-Identifier: Apache-2.0
// A set of completion indexes as Jobs write it: "0-2,5".
#ifndef BH_SERVER_CONTROLLERS_INDEXES_H
#define BH_SERVER_CONTROLLERS_INDEXES_H

#include <stdbool.h>

#include "base/buf.h"

#define INDEXES_MAX 1000000

struct indexes {
	unsigned char *has;     // [count]
	long count;             // indexes that there can be
	long size;              // members
};

int indexes_init(struct indexes *x, long count, const char *text);   // what is not an index of the job is left out; 0 or -errno
void indexes_fini(struct indexes *x);
bool indexes_add(struct indexes *x, long i);                         // true: new
static inline bool indexes_has(const struct indexes *x, long i) { return i >= 0 && i < x->count && x->has[i]; }
int indexes_text(const struct indexes *x, struct buf *out);

#endif
