// SPDX-License-Identifier: Apache-2.0
// Units of 4 KiB below the compress filter: which are free. What is given up is kept until a flush has made the table
// durable that no longer points to it; only then may it be written again.
#ifndef BH_DISK_COMPRESS_SPACE_H
#define BH_DISK_COMPRESS_SPACE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT 4096u

struct extent { uint64_t first; uint32_t n; };

struct space {
	pthread_mutex_t lock;
	uint64_t *used;                     // one bit a unit
	uint64_t units_max;
	uint64_t units, next;               // next: where the search goes on
	uint64_t nused;
	struct extent *given_up;            // since the last staging
	size_t ngiven, given_cap;
	struct extent *staged;              // become free with the flush that runs
	size_t nstaged, staged_cap;
};

int space_init(struct space *s, uint64_t units, uint64_t units_max);   // units may grow to units_max
void space_fini(struct space *s);
int space_use(struct space *s, uint64_t first, uint32_t n);        // at open; -EEXIST: used already
int64_t space_take(struct space *s, uint32_t n);                   // first unit, or -ENOSPC
int space_give_up(struct space *s, uint64_t first, uint32_t n);    // free after the flush after next staging; -ENOMEM
void space_undo(struct space *s, uint64_t first, uint32_t n);      // taken, not pointed to by anything: free at once
void space_stage(struct space *s);
void space_staged_end(struct space *s, int ok);                    // not ok: they wait for the next flush

#endif
