// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/own.h"
#include "disk/crc32c.h"
#include "disk/filters/cache/cache.h"

#define MAGIC "BULKHEAD CACHE 1"
#define WAYS 4u
#define HEADER 4096u

struct head { char magic[16]; uint64_t slots; };
struct slot { _Atomic uint64_t tag; _Atomic uint32_t crc, used; };   // tag 0: empty

struct slots { int fd; uint64_t n, data_off; size_t map_len; struct slot *slot; char *map; };

static uint64_t mix(uint64_t v)
{
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return v ^ v >> 31;
}

static uint64_t tag_of(uint64_t key, uint64_t block) { return mix(key + mix(block)) | 1; }

static uint32_t crc_of(uint64_t key, uint64_t block, const void *data)
{
	uint64_t id[2] = { key, block };

	return crc32c(crc32c(0, id, sizeof(id)), data, CACHE_BLOCK);
}

int slots_open(const char *path, uint64_t bytes, struct slots **out, struct err *e)
{
	own_free struct slots *s = calloc(1, sizeof(*s));
	own_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	struct head h = { .magic = { 0 } };
	uint64_t n = bytes / CACHE_BLOCK / WAYS * WAYS;
	struct stat st;

	if (!s) return err_set(e, ENOMEM, "no memory");
	if (fd < 0) return err_sys(e, errno, "cannot open cache '%s'", path);
	if (n < WAYS) return err_set(e, EINVAL, "a cache of %llu bytes is too small", (unsigned long long)bytes);
	if (pread(fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) && memcmp(h.magic, MAGIC, 16))
		return err_set(e, EBADMSG, "'%s' exists and is not a cache", path);
	if (!memcmp(h.magic, MAGIC, 16)) n = h.slots;   // whoever made it said how large it is
	s->n = n;
	s->map_len = HEADER + n * sizeof(struct slot);
	s->data_off = (s->map_len + CACHE_BLOCK - 1) / CACHE_BLOCK * CACHE_BLOCK;
	if (n < WAYS || n % WAYS || n > 1ull << 32) return err_set(e, EBADMSG, "cache '%s' is damaged: remove it", path);
	if (fstat(fd, &st) < 0 || ((uint64_t)st.st_size < s->data_off + n * CACHE_BLOCK && ftruncate(fd, (off_t)(s->data_off + n * CACHE_BLOCK)) < 0))
		return err_sys(e, errno, "cannot give cache '%s' its size", path);
	memcpy(h.magic, MAGIC, 16);
	h.slots = n;
	if (pwrite(fd, &h, sizeof(h), 0) < 0) return err_sys(e, errno, "cannot write cache '%s'", path);
	s->map = mmap(NULL, s->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->map == MAP_FAILED) return err_sys(e, errno, "cannot map cache '%s'", path);
	s->slot = (struct slot *)(s->map + HEADER);
	s->fd = take_fd(fd);
	*out = take(s);
	return 0;
}

void slots_close(struct slots *s)
{
	if (!s) return;
	munmap(s->map, s->map_len);
	close(s->fd);
	free(s);
}

static int64_t find(struct slots *s, uint64_t tag)
{
	uint64_t first = tag / 2 % (s->n / WAYS) * WAYS;

	for (uint64_t i = first; i < first + WAYS; i++)
		if (atomic_load_explicit(&s->slot[i].tag, memory_order_acquire) == tag) return (int64_t)i;
	return -1;
}

bool slots_has(struct slots *s, uint64_t key, uint64_t block) { return find(s, tag_of(key, block)) >= 0; }

int slots_get(struct slots *s, uint64_t key, uint64_t block, void *buf, bool nowait)
{
	int64_t i = find(s, tag_of(key, block));
	struct iovec v = { buf, CACHE_BLOCK };
	ssize_t n;

	if (i < 0) return -ENOENT;
	n = preadv2(s->fd, &v, 1, (off_t)(s->data_off + (uint64_t)i * CACHE_BLOCK), nowait ? RWF_NOWAIT : 0);
	if (n < 0 && errno == EAGAIN) return -EAGAIN;
	if (n != CACHE_BLOCK || crc_of(key, block, buf) != atomic_load(&s->slot[i].crc)) return -ENOENT;
	atomic_store_explicit(&s->slot[i].used, (uint32_t)time(NULL), memory_order_relaxed);
	return 0;
}

void slots_put(struct slots *s, uint64_t key, uint64_t block, const void *buf)
{
	uint64_t tag = tag_of(key, block), first = tag / 2 % (s->n / WAYS) * WAYS, victim = first;
	int64_t at = find(s, tag);

	for (uint64_t i = first; i < first + WAYS && at < 0; i++) {
		if (!s->slot[i].tag) at = (int64_t)i;
		else if (s->slot[i].used < s->slot[victim].used) victim = i;
	}
	if (at < 0) at = (int64_t)victim;
	atomic_store(&s->slot[at].tag, 0);
	if (pwrite(s->fd, buf, CACHE_BLOCK, (off_t)(s->data_off + (uint64_t)at * CACHE_BLOCK)) != CACHE_BLOCK) return;   // full: no cache
	atomic_store(&s->slot[at].crc, crc_of(key, block, buf));
	atomic_store_explicit(&s->slot[at].used, (uint32_t)time(NULL), memory_order_relaxed);
	atomic_store_explicit(&s->slot[at].tag, tag, memory_order_release);
}

void slots_drop(struct slots *s, uint64_t key, uint64_t block)
{
	int64_t i = find(s, tag_of(key, block));

	if (i >= 0) atomic_store(&s->slot[i].tag, 0);
}
