// SPDX-License-Identifier: Apache-2.0
#include "disk/filters/encrypt/key.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/proc.h"

#define SALT 32u
#define NONCE 12u
#define TAG 16u
#define SECRET_MAX (64u << 10)
#define ITERATIONS_DEFAULT 200000u

static void hex(const unsigned char *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) sprintf(out + 2 * i, "%02x", p[i]);
}

static int unhex(const char *t, unsigned char *out, size_t n)
{
	if (!t || strlen(t) != 2 * n || strspn(t, "0123456789abcdef") != 2 * n) return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		unsigned v;

		sscanf(t + 2 * i, "%2x", &v);
		out[i] = (unsigned char)v;
	}
	return 0;
}

static void wipe(struct buf *b)
{
	if (b->data) gnutls_memset(b->data, 0, b->cap);
	buf_fini(b);
}

/* The secret as the file has it or the command prints it, without a newline at its end. */
static int secret_get(const char *file, const char *command, struct buf *out, struct err *e)
{
	const char *argv[] = { "/bin/sh", "-c", command, NULL };
	const struct proc_opts po = { .timeout_ms = 30000 };
	int rc;

	if (!file == !command) return err_set(e, EINVAL, "exactly one of 'key-file' and 'key-command' is needed");
	rc = file ? file_read(file, SECRET_MAX, out, e) : proc_check(argv, &po, out, e);
	if (rc < 0) return err_wrap(e, "cannot get the key");
	if (out->len && out->data[out->len - 1] == '\n') out->len--;
	return out->len ? 0 : err_set(e, EINVAL, "the key is empty");
}

static int derive(const struct buf *secret, const unsigned char *salt, unsigned iterations, unsigned char kek[32], struct err *e)
{
	gnutls_datum_t k = { (unsigned char *)secret->data, (unsigned)secret->len }, s = { (unsigned char *)salt, SALT };
	int rc = gnutls_pbkdf2(GNUTLS_MAC_SHA512, &k, &s, iterations, kek, 32);

	return rc < 0 ? err_set(e, EIO, "cannot derive a key: %s", gnutls_strerror(rc)) : 0;
}

/* wrapped: NONCE, key, TAG */
static int wrap(const unsigned char kek[32], const unsigned char key[KEY_BYTES], unsigned char out[NONCE + KEY_BYTES + TAG], struct err *e)
{
	gnutls_datum_t k = { (unsigned char *)kek, 32 };
	gnutls_aead_cipher_hd_t h = NULL;
	size_t len = KEY_BYTES + TAG;
	int rc = gnutls_rnd(GNUTLS_RND_NONCE, out, NONCE);

	if (rc == 0) rc = gnutls_aead_cipher_init(&h, GNUTLS_CIPHER_AES_256_GCM, &k);
	if (rc == 0) {
		rc = gnutls_aead_cipher_encrypt(h, out, NONCE, NULL, 0, TAG, key, KEY_BYTES, out + NONCE, &len);
		gnutls_aead_cipher_deinit(h);
	}
	return rc < 0 ? err_set(e, EIO, "cannot encrypt the key: %s", gnutls_strerror(rc)) : 0;
}

static int store(struct iof_settings *s, const struct buf *secret, const unsigned char key[KEY_BYTES], struct err *e)
{
	unsigned char salt[SALT], kek[32], wrapped[NONCE + KEY_BYTES + TAG];
	char text[2 * sizeof(wrapped) + 1], salt_text[2 * SALT + 1];
	uint64_t iterations;
	int rc = iof->setting_size(s, "iterations", ITERATIONS_DEFAULT, &iterations, e);

	if (rc < 0) return rc;
	if (iterations < 1000 || iterations > 100000000) return err_set(e, EINVAL, "setting 'iterations' is not from 1000 to 100000000");
	if (gnutls_rnd(GNUTLS_RND_KEY, salt, SALT) < 0) return err_set(e, EIO, "no random numbers");
	rc = derive(secret, salt, (unsigned)iterations, kek, e);
	if (rc == 0) rc = wrap(kek, key, wrapped, e);
	gnutls_memset(kek, 0, sizeof(kek));
	if (rc < 0) return rc;
	hex(wrapped, sizeof(wrapped), text);
	hex(salt, SALT, salt_text);
	if (iof->setting_set(s, "salt", salt_text) < 0 || iof->setting_set(s, "wrapped-key", text) < 0)
		return err_set(e, ENOMEM, "no memory for the key");
	return 0;
}

int key_create(struct iof_settings *s, struct err *e)
{
	struct buf secret = BUF_INIT;
	unsigned char key[KEY_BYTES];
	int rc = secret_get(iof->setting(s, "key-file"), iof->setting(s, "key-command"), &secret, e);

	if (rc == 0 && gnutls_rnd(GNUTLS_RND_KEY, key, KEY_BYTES) < 0) rc = err_set(e, EIO, "no random numbers");
	if (rc == 0) rc = store(s, &secret, key, e);
	gnutls_memset(key, 0, sizeof(key));
	wipe(&secret);
	return rc;
}

int key_unwrap(const struct iof_settings *s, unsigned char key[KEY_BYTES], struct err *e)
{
	unsigned char salt[SALT], kek[32], wrapped[NONCE + KEY_BYTES + TAG];
	gnutls_datum_t k = { kek, sizeof(kek) };
	gnutls_aead_cipher_hd_t h = NULL;
	struct buf secret = BUF_INIT;
	uint64_t iterations;
	size_t len = KEY_BYTES;
	int rc = iof->setting_size(s, "iterations", ITERATIONS_DEFAULT, &iterations, e);

	if (rc < 0) return rc;
	if (iterations < 1000 || iterations > 100000000) return err_set(e, EINVAL, "setting 'iterations' is not from 1000 to 100000000");
	if (unhex(iof->setting(s, "salt"), salt, SALT) < 0 || unhex(iof->setting(s, "wrapped-key"), wrapped, sizeof(wrapped)) < 0)
		return err_set(e, EINVAL, "'salt' or 'wrapped-key' is missing or not hexadecimal of the right length");
	rc = secret_get(iof->setting(s, "key-file"), iof->setting(s, "key-command"), &secret, e);
	if (rc == 0) rc = derive(&secret, salt, (unsigned)iterations, kek, e);
	wipe(&secret);
	if (rc < 0) return rc;
	rc = gnutls_aead_cipher_init(&h, GNUTLS_CIPHER_AES_256_GCM, &k);
	if (rc == 0) {
		rc = gnutls_aead_cipher_decrypt(h, wrapped, NONCE, NULL, 0, TAG, wrapped + NONCE, KEY_BYTES + TAG, key, &len);
		gnutls_aead_cipher_deinit(h);
	}
	gnutls_memset(kek, 0, sizeof(kek));
	return rc < 0 || len != KEY_BYTES ? err_set(e, EKEYREJECTED, "wrong key: it does not open this disk") : 0;
}

int key_change(struct iof_settings *s, struct err *e)
{
	const char *file = iof->setting(s, "next-key-file"), *command = iof->setting(s, "next-key-command");
	struct buf secret = BUF_INIT;
	unsigned char key[KEY_BYTES];
	int rc = key_unwrap(s, key, e);

	if (rc == 0) rc = secret_get(file, command, &secret, e);
	if (rc == 0) rc = store(s, &secret, key, e);
	if (rc == 0 && (iof->setting_set(s, "key-file", file) < 0 || iof->setting_set(s, "key-command", command) < 0 ||
			iof->setting_set(s, "next-key-file", NULL) < 0 || iof->setting_set(s, "next-key-command", NULL) < 0))
		rc = err_set(e, ENOMEM, "no memory for the key");
	gnutls_memset(key, 0, sizeof(key));
	wipe(&secret);
	return rc;
}
