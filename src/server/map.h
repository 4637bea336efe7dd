// SPDX-License-Identifier: Apache-2.0
// String keys to pointers: open addressing, grows by doubling. Copies keys; values are the caller's. Not thread-safe.
#ifndef BH_SERVER_MAP_H
#define BH_SERVER_MAP_H

#include <stddef.h>

struct map_slot { char *key; void *value; };
struct map {
	struct map_slot *slots;
	size_t cap, count;     // cap: a power of two, or 0
};

#define MAP_INIT { NULL, 0, 0 }

void *map_get(const struct map *m, const char *key);              // NULL when absent
int map_put(struct map *m, const char *key, void *value);         // replaces; value not NULL; 0 or -ENOMEM
void *map_remove(struct map *m, const char *key);                 // the value, or NULL
void *map_next(const struct map *m, size_t *pos, const char **key);   // start with *pos 0; NULL at the end; key may be NULL
void map_fini(struct map *m, void (*free_value)(void *value));    // free_value may be NULL; m is empty afterwards

#endif
