// SPDX-License-Identifier: Apache-2.0
// AES-256-XTS in sectors of 4096 bytes, tweaked by the sector's number. A sector whose ciphertext is all zeroes reads as
// zeroes, so that holes stay holes and discarded space is given back; who can read the file sees which sectors were
// never written, as with any encryption that lets discards through.
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

#include <bulkhead/iofilter.h>

#include "base/err.h"
#include "disk/filters/encrypt/key.h"

#define SECTOR 4096u
#define PIECE 512u

struct encrypt { unsigned char key[KEY_BYTES]; };

static const struct iof_setting settings[] = {
	{ "key-file", "file with the key or passphrase" }, { "key-command", "shell command that prints it" },
	{ "next-key-file", "change to this key" }, { "next-key-command", "change to the key that this command prints" },
	{ "iterations", "of PBKDF2, when the key is wrapped (200000)" },
	{ "salt", "made by Bulkhead" }, { "wrapped-key", "made by Bulkhead" }, { NULL, NULL },
};

static int encrypt_attach(struct iof_settings *s, const char *path, struct err *e)
{
	(void)path;
	if (!iof->setting(s, "wrapped-key")) return key_create(s, e);
	return iof->setting(s, "next-key-file") || iof->setting(s, "next-key-command") ? key_change(s, e) : 0;
}

static int encrypt_open(struct iof_layer *l, const struct iof_settings *s, void **state, uint32_t *align, struct err *e)
{
	struct encrypt *x = calloc(1, sizeof(*x));
	int rc;

	(void)l;
	if (!x) return iof->error(e, ENOMEM, "no memory");
	rc = key_unwrap(s, x->key, e);
	if (rc < 0) {
		free(x);
		return rc;
	}
	*state = x;
	*align = SECTOR;
	return 0;
}

static int encrypt_close(struct iof_layer *l, struct err *e)
{
	struct encrypt *x = iof_state(l);

	(void)e;
	gnutls_memset(x->key, 0, sizeof(x->key));
	free(x);
	return 0;
}

/* The key of the data stays; a changed secret counts from the next open. */
static int encrypt_set(struct iof_layer *l, const struct iof_settings *s, struct err *e)
{
	(void)l;
	(void)s;
	(void)e;
	return 0;
}

static int encrypt_queue_open(struct iof_layer *l, void **qs, struct err *e)
{
	struct encrypt *x = iof_state(l);
	unsigned char iv[16] = { 0 };
	gnutls_datum_t k = { x->key, KEY_BYTES }, v = { iv, sizeof(iv) };
	gnutls_cipher_hd_t h;
	int rc = gnutls_cipher_init(&h, GNUTLS_CIPHER_AES_256_XTS, &k, &v);

	if (rc < 0) return iof->error(e, EIO, "cannot set up AES-256-XTS: %s", gnutls_strerror(rc));
	*qs = h;
	return 0;
}

static void encrypt_queue_close(struct iof_layer *l, void *qs)
{
	(void)l;
	gnutls_cipher_deinit(qs);
}

static void tweak(gnutls_cipher_hd_t h, uint64_t sector)
{
	unsigned char iv[16] = { 0 };

	for (int i = 0; i < 8; i++) iv[i] = (unsigned char)(sector >> 8 * i);
	gnutls_cipher_set_iv(h, iv, sizeof(iv));
}

static bool all_zero(const unsigned char *p, size_t len) { return p[0] == 0 && !memcmp(p, p + 1, len - 1); }

/* What was never written, or zeroed, is zero below, and zero it stays. By pieces of what a medium writes whole: a write
 * or a discard that a crash has torn leaves each of them as it was or as it was to be. */
static unsigned zero_pieces(const unsigned char *p)
{
	unsigned zero = 0;

	for (unsigned k = 0; k < SECTOR / PIECE; k++)
		if (all_zero(p + k * PIECE, PIECE)) zero |= 1u << k;
	return zero;
}

static int decrypt(gnutls_cipher_hd_t h, unsigned char *p, uint64_t off, uint64_t len)
{
	for (uint64_t i = 0; i < len; i += SECTOR) {
		unsigned zero = zero_pieces(p + i);

		if (zero == (1u << SECTOR / PIECE) - 1) continue;
		tweak(h, (off + i) / SECTOR);
		if (gnutls_cipher_decrypt2(h, p + i, SECTOR, p + i, SECTOR) < 0) return -EIO;
		for (unsigned k = 0; zero; k++, zero >>= 1)
			if (zero & 1) memset(p + i + k * PIECE, 0, PIECE);
	}
	return 0;
}

/* data[0]: bounce buffer or 0, data[1]: cipher */
static void read_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;
	unsigned char *bounce = (unsigned char *)c->data[0];

	if (result == 0) result = decrypt((gnutls_cipher_hd_t)c->data[1], bounce ? bounce : iof_contiguous(r), r->off, r->len);
	if (result == 0 && bounce) iof_copy(r, 0, bounce, (size_t)r->len, true);
	if (bounce) iof->buf_put(r->queue, bounce, (size_t)r->len);
	iof_free(c);
	r->done(r, result);
}

static void write_done(struct iof_req *c, int result)
{
	struct iof_req *r = c->user;

	iof->buf_put(r->queue, (void *)c->data[0], (size_t)r->len);
	iof_free(c);
	r->done(r, result);
}

static struct iof_req *child(struct iof_layer *l, struct iof_req *r, bool bounce)
{
	struct iof_req *c = iof_child(l, r);
	void *b = c && bounce ? iof->buf_get(r->queue, (size_t)r->len) : NULL;

	if (!c || (bounce && !b)) {
		if (c) iof_free(c);
		r->done(r, -ENOMEM);
		return NULL;
	}
	c->user = r;
	c->data[0] = (uintptr_t)b;
	c->data[1] = (uintptr_t)iof->queue_state(l, r->queue);
	if (b) iof_use_buf(c, b);
	return c;
}

static void encrypt_read(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = child(l, r, !iof_contiguous(r));

	if (!c) return;
	c->done = read_done;
	iof_pass(l, c);
}

static void encrypt_write(struct iof_layer *l, struct iof_req *r)
{
	struct iof_req *c = child(l, r, true);
	const unsigned char *from;
	unsigned char *to;

	if (!c) return;
	to = (unsigned char *)c->data[0];
	from = iof_contiguous(r);
	if (!from) {
		iof_copy(r, 0, to, (size_t)r->len, false);
		from = to;
	}
	c->done = write_done;
	for (uint64_t i = 0; i < r->len; i += SECTOR) {
		gnutls_cipher_hd_t h = (gnutls_cipher_hd_t)c->data[1];

		tweak(h, (r->off + i) / SECTOR);
		if (gnutls_cipher_encrypt2(h, from + i, SECTOR, to + i, SECTOR) < 0) {
			write_done(c, -EIO);
			return;
		}
	}
	iof_pass(l, c);
}

const struct iof_filter encrypt_filter = {
	.abi = IOF_ABI_VERSION, .size = sizeof(struct iof_filter), .name = "encrypt", .summary = "AES-256-XTS",
	.order = IOF_CLASS_ENCRYPT, .flags = IOF_CHANGES_DATA | IOF_ALIGN_READ, .settings = settings, .attach = encrypt_attach,
	.open = encrypt_open, .close = encrypt_close, .reconfigure = encrypt_set, .queue_open = encrypt_queue_open, .queue_close = encrypt_queue_close,
	.read = encrypt_read, .write = encrypt_write,
};
