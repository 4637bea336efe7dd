// SPDX-License-Identifier: Apache-2.0
// From layers to an EROFS disk; see image_disk.h. umoci checks every layer against its digest and its diff_id, applies
// whiteouts and keeps paths inside the root. It knows no zstd, so such layers are unpacked first.
#include "image_disk.h"

#include <errno.h>
#include <endian.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base/proc.h"

/* Work folders do not outlive a crash: no fsync, which is what file_write_atomic spends its time on. */
static int write_file(const char *path, const char *text, struct err *e)
{
	own_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
	return rc ? err_sys(e, -rc, "write %s", path) : 0;
}

int image_work_make(const char *work, struct err *e)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	own_free char *blobs = NULL, *version = NULL;
	if (asprintf(&blobs, "%s/blobs/sha256", work) < 0 || asprintf(&version, "%s/oci-layout", work) < 0)
		return err_sys(e, ENOMEM, "prepare %s", work);
	int rc = dir_make(blobs, 0700, e);
	return rc ? rc : write_file(version, layout, e);
}

char *image_work_blob(const char *work, const char *digest)
{
	char *path;
	return asprintf(&path, "%s/blobs/sha256/%s", work, image_digest_hex(digest)) < 0 ? NULL : path;
}

int image_disk_error(int rc, struct err *e)
{
	static const struct { const char *words; int code; } known[] = {
		{"no space left on device", ENOSPC}, {"disk quota exceeded", ENOSPC}, {"digest mismatch", EBADMSG},
		{"verification failed", EBADMSG}, {"hash mismatch", EBADMSG}, {"size mismatch", EBADMSG}, {"does not match", EBADMSG},
		{"unexpected eof", EBADMSG}, {"invalid tar header", EBADMSG}, {"gzip: invalid", EBADMSG}, {"flate: corrupt", EBADMSG},
		{"not in gzip format", EBADMSG}, {"unsupported format", EBADMSG}, {"data corruption", EBADMSG},
		{"unknown typeflag", EBADMSG},
	};
	if (rc != -EIO || !e)
		return rc;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcasestr(e->text, known[i].words)) {
			e->code = known[i].code;
			return -e->code;
		}
	return rc;
}

static int write_blob(const char *work, const char *text, char digest[IMAGE_DIGEST_MAX], struct err *e)
{
	image_digest_of(text, strlen(text), digest);
	own_free char *path = image_work_blob(work, digest);
	return path ? write_file(path, text, e) : err_sys(e, ENOMEM, "write a blob");
}

/* A layer must be a plain file of the size the manifest says; an archive could hold a symlink here. */
static int check_blob(const char *path, const struct image_layer *l, struct err *e)
{
	struct stat st;
	if (lstat(path, &st))
		return err_set(e, EBADMSG, "layer %s is missing", l->digest);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != l->size_bytes)
		return err_set(e, EBADMSG, "layer %s has %llu bytes instead of %llu", l->digest, (unsigned long long)st.st_size,
			       (unsigned long long)l->size_bytes);
	return 0;
}

/* Unpack a zstd layer to a blob of its own. The packed bytes are checked here, the plain ones by umoci. */
static int unpack_zstd(const struct image_build *b, const char *path, const struct image_layer *l, const char *diff_id,
		       struct stat *plain, struct err *e)
{
	char digest[IMAGE_DIGEST_MAX] = "";
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	own_free char *out = image_work_blob(b->work, diff_id);
	if (fd < 0 || !out)
		return err_sys(e, errno, "open layer %s", l->digest);
	int rc = image_digest_fd(fd, digest);
	if (rc)
		return err_sys(e, -rc, "read layer %s", l->digest);
	if (strcmp(digest, l->digest))
		return err_set(e, EBADMSG, "layer %s: digest mismatch: its bytes have %s", l->digest, digest);
	struct proc_opts o = {.cancel = b->cancel};
	rc = proc_check((const char *[]){"zstd", "-d", "-q", "-f", "--no-progress", path, "-o", out, NULL}, &o, NULL, e);
	if (rc)
		return image_disk_error(rc, e);
	return stat(out, plain) ? err_sys(e, errno, "stat %s", out) : 0;
}

/* The layer as umoci shall read it. New reference; NULL with e. */
static json_t *layer_descriptor(const struct image_build *b, size_t i, struct err *e)
{
	const struct image_layer *l = &b->manifest->layers[i];
	const char *diff_id = json_string_value(json_array_get(jpath_get(b->config, "rootfs.diff_ids"), i));
	const char *type = "application/vnd.oci.image.layer.v1.tar", *digest = l->digest;
	own_free char *path = image_work_blob(b->work, l->digest);
	uint64_t size = l->size_bytes;
	if (!path || check_blob(path, l, e))
		return NULL;
	if (l->packing == PACKING_GZIP) {
		type = "application/vnd.oci.image.layer.v1.tar+gzip";
	} else if (l->packing == PACKING_ZSTD) {
		struct stat plain;
		if (unpack_zstd(b, path, l, diff_id, &plain, e))
			return NULL;
		digest = diff_id, size = (uint64_t)plain.st_size;
	}
	return json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size", (json_int_t)size);
}

static json_t *pack_manifest(const struct image_build *b, struct err *e)
{
	own_json json_t *layers = json_array();
	for (size_t i = 0; i < b->manifest->layers_count; i++) {
		json_t *l = layer_descriptor(b, i, e);
		if (!l || json_array_append_new(layers, l))
			return NULL;
	}
	return json_pack("{s:i, s:{s:s, s:s, s:I}, s:O}", "schemaVersion", 2,
			 "config", "mediaType", "application/vnd.oci.image.config.v1+json", "digest", b->id,
			 "size", (json_int_t)strlen(b->config_text), "layers", layers);
}

/* Make the work folder a layout with one image, tagged "x". */
static int write_layout(const struct image_build *b, struct err *e)
{
	char digest[IMAGE_DIGEST_MAX];
	int rc = write_blob(b->work, b->config_text, digest, e);
	if (rc)
		return rc;
	struct err why = {.code = ENOMEM, .text = "no memory"};
	own_json json_t *manifest = pack_manifest(b, &why);
	own_free char *text = manifest ? json_dumps(manifest, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, why.code, "%s", why.text);
	if ((rc = write_blob(b->work, text, digest, e)))
		return rc;
	own_json json_t *index = json_pack("{s:i, s:[{s:s, s:s, s:I, s:{s:s}}]}", "schemaVersion", 2, "manifests",
		"mediaType", "application/vnd.oci.image.manifest.v1+json", "digest", digest, "size", (json_int_t)strlen(text),
		"annotations", "org.opencontainers.image.ref.name", "x");
	own_free char *index_text = index ? json_dumps(index, JSON_COMPACT) : NULL, *path = NULL;
	if (!index_text || asprintf(&path, "%s/index.json", b->work) < 0)
		return err_sys(e, ENOMEM, "prepare %s", b->work);
	return write_file(path, index_text, e);
}

#define NAME_BYTES_MAX 254   // mkfs.erofs 1.5 cuts off the 255th and then does not find the file

/* Folders that no layer describes have the time of unpacking: give them a fixed one, so that disks can be compared. */
static int settle_tree(const char *rootfs, time_t began, struct err *e)
{
	char *paths[] = {(char *)rootfs, NULL};
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (!walk)
		return err_sys(e, errno, "walk %s", rootfs);
	int rc = 0;
	for (FTSENT *f; !rc && (f = fts_read(walk)); ) {
		if (f->fts_namelen > NAME_BYTES_MAX) {
			rc = err_set(e, ENAMETOOLONG, "a file name of %zu bytes: at most %d can be stored: %.100s...",
				     (size_t)f->fts_namelen, NAME_BYTES_MAX, f->fts_name);
			break;
		}
		bool visited = f->fts_info == FTS_D || f->fts_info == FTS_DC;   // folders are done after their contents
		if (visited || !f->fts_statp || f->fts_statp->st_mtime < began)
			continue;
		struct timespec fixed[2] = {{.tv_sec = 0}, {.tv_sec = 0}};
		if (utimensat(AT_FDCWD, f->fts_accpath, fixed, AT_SYMLINK_NOFOLLOW))
			rc = err_sys(e, errno, "set the time of %s", f->fts_path);
	}
	fts_close(walk);
	return rc;
}

/* CRC-32C as the superblock wants it: seed ~0, not inverted at the end. */
static uint32_t crc32c(const unsigned char *p, size_t len)
{
	uint32_t crc = ~0u;
	for (; len; len--, p++) {
		crc ^= *p;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

/* mkfs.erofs 1.5 either records when it ran or gives every file that time (-T). Set the superblock's build time to 0
 * and its checksum anew. Source: struct erofs_super_block; the checksum covers the first block from byte 1024 on. */
static int settle_superblock(const char *path, struct err *e)
{
	enum { SUPER = 1024, BLOCK = 4096, CHECKSUM = 4, FEATURES = 8, BUILD_TIME = 24, HAS_CHECKSUM = 1 };
	unsigned char s[BLOCK - SUPER];
	own_fd int fd = open(path, O_RDWR | O_CLOEXEC);
	uint32_t magic, features, sum = 0;
	if (fd < 0 || pread(fd, s, sizeof(s), SUPER) != (ssize_t)sizeof(s))
		return err_sys(e, fd < 0 ? errno : EIO, "read %s", path);
	memcpy(&magic, s, 4);
	memcpy(&features, s + FEATURES, 4);
	if (le32toh(magic) != 0xe0f5e1e2)
		return err_set(e, EIO, "%s is no EROFS image", path);
	memset(s + BUILD_TIME, 0, 12);   // seconds and nanoseconds
	memset(s + CHECKSUM, 0, 4);
	if (le32toh(features) & HAS_CHECKSUM)
		sum = htole32(crc32c(s, sizeof(s)));
	memcpy(s + CHECKSUM, &sum, 4);
	if (pwrite(fd, s, sizeof(s), SUPER) != (ssize_t)sizeof(s) || fsync(fd))
		return err_sys(e, errno, "write %s", path);
	return 0;
}

static int make_erofs(const struct image_build *b, const char *rootfs, const char *disk, struct err *e)
{
	const char *h = image_digest_hex(b->id);
	char uuid[37];
	snprintf(uuid, sizeof(uuid), "%.8s-%.4s-%.4s-%.4s-%.12s", h, h + 8, h + 12, h + 16, h + 20);
	struct proc_opts o = {.cancel = b->cancel};
	int rc = proc_check((const char *[]){"mkfs.erofs", "--quiet", "-d1", "-U", uuid, disk, rootfs, NULL}, &o, NULL, e);
	return rc ? image_disk_error(rc, e) : settle_superblock(disk, e);
}

int image_disk_build(const struct image_build *b, struct err *e)
{
	own_free char *rootfs = NULL, *disk = NULL, *image = NULL;
	if (asprintf(&rootfs, "%s/rootfs", b->work) < 0 || asprintf(&disk, "%s/disk.erofs", b->work) < 0 ||
	    asprintf(&image, "%s:x", b->work) < 0)
		return err_sys(e, ENOMEM, "unpack");
	if (b->flight)
		flight_report(b->flight, "unpack", 0, b->manifest->layers_count);
	time_t began = time(NULL);
	int rc = write_layout(b, e);
	if (rc)
		return rc;
	struct proc_opts o = {.cancel = b->cancel};
	rc = dir_remove(rootfs, e);   // of an attempt that was broken off
	if (!rc)
		rc = proc_check((const char *[]){"umoci", "--log=error", "raw", "unpack", "--image", image, rootfs, NULL}, &o, NULL, e);
	if (rc)
		return image_disk_error(rc, e);
	if (b->flight)
		flight_report(b->flight, "disk", 0, 0);
	rc = settle_tree(rootfs, began, e);
	if (!rc)
		rc = make_erofs(b, rootfs, disk, e);
	if (!rc)
		rc = dir_remove(rootfs, e);
	return rc;
}
