// SPDX-License-Identifier: Apache-2.0
// Map files of clones: any bytes are read without harm.
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk/disk_internal.h"
#include "disk/map.h"
#include "disk/sidefile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t input_len;

static int f_open(void *u, const char *p, int w, void **h, struct err *e) { (void)u; (void)p; (void)w; (void)e; *h = NULL; return 0; }
static void f_close(void *u, void *h) { (void)u; (void)h; }

static int f_read(void *u, void *h, void *buf, size_t len, uint64_t off)
{
	(void)u;
	(void)h;
	for (size_t i = 0; i < len; i++) ((uint8_t *)buf)[i] = off + i < input_len ? input[off + i] : 0;
	return 0;
}

static int f_next(void *u, void *h, uint64_t off, uint64_t *data, uint64_t *end)
{
	(void)u;
	(void)h;
	if (off >= input_len) return -ENXIO;
	*data = off;
	*end = input_len;
	return 0;
}

static const struct side_ops ops = { .open = f_open, .close = f_close, .read = f_read, .next = f_next };

static int sector(void *user, uint64_t index, const uint8_t *bits)
{
	struct owner *o = user;

	if (owner_reserve(o, index * OWNER_CHUNK, 1) < 0) return -ENOMEM;
	for (unsigned i = 0; i < OWNER_CHUNK && index * OWNER_CHUNK + i < o->blocks; i++)
		if (bits[i / 8] & (1u << i % 8)) owner_set(o, index * OWNER_CHUNK + i, 1, OWNER_SELF);
	return 0;
}

static void bad(void *user, uint64_t index) { (void)user; (void)index; }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char id[] = "00000000-0000-4000-8000-000000000000";
	struct bh_disk disk = { .path = (char *)"/x/fuzz.bhd", .side_ops = &ops };
	struct owner *o = owner_new(100000);
	struct err e = ERR_INIT;
	struct iof_file *f;

	input = data;
	input_len = size;
	if (!o || side_open(&disk, "map", &f, &e) < 0) abort();
	map_check(f, id, 4096, &e);
	map_load(f, id, o->chunks, sector, size % 2 ? bad : NULL, o, &e);
	side_close(f);
	owner_free(o);
	return 0;
}
