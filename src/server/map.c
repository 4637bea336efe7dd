// SPDX-License-Identifier: Apache-2.0
#include "server/map.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t hash(const char *key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 0x100000001b3u;
	return h ^ h >> 32;
}

/* The slot of key, or the empty one where it would go. There is always an empty one. */
static struct map_slot *find(const struct map *m, const char *key)
{
	size_t i = hash(key) & (m->cap - 1);

	while (m->slots[i].key && strcmp(m->slots[i].key, key))
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

void *map_get(const struct map *m, const char *key)
{
	return m->cap ? find(m, key)->value : NULL;
}

static int grow(struct map *m)
{
	struct map bigger = { .cap = m->cap ? 2 * m->cap : 16, .count = m->count };

	bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key)
			*find(&bigger, m->slots[i].key) = m->slots[i];
	free(m->slots);
	*m = bigger;
	return 0;
}

int map_put(struct map *m, const char *key, void *value)
{
	struct map_slot *s;

	if (4 * (m->count + 1) > 3 * m->cap && grow(m))
		return -ENOMEM;
	s = find(m, key);
	if (!s->key) {
		s->key = strdup(key);
		if (!s->key)
			return -ENOMEM;
		m->count++;
	}
	s->value = value;
	return 0;
}

void *map_remove(struct map *m, const char *key)
{
	struct map_slot *s = m->cap ? find(m, key) : NULL, moved;
	void *value;

	if (!s || !s->key)
		return NULL;
	value = s->value;
	free(s->key);
	*s = (struct map_slot){ NULL, NULL };
	m->count--;
	// Those behind it in the same run may have been pushed there by it: put each back where it belongs.
	for (size_t i = (s - m->slots + 1) & (m->cap - 1); m->slots[i].key; i = (i + 1) & (m->cap - 1)) {
		moved = m->slots[i];
		m->slots[i] = (struct map_slot){ NULL, NULL };
		*find(m, moved.key) = moved;
	}
	return value;
}

void *map_next(const struct map *m, size_t *pos, const char **key)
{
	for (; *pos < m->cap; (*pos)++)
		if (m->slots[*pos].key) {
			if (key)
				*key = m->slots[*pos].key;
			return m->slots[(*pos)++].value;
		}
	return NULL;
}

void map_fini(struct map *m, void (*free_value)(void *value))
{
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key) {
			free(m->slots[i].key);
			if (free_value)
				free_value(m->slots[i].value);
		}
	free(m->slots);
	*m = (struct map)MAP_INIT;
}
