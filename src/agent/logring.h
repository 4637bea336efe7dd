// SPDX-License-Identifier: Apache-2.0
// A container's output that hostd has not acknowledged: numbered records in a bounded space. Nothing is dropped: when
// it is full, its owner stops reading the container's pipes. Pure; no descriptor, no clock.
#ifndef BH_AGENT_LOGRING_H
#define BH_AGENT_LOGRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct logring;

struct logrecord {
	uint64_t seq;            // from 1, without gaps
	uint64_t real_ns;
	uint32_t channel;        // 1 stdout, 2 stderr; 0 in the end record
	bool end;                // no more will come
	size_t len;
	const uint8_t *data;     // borrowed; valid until acknowledged
};

struct logring *logring_new(size_t max_bytes);   // NULL: no memory
void logring_free(struct logring *r);            // NULL allowed

int logring_append(struct logring *r, uint32_t channel, uint64_t real_ns, const void *data, size_t len);   // 0, -ENOMEM
int logring_end(struct logring *r, uint64_t real_ns);   // 0, -ENOMEM; once, the last record
bool logring_full(const struct logring *r);      // at or above max_bytes, bookkeeping of small records counted

/* The first held record with a number above seq. False: none (yet). */
bool logring_after(const struct logring *r, uint64_t seq, struct logrecord *out);
void logring_ack(struct logring *r, uint64_t seq);       // forget records up to seq; a number never given is ignored
uint64_t logring_last(const struct logring *r);          // number of the newest record ever; 0: none

#endif
