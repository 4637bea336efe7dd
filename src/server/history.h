// SPDX-License-Identifier: Apache-2.0
// The latest changes, oldest first, bounded by count and by the bytes that only history still holds.
// Not thread-safe: the store locks around it.
#ifndef BH_SERVER_HISTORY_H
#define BH_SERVER_HISTORY_H

#include "server/store.h"

#define HISTORY_EVENTS_MAX 16384
#define HISTORY_BYTES_MAX (8u << 20)   // or a quarter of what is live, if that is more
#define HISTORY_EVENTS_MIN 256      // kept whatever their size

struct history;

struct history *history_new(uint64_t rv);    // rv: changes up to here are not in the history
void history_free(struct history *h);
/* Takes over e's references. live: bytes of all objects that are there. */
void history_append(struct history *h, const struct event *e, size_t live);
uint64_t history_start(const struct history *h);   // changes after this resourceVersion are all there
size_t history_count(const struct history *h);
size_t history_find(const struct history *h, uint64_t after);    // position of the first event with rv > after
const struct event *history_at(const struct history *h, size_t pos);   // NULL behind the last

#endif
