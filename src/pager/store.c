// SPDX-License-Identifier: Apache-2.0
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "codec.h"
#include "pager_internal.h"

#define UNIT 256u
#define CHUNK 65536u
#define CLASSES ((sizeof(struct slot) + PAGER_PAGE + UNIT - 1) / UNIT)   // slots of 1 to 17 units

struct header {
	char magic[8];
	uint32_t version, unit;
	uint64_t chunks;             // those of the header included
	uint64_t reserved[5];
	_Atomic uint8_t units_of[];      // for each chunk: units of its slots; 0: not used yet
};
static const char magic[8] = "bhstore";
#define VERSION 1u

struct slot {
	uint64_t key[2];
	uint32_t page;
	uint32_t check;              // over everything from key to data, this and valid left out
	uint16_t length;
	uint8_t codec;
	uint8_t pad;
	_Atomic uint32_t valid;
	unsigned char data[];        // free slots: the pool's links
};
_Static_assert(sizeof(struct slot) == 32, "file format");

struct store {
	struct backing backing;
	struct header *map;
	int fd;
	enum store_codec codec;
	_Atomic uint64_t next_chunk;
	struct pool pool[18];        // by units
	struct class_user { struct store *store; uint32_t units; } user[18];
	pthread_mutex_t lock;        // orphans: handles that an earlier process left, that no VM has come for yet
	uint32_t *orphan;
	uint64_t orphans, orphan_room;
};
_Static_assert(CLASSES == 17, "pools");

static struct slot *slot_of(const struct store *s, uint32_t handle)
{
	return (struct slot *)((unsigned char *)s->map + (uint64_t)handle * UNIT);
}

static uint64_t header_chunks(uint64_t chunks)
{
	return (sizeof(struct header) + chunks + CHUNK - 1) / CHUNK;
}

/* The units of the slots of the chunk that a handle is in; 0: no slot begins there. */
static uint32_t units_at(const struct store *s, uint32_t handle)
{
	uint64_t chunk = handle / (CHUNK / UNIT);
	if (chunk < header_chunks(s->map->chunks) || chunk >= s->map->chunks)
		return 0;
	uint32_t units = atomic_load(&s->map->units_of[chunk]), within = handle % (CHUNK / UNIT);
	return units && within % units == 0 && within + units <= CHUNK / UNIT ? units : 0;
}

static uint32_t slot_check(const struct slot *t)
{
	uint32_t head[6] = { (uint32_t)t->key[0], (uint32_t)(t->key[0] >> 32), (uint32_t)t->key[1],
		(uint32_t)(t->key[1] >> 32), t->page, (uint32_t)t->length << 8 | t->codec };
	return codec_check(codec_check(1, head, sizeof(head)), t->data, t->length);
}

static bool slot_sound(const struct store *s, uint32_t handle)
{
	const struct slot *t = slot_of(s, handle);
	return atomic_load_explicit(&t->valid, memory_order_acquire) && t->length <= PAGER_PAGE && t->length
		&& sizeof(*t) + t->length <= (size_t)units_at(s, handle) * UNIT && slot_check(t) == t->check;
}

static uint32_t store_grow(void *user, uint32_t *first)
{
	struct class_user *u = user;
	struct store *s = u->store;
	uint64_t chunk = atomic_load(&s->next_chunk);
	do {
		if (chunk >= s->map->chunks)
			return 0;
	} while (!atomic_compare_exchange_weak(&s->next_chunk, &chunk, chunk + 1));
	/* Room is taken now: writing to a mapping without room is a signal. */
	if (pager_fails() || fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)(chunk * CHUNK), CHUNK)) {
		uint64_t after = chunk + 1;
		atomic_compare_exchange_strong(&s->next_chunk, &after, chunk);
		return 0;
	}
	atomic_store(&s->map->units_of[chunk], (uint8_t)u->units);
	*first = (uint32_t)(chunk * (CHUNK / UNIT));
	return CHUNK / UNIT / u->units;
}

int store_put(struct backing *b, struct store_key key, uint32_t page, const void *data, uint32_t *handle)
{
	struct store *s = (struct store *)b;
	unsigned char packed[PAGER_PAGE];
	enum store_codec codec = s->codec;
	size_t len = codec_pack(codec, data, packed, sizeof(packed) - UNIT);
	uint64_t item;
	if (!len) {
		codec = STORE_RAW;
		len = PAGER_PAGE;
	}
	uint32_t units = (uint32_t)((sizeof(struct slot) + len + UNIT - 1) / UNIT);
	if (!pool_take(&s->pool[units], &item, 1))
		return -ENOSPC;
	struct slot *t = slot_of(s, (uint32_t)item);
	t->key[0] = key.word[0];
	t->key[1] = key.word[1];
	t->page = page;
	t->length = (uint16_t)len;
	t->codec = (uint8_t)codec;
	memcpy(t->data, codec == STORE_RAW ? data : packed, len);
	t->check = slot_check(t);
	atomic_store_explicit(&t->valid, 1, memory_order_release);
	*handle = (uint32_t)item;
	return 0;
}

static int store_load(struct backing *b, uint64_t page, uint32_t n, void *buf, const void **data)
{
	struct store *s = (struct store *)b;
	if (n != 1 || page > UINT32_MAX || !units_at(s, (uint32_t)page) || !slot_sound(s, (uint32_t)page))
		return -EBADMSG;
	const struct slot *t = slot_of(s, (uint32_t)page);
	if (codec_unpack(t->codec, t->data, t->length, buf))
		return -EBADMSG;
	*data = buf;
	return 0;
}

void store_release(struct backing *b, uint32_t handle)
{
	struct store *s = (struct store *)b;
	uint32_t units = units_at(s, handle);
	uint64_t item = handle;
	atomic_store_explicit(&slot_of(s, handle)->valid, 0, memory_order_release);
	pool_give(&s->pool[units], &item, 1);
}

static void store_free(struct backing *b)
{
	struct store *s = (struct store *)b;
	for (uint32_t i = 1; i <= CLASSES; i++)
		if (s->pool[i].base)
			pool_fini(&s->pool[i]);
	if (s->map)
		munmap(s->map, s->map->chunks * CHUNK);
	if (s->fd >= 0)
		close(s->fd);
	pthread_mutex_destroy(&s->lock);
	free(s->orphan);
	free(s);
}

// ---- Every slot of the file ----

static int each_slot(struct store *s, int (*fn)(struct store *s, uint32_t handle))
{
	for (uint64_t chunk = header_chunks(s->map->chunks); chunk < s->map->chunks; chunk++) {
		uint32_t units = atomic_load(&s->map->units_of[chunk]), first = (uint32_t)(chunk * (CHUNK / UNIT));
		for (uint32_t i = 0; units && i + units <= CHUNK / UNIT; i += units) {
			int rc = fn(s, first + i);
			if (rc)
				return rc;
		}
	}
	return 0;
}

void store_adopt(struct backing *b, struct store_key key, void (*fn)(void *user, uint32_t page, uint32_t handle), void *user)
{
	struct store *s = (struct store *)b;
	uint64_t kept = 0;
	pthread_mutex_lock(&s->lock);
	for (uint64_t i = 0; i < s->orphans; i++) {
		const struct slot *t = slot_of(s, s->orphan[i]);
		if (t->key[0] == key.word[0] && t->key[1] == key.word[1])
			fn(user, t->page, s->orphan[i]);
		else
			s->orphan[kept++] = s->orphan[i];
	}
	s->orphans = kept;
	pthread_mutex_unlock(&s->lock);
}

uint64_t store_sweep(struct backing *b)
{
	struct store *s = (struct store *)b;
	pthread_mutex_lock(&s->lock);
	uint64_t n = s->orphans;
	for (uint64_t i = 0; i < n; i++)
		store_release(b, s->orphan[i]);
	free(s->orphan);
	s->orphan = NULL;
	s->orphans = s->orphan_room = 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void store_usage(const struct backing *b, struct store_usage *u)
{
	const struct store *s = (const struct store *)b;
	*u = (struct store_usage){ .file_bytes = atomic_load(&s->next_chunk) * CHUNK };
	for (uint32_t i = 1; i <= CLASSES; i++) {
		uint64_t used = pool_used(&s->pool[i]);
		u->pages += used;
		u->bytes += used * i * UNIT;
	}
}

// ---- Opening ----

static int orphan_add(struct store *s, uint32_t handle)
{
	if (s->orphans == s->orphan_room) {
		uint64_t room = s->orphan_room ? s->orphan_room * 2 : 1024;
		uint32_t *more = pager_fails() ? NULL : reallocarray(s->orphan, room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->orphan = more;
		s->orphan_room = room;
	}
	s->orphan[s->orphans++] = handle;
	return 0;
}

static int recover_slot(struct store *s, uint32_t handle)
{
	struct pool *p = &s->pool[units_at(s, handle)];
	uint64_t item = handle;
	if (slot_sound(s, handle)) {
		prda_add(p->used, 1);
		return orphan_add(s, handle);
	}
	atomic_store(&slot_of(s, handle)->valid, 0);
	pool_seed(p, &item, 1);
	return 0;
}

static int file_make(struct store *s, uint64_t max_bytes, uint64_t *chunks, struct err *e)
{
	*chunks = max_bytes / CHUNK;
	uint64_t own = header_chunks(*chunks);
	if (*chunks <= own || *chunks > UINT32_MAX / (CHUNK / UNIT))
		return err_set(e, EINVAL, "a compressed store has from 128 KiB to 1 TiB, not %lu bytes", (unsigned long)max_bytes);
	struct header h = { .version = VERSION, .unit = UNIT, .chunks = *chunks };
	if (ftruncate(s->fd, (off_t)(*chunks * CHUNK)) || fallocate(s->fd, 0, 0, (off_t)(own * CHUNK))
			|| pwrite(s->fd, &h, sizeof(h), 0) != sizeof(h) || pwrite(s->fd, magic, sizeof(magic), 0) != sizeof(magic))
		return err_sys(e, errno, "make compressed store");
	return 0;
}

static int file_check(struct store *s, uint64_t size, uint64_t *chunks, struct err *e)
{
	struct header h;
	if (pread(s->fd, &h, sizeof(h), 0) != sizeof(h) || memcmp(h.magic, magic, sizeof(magic)) || h.version != VERSION
			|| h.unit != UNIT || h.chunks != size / CHUNK || size % CHUNK || h.chunks <= header_chunks(h.chunks)
			|| h.chunks > UINT32_MAX / (CHUNK / UNIT))
		return err_set(e, EINVAL, "the file is not a compressed store of this version; remove it when no VM needs it");
	*chunks = h.chunks;
	return 0;
}

static int pools_init(struct store *s, struct prda_region *region, struct err *e)
{
	for (uint32_t i = 1; i <= CLASSES; i++) {
		s->user[i] = (struct class_user){ s, i };
		struct pool p = { .stride = UNIT, .link_at = sizeof(struct slot), .step = i, .grow = store_grow,
			.user = &s->user[i] };
		int rc = pool_init(&p, region, e);
		if (rc)
			return rc;
		p.base = (unsigned char *)s->map;
		s->pool[i] = p;
	}
	return 0;
}

static int store_open(struct store *s, uint64_t max_bytes, struct err *e)
{
	struct stat st;
	uint64_t chunks = 0;
	if (flock(s->fd, LOCK_EX | LOCK_NB))
		return err_sys(e, errno, "the compressed store is in use");
	if (fstat(s->fd, &st))
		return err_sys(e, errno, "compressed store");
	int rc = st.st_size == 0 ? file_make(s, max_bytes, &chunks, e) : file_check(s, (uint64_t)st.st_size, &chunks, e);
	if (rc)
		return rc;
	void *map = pager_fails() ? MAP_FAILED : mmap(NULL, chunks * CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (map == MAP_FAILED)
		return err_sys(e, ENOMEM, "map compressed store");
	s->map = map;
	return 0;
}

int store_new(int fd, uint64_t max_bytes, enum store_codec codec, struct prda_region *region, struct backing **out,
	struct err *e)
{
	static const struct vad_ops ops = { .name = "compressed", .cluster = 1, .load = store_load, .release = store_release,
		.free = store_free };
	struct store *s = pager_alloc(sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "no memory for the compressed store");
	s->backing = (struct backing){ .ops = &ops, .users = 1 };
	pthread_mutex_init(&s->lock, NULL);
	s->codec = codec;
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int rc = s->fd < 0 ? err_sys(e, errno, "compressed store") : store_open(s, max_bytes, e);
	if (!rc)
		rc = pools_init(s, region ? region : prda_process_region(), e);
	if (rc) {
		store_free(&s->backing);
		return rc;
	}
	uint64_t next = s->map->chunks;
	while (next > header_chunks(s->map->chunks) && !atomic_load(&s->map->units_of[next - 1]))
		next--;
	atomic_store(&s->next_chunk, next);
	if (each_slot(s, recover_slot)) {
		store_free(&s->backing);
		return err_set(e, ENOMEM, "no memory for the list of pages in the compressed store");
	}
	*out = &s->backing;
	return 0;
}
