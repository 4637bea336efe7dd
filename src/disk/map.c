// SPDX-License-Identifier: Apache-2.0
#include "disk/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "disk/crc32c.h"
#include "disk/sidefile.h"

#define MAP_MAGIC "BULKHEAD MAP\n\0\0\0"
#define MAP_VERSION 1u
#define LOAD_SECTORS 512u

struct header {          // little endian
	char magic[16];
	uint32_t version, block;
	char disk_id[40];
	uint32_t crc;    // of the bytes before
};

static uint32_t sector_crc(const uint8_t *bits, const char *disk_id, uint64_t index)
{
	uint32_t c = crc32c(crc32c(0, disk_id, strlen(disk_id)), &index, sizeof(index));

	return crc32c(c, bits, MAP_BITS_BYTES);
}

void map_sector(uint8_t out[MAP_SECTOR], const uint8_t bits[MAP_BITS_BYTES], const char *disk_id, uint64_t index)
{
	uint32_t crc = sector_crc(bits, disk_id, index);

	memset(out, 0, MAP_SECTOR);
	memcpy(out, bits, MAP_BITS_BYTES);
	memcpy(out + MAP_BITS_BYTES, &crc, sizeof(crc));
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && !memcmp(p, p + 1, len - 1);
}

bool map_sector_ok(const uint8_t s[MAP_SECTOR], const char *disk_id, uint64_t index)
{
	uint32_t crc;

	memcpy(&crc, s + MAP_BITS_BYTES, sizeof(crc));
	return all_zero(s, MAP_SECTOR) || (crc == sector_crc(s, disk_id, index) && all_zero(s + MAP_BITS_BYTES + 4, 4));
}

int map_create(struct iof_file *f, const char *disk_id, uint32_t block, struct err *e)
{
	uint8_t page[MAP_HEADER] = { 0 };
	struct header h = { .magic = MAP_MAGIC, .version = MAP_VERSION, .block = block };
	int rc;

	snprintf(h.disk_id, sizeof(h.disk_id), "%s", disk_id);
	h.crc = crc32c(0, &h, offsetof(struct header, crc));
	memcpy(page, &h, sizeof(h));
	rc = side_write(f, page, sizeof(page), 0);
	if (rc == 0) rc = side_sync(f);
	return rc < 0 ? err_sys(e, -rc, "cannot write the map of the clone's blocks") : 0;
}

int map_check(struct iof_file *f, const char *disk_id, uint32_t block, struct err *e)
{
	struct header h;
	int rc = side_read(f, &h, sizeof(h), 0);

	if (rc < 0) return err_sys(e, -rc, "cannot read the map of the clone's blocks");
	if (memcmp(h.magic, MAP_MAGIC, sizeof(h.magic))) return err_set(e, EBADMSG, "the map file is not one (magic number is wrong)");
	if (h.version != MAP_VERSION) return err_set(e, ENOTSUP, "map version %u is not known, only %u is", h.version, MAP_VERSION);
	if (h.crc != crc32c(0, &h, offsetof(struct header, crc))) return err_set(e, EBADMSG, "the header of the map file is damaged");
	h.disk_id[sizeof(h.disk_id) - 1] = 0;
	if (strcmp(h.disk_id, disk_id)) return err_set(e, EBADMSG, "the map file belongs to disk %s, not to %s", h.disk_id, disk_id);
	if (h.block != block) return err_set(e, EBADMSG, "the map file is for blocks of %u bytes, not %u", h.block, block);
	return 0;
}

int map_load(struct iof_file *f, const char *disk_id, uint64_t chunks, int (*sector)(void *, uint64_t, const uint8_t *),
	     void (*bad)(void *, uint64_t), void *user, struct err *e)
{
	own_free uint8_t *buf = malloc(LOAD_SECTORS * MAP_SECTOR);
	uint64_t at = MAP_HEADER, limit = map_sector_off(chunks), end;
	int rc = 0;

	if (!buf) return err_set(e, ENOMEM, "no memory to read the map");
	while (at < limit && (rc = side_next(f, at, &at, &end)) == 0) {
		at -= at % MAP_SECTOR;
		if (at < MAP_HEADER) at = MAP_HEADER;
		if (end > limit) end = limit;
		while (at < end) {
			uint64_t n = (end - at + MAP_SECTOR - 1) / MAP_SECTOR;

			if (n > LOAD_SECTORS) n = LOAD_SECTORS;
			rc = side_read(f, buf, n * MAP_SECTOR, at);
			if (rc < 0) return err_sys(e, -rc, "cannot read the map of the clone's blocks");
			for (uint64_t i = 0; i < n; i++) {
				uint64_t index = (at - MAP_HEADER) / MAP_SECTOR + i;
				const uint8_t *s = buf + i * MAP_SECTOR;

				if (!map_sector_ok(s, disk_id, index)) {
					if (!bad) return err_set(e, EBADMSG, "sector %llu of the map file is damaged", (unsigned long long)index);
					bad(user, index);
					continue;
				}
				if (all_zero(s, MAP_BITS_BYTES)) continue;
				rc = sector(user, index, s);
				if (rc < 0) return err_sys(e, -rc, "cannot keep the map in memory");
			}
			at += n * MAP_SECTOR;
		}
	}
	if (at < limit && rc != -ENXIO) return err_sys(e, -rc, "cannot read the map of the clone's blocks");
	return 0;
}
