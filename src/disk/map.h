// SPDX-License-Identifier: Apache-2.0
// The map file of a clone (NAME.map): one bit a block, set for the clone's own blocks. In sectors of 512 bytes with a
// checksum each, so that a write that power cuts short leaves the old or the new sector. docs/disk-format.md.
#ifndef BH_DISK_MAP_H
#define BH_DISK_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/owner.h"

#define MAP_SECTOR 512u
#define MAP_BITS_BYTES (OWNER_CHUNK / 8)   // of a sector; then CRC-32C, then zeroes
#define MAP_HEADER 4096u

struct iof_file;

/* Write the header of an empty map, or check that of an existing one. */
int map_create(struct iof_file *f, const char *disk_id, uint32_t block, struct err *e);
int map_check(struct iof_file *f, const char *disk_id, uint32_t block, struct err *e);

/* Read all sectors that hold anything; bits: MAP_BITS_BYTES. bad: called for a sector whose checksum is wrong (NULL: an
 * error). Sectors behind chunks are ignored. */
int map_load(struct iof_file *f, const char *disk_id, uint64_t chunks, int (*sector)(void *user, uint64_t index, const uint8_t *bits),
	     void (*bad)(void *user, uint64_t index), void *user, struct err *e);

/* One sector as it goes to the file. */
void map_sector(uint8_t out[MAP_SECTOR], const uint8_t bits[MAP_BITS_BYTES], const char *disk_id, uint64_t index);
bool map_sector_ok(const uint8_t s[MAP_SECTOR], const char *disk_id, uint64_t index);

static inline uint64_t map_sector_off(uint64_t index) { return MAP_HEADER + index * MAP_SECTOR; }

#endif
