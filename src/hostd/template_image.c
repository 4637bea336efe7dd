// SPDX-License-Identifier: Apache-2.0
// Memory images of templates; see template_image.h.
#include "template_image.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"

#define MAGIC 0x31474d4948504d42ull   // "BMPHIMG1"
#define PAGE 4096u
#define CLUSTER 16u
#define LEVEL 3
#define FILE_MAX (64ull << 30)

struct head { uint64_t magic, pages, distinct, map_bytes; };
struct mapping { const uint8_t *at; size_t len; };

// ---- digests

int digest_bytes(const void *data, size_t len, char digest[DIGEST_MAX], struct err *e)
{
	uint8_t raw[32];
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, raw))
		return err_set(e, EIO, "SHA-256 cannot be computed");
	for (int i = 0; i < 32; i++)
		sprintf(digest + 2 * i, "%02x", raw[i]);
	return 0;
}

static void unmap(struct mapping *m)
{
	if (m->len)
		munmap((void *)m->at, m->len);
}
#define own_mapping __attribute__((cleanup(unmap)))

static int map_fd(int fd, struct mapping *m, const char *what, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st))
		return err_sys(e, errno, "look at %s", what);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > FILE_MAX)
		return err_set(e, EBADMSG, "%s is empty, or no file", what);
	void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return err_sys(e, errno, "map %s", what);
	*m = (struct mapping){at, (size_t)st.st_size};
	return 0;
}

int digest_file(const char *path, char digest[DIGEST_MAX], struct err *e)
{
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	own_mapping struct mapping m = {NULL, 0};
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	int rc = map_fd(fd, &m, path, e);
	return rc ? rc : digest_bytes(m.at, m.len, digest, e);
}

/* A file that was read whole, so that what was checked is what is used. */
static int read_checked(const char *path, const char *digest, struct buf *b, struct err *e)
{
	char is[DIGEST_MAX];
	int rc = file_read(path, FILE_MAX, b, e);
	if (!rc)
		rc = digest_bytes(b->data ? b->data : "", b->len, is, e);
	if (rc)
		return rc;
	return strcmp(is, digest) ? err_set(e, EBADMSG, "%s is not as it was written: its checksum is another", path) : 0;
}

// ---- writing

struct writer {
	const uint8_t *memory;
	uint64_t pages;
	uint32_t *map;            // owned
	uint64_t *first;          // owned; guest page of each distinct page
	uint64_t distinct;
	uint32_t *table;          // owned; hash table of 1 + distinct page, 0: free
	uint64_t table_mask;
};

static uint64_t page_hash(const uint8_t *page)
{
	uint64_t h = 0, v;
	for (unsigned i = 0; i < PAGE; i += 8) {
		memcpy(&v, page + i, 8);
		h = (h ^ v) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

static bool is_zero(const uint8_t *page) { return !page[0] && !memcmp(page, page + 1, PAGE - 1); }

static void add_page(struct writer *w, uint64_t n)
{
	const uint8_t *page = w->memory + n * PAGE;
	if (is_zero(page))
		return;
	uint64_t at = page_hash(page) & w->table_mask;
	for (; w->table[at]; at = (at + 1) & w->table_mask) {
		uint32_t known = w->table[at];
		if (!memcmp(w->memory + w->first[known - 1] * PAGE, page, PAGE)) {
			w->map[n] = known;
			return;
		}
	}
	w->first[w->distinct++] = n;
	w->map[n] = w->table[at] = (uint32_t)w->distinct;
}

static int writer_scan(struct writer *w, int fd, struct err *e)
{
	uint64_t slots = 1024;
	while (slots < w->pages * 2)
		slots *= 2;
	w->table_mask = slots - 1;
	w->map = calloc(w->pages, sizeof(*w->map));
	w->first = calloc(w->pages, sizeof(*w->first));
	w->table = calloc(slots, sizeof(*w->table));
	if (!w->map || !w->first || !w->table)
		return err_set(e, ENOMEM, "no memory");
	off_t size = (off_t)(w->pages * PAGE);
	for (off_t at = 0, end; (at = lseek(fd, at, SEEK_DATA)) >= 0 && at < size; at = end) {
		end = lseek(fd, at, SEEK_HOLE);
		end = end < 0 || end > size ? size : end;
		for (uint64_t n = (uint64_t)at / PAGE; n * PAGE < (uint64_t)end; n++)
			if (!w->map[n])
				add_page(w, n);
	}
	return 0;
}

static int pack(struct buf *out, ZSTD_CCtx *z, const void *data, size_t len)
{
	uint32_t room = (uint32_t)ZSTD_compressBound(len);
	if (buf_reserve(out, sizeof(room) + room))
		return -ENOMEM;
	size_t n = ZSTD_compress2(z, out->data + out->len + sizeof(uint32_t), room, data, len);
	if (ZSTD_isError(n))
		return -EIO;
	uint32_t length = (uint32_t)n;
	memcpy(out->data + out->len, &length, sizeof(length));
	out->len += sizeof(length) + n;
	return 0;
}

static int writer_pack(const struct writer *w, struct buf *out)
{
	uint8_t cluster[CLUSTER * PAGE];
	ZSTD_CCtx *z = ZSTD_createCCtx();
	if (!z)
		return -ENOMEM;
	ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
	struct head h = {.magic = MAGIC, .pages = w->pages, .distinct = w->distinct, .map_bytes = w->pages * sizeof(*w->map)};
	int rc = buf_append(out, &h, sizeof(h));
	if (!rc)
		rc = pack(out, z, w->map, h.map_bytes);
	for (uint64_t at = 0; at < w->distinct && !rc; at += CLUSTER) {
		uint64_t n = w->distinct - at < CLUSTER ? w->distinct - at : CLUSTER;
		for (uint64_t i = 0; i < n; i++)
			memcpy(cluster + i * PAGE, w->memory + w->first[at + i] * PAGE, PAGE);
		rc = pack(out, z, cluster, n * PAGE);
	}
	ZSTD_freeCCtx(z);
	return rc;
}

int template_image_write(int fd, const char *path, char digest[DIGEST_MAX], struct template_image_stats *st, struct err *e)
{
	own_mapping struct mapping m = {NULL, 0};
	own_buf struct buf out = BUF_INIT;
	int rc = map_fd(fd, &m, "the template's memory", e);
	if (rc)
		return rc;
	struct writer w = {.memory = m.at, .pages = m.len / PAGE};
	if (m.len % PAGE || w.pages >= UINT32_MAX)
		return err_set(e, EINVAL, "the template's memory is no whole number of pages, or too large");
	rc = writer_scan(&w, fd, e);
	if (!rc && (rc = writer_pack(&w, &out)))
		err_sys(e, -rc, "compress the template's memory");
	uint64_t used = 0;
	for (uint64_t i = 0; !rc && i < w.pages; i++)
		used += w.map[i] != 0;
	free(w.map), free(w.first), free(w.table);
	if (!rc)
		rc = digest_bytes(out.data, out.len, digest, e);
	if (!rc)
		rc = file_write_atomic(path, out.data, out.len, 0600, e);
	if (!rc)
		*st = (struct template_image_stats){.pages = w.pages, .used = used, .distinct = w.distinct, .file_bytes = out.len};
	return rc;
}

// ---- reading

struct reader { const char *at; size_t left; ZSTD_DCtx *z; };

static int unpack(struct reader *r, void *out, size_t len)
{
	uint32_t length;
	if (r->left < sizeof(length))
		return -EBADMSG;
	memcpy(&length, r->at, sizeof(length));
	if (length > r->left - sizeof(length) || ZSTD_decompressDCtx(r->z, out, len, r->at + sizeof(length), length) != len)
		return -EBADMSG;
	r->at += sizeof(length) + length;
	r->left -= sizeof(length) + length;
	return 0;
}

/* Guest pages in the order of their distinct pages, so that each cluster is unpacked once: chains from a distinct page to the
 * guest pages that have it. */
static int place(struct reader *r, const struct head *h, const uint32_t *map, uint8_t *memory)
{
	uint8_t cluster[CLUSTER * PAGE];
	uint32_t *first = calloc(h->distinct + 1, sizeof(*first)), *next = calloc(h->pages + 1, sizeof(*next));
	int rc = first && next ? 0 : -ENOMEM;
	for (uint64_t n = 0; n < h->pages && !rc; n++) {
		if (map[n] > h->distinct)
			rc = -EBADMSG;
		else if (map[n])
			next[n + 1] = first[map[n]], first[map[n]] = (uint32_t)n + 1;
	}
	for (uint64_t at = 0; at < h->distinct && !rc; at += CLUSTER) {
		uint64_t n = h->distinct - at < CLUSTER ? h->distinct - at : CLUSTER;
		rc = unpack(r, cluster, n * PAGE);
		for (uint64_t i = 0; i < n && !rc; i++)
			for (uint32_t p = first[at + i + 1]; p; p = next[p])
				memcpy(memory + (uint64_t)(p - 1) * PAGE, cluster + i * PAGE, PAGE);
	}
	free(first), free(next);
	return rc;
}

static int image_unpack(const struct buf *file, uint64_t bytes, uint8_t *memory)
{
	struct head h;
	if (file->len < sizeof(h))
		return -EBADMSG;
	memcpy(&h, file->data, sizeof(h));
	if (h.magic != MAGIC || h.pages != bytes / PAGE || bytes % PAGE || h.distinct > h.pages ||
	    h.map_bytes != h.pages * sizeof(uint32_t))
		return -EBADMSG;
	struct reader r = {.at = file->data + sizeof(h), .left = file->len - sizeof(h), .z = ZSTD_createDCtx()};
	uint32_t *map = malloc(h.map_bytes);
	int rc = r.z && map ? unpack(&r, map, h.map_bytes) : -ENOMEM;
	if (!rc)
		rc = place(&r, &h, map, memory);
	if (!rc && r.left)
		rc = -EBADMSG;
	ZSTD_freeDCtx(r.z);
	free(map);
	return rc;
}

static int sealed(int fd, const char *path, struct err *e)
{
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		return err_sys(e, errno, "seal what was read from %s", path);
	return fd;
}

int template_image_read(const char *path, const char *digest, uint64_t bytes, struct err *e)
{
	own_buf struct buf file = BUF_INIT;
	int rc = read_checked(path, digest, &file, e);
	if (rc)
		return rc;
	own_fd int fd = memfd_create("template-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		return err_sys(e, errno, "make memory for a template");
	uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return err_sys(e, errno, "map memory of a template");
	rc = image_unpack(&file, bytes, memory);
	munmap(memory, bytes);
	if (rc)
		return err_sys(e, -rc, "read the memory image %s", path);
	rc = sealed(fd, path, e);
	return rc < 0 ? rc : take_fd(fd);
}

int template_file_read(const char *path, const char *digest, struct err *e)
{
	own_buf struct buf file = BUF_INIT;
	int rc = read_checked(path, digest, &file, e);
	if (rc)
		return rc;
	own_fd int fd = memfd_create("template-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || (rc = fd_write_all(fd, file.data, file.len)))
		return err_sys(e, fd < 0 ? errno : -rc, "make memory for a template");
	rc = sealed(fd, path, e);
	return rc < 0 ? rc : take_fd(fd);
}
