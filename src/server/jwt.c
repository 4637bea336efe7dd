// SPDX-License-Identifier: Apache-2.0
#include "server/jwt.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/base64.h"

#define COORDINATE 32            // bytes of a number on P-256
#define KID_MAX 64

struct jwt_key {
	gnutls_privkey_t sign;
	gnutls_pubkey_t verify;
	char kid[KID_MAX];       // SHA-256 of the public key
	char *x, *y;             // its coordinates, base64url
	char *header;            // of every token, base64url
};

static void own_datum_(gnutls_datum_t *d) { gnutls_free(d->data); }
#define own_datum __attribute__((cleanup(own_datum_)))

/* --- base64url without padding --- */

char *jwt_url_encode(const void *data, size_t len)
{
	char *text = base64_encode(data, len);

	for (char *p = text; p && *p; p++)
		if (*p == '+')
			*p = '-';
		else if (*p == '/')
			*p = '_';
		else if (*p == '=')
			*p-- = '\0';
	return text;
}

static unsigned char *url_decode(const char *text, size_t len, size_t *out_len)
{
	own_free char *copy = malloc(len + 4);
	size_t n = 0;

	if (!copy)
		return NULL;
	for (; n < len; n++) {
		char c = text[n];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!plain && c != '-' && c != '_')
			return NULL;
		copy[n] = c == '-' ? '+' : c == '_' ? '/' : c;
	}
	while (n % 4)
		copy[n++] = '=';
	return base64_decode(copy, n, out_len);
}

static char *url_encode_json(const json_t *j)
{
	own_free char *text = json_dumps(j, JSON_COMPACT);

	return text ? jwt_url_encode(text, strlen(text)) : NULL;
}

static json_t *url_decode_json(const char *text, size_t len)
{
	size_t n = 0;
	own_free unsigned char *bytes = url_decode(text, len, &n);

	return bytes ? json_loadb((const char *)bytes, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

/* --- the key --- */

static char *coordinate(const gnutls_datum_t *d)
{
	unsigned char full[COORDINATE] = { 0 };
	size_t skip = d->size > COORDINATE ? d->size - COORDINATE : 0;   // a leading zero

	memcpy(full + COORDINATE - (d->size - skip), d->data + skip, d->size - skip);
	return jwt_url_encode(full, sizeof full);
}

static int describe(struct jwt_key *k)
{
	own_datum gnutls_datum_t der = { NULL, 0 }, x = { NULL, 0 }, y = { NULL, 0 };
	own_json json_t *header = NULL;
	own_free char *kid = NULL;
	unsigned char hash[32];
	gnutls_ecc_curve_t curve;

	if (gnutls_pubkey_export2(k->verify, GNUTLS_X509_FMT_DER, &der) < 0 ||
	    gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, hash) < 0 ||
	    gnutls_pubkey_export_ecc_raw2(k->verify, &curve, &x, &y, 0) < 0 || curve != GNUTLS_ECC_CURVE_SECP256R1)
		return -EINVAL;
	kid = jwt_url_encode(hash, sizeof hash);
	if (!kid)
		return -ENOMEM;
	strcpy(k->kid, kid);
	header = json_pack("{s:s,s:s}", "alg", "ES256", "kid", k->kid);
	k->x = coordinate(&x);
	k->y = coordinate(&y);
	k->header = header ? url_encode_json(header) : NULL;
	return k->x && k->y && k->header ? 0 : -ENOMEM;
}

void jwt_key_close(struct jwt_key *k)
{
	if (!k)
		return;
	if (k->sign)
		gnutls_privkey_deinit(k->sign);
	if (k->verify)
		gnutls_pubkey_deinit(k->verify);
	free(k->x);
	free(k->y);
	free(k->header);
	free(k);
}

int jwt_key_open(const char *path, struct jwt_key **out, struct err *e)
{
	struct jwt_key *k = calloc(1, sizeof *k);
	own_buf struct buf pem = BUF_INIT;
	gnutls_datum_t d;
	int r = k ? file_read(path, 65536, &pem, e) : err_set(e, ENOMEM, "out of memory");

	d = (gnutls_datum_t){ (unsigned char *)pem.data, pem.len };
	if (!r && (gnutls_privkey_init(&k->sign) < 0 || gnutls_pubkey_init(&k->verify) < 0 ||
		   gnutls_privkey_import_x509_raw(k->sign, &d, GNUTLS_X509_FMT_PEM, NULL, 0) < 0 ||
		   gnutls_pubkey_import_privkey(k->verify, k->sign, 0, 0) < 0 || describe(k)))
		r = err_set(e, EINVAL, "%s holds no private EC P-256 key", path);
	if (r) {
		jwt_key_close(k);
		return r;
	}
	*out = k;
	return 0;
}

json_t *jwt_key_set(const struct jwt_key *k)
{
	return json_pack("{s:[{s:s,s:s,s:s,s:s,s:s,s:s,s:s}]}", "keys", "use", "sig", "kty", "EC", "kid", k->kid, "crv", "P-256",
			 "alg", "ES256", "x", k->x, "y", k->y);
}

/* --- tokens --- */

/* A number of a signature, right-aligned in COORDINATE bytes. */
static void put_number(const gnutls_datum_t *d, unsigned char *out)
{
	size_t skip = d->size > COORDINATE ? d->size - COORDINATE : 0;

	memcpy(out + COORDINATE - (d->size - skip), d->data + skip, d->size - skip);
}

char *jwt_sign(struct jwt_key *k, const json_t *claims)
{
	own_free char *payload = url_encode_json(claims), *text = NULL;
	own_datum gnutls_datum_t der = { NULL, 0 }, r = { NULL, 0 }, s = { NULL, 0 };
	unsigned char raw[2 * COORDINATE] = { 0 };
	own_buf struct buf b = BUF_INIT;
	gnutls_datum_t d;

	if (!payload || buf_printf(&b, "%s.%s", k->header, payload))
		return NULL;
	d = (gnutls_datum_t){ (unsigned char *)b.data, b.len };
	if (gnutls_privkey_sign_data2(k->sign, GNUTLS_SIGN_ECDSA_SHA256, 0, &d, &der) < 0 || gnutls_decode_rs_value(&der, &r, &s) < 0)
		return NULL;
	put_number(&r, raw);
	put_number(&s, raw + COORDINATE);
	text = jwt_url_encode(raw, sizeof raw);
	if (!text || buf_printf(&b, ".%s", text))
		return NULL;
	return buf_take(&b);
}

static bool signature_good(struct jwt_key *k, const char *token, size_t signed_len, const char *signature)
{
	size_t n = 0;
	own_free unsigned char *raw = url_decode(signature, strlen(signature), &n);
	own_datum gnutls_datum_t der = { NULL, 0 };
	gnutls_datum_t d = { (unsigned char *)token, signed_len }, r, s;

	if (!raw || n != 2 * COORDINATE)
		return false;
	r = (gnutls_datum_t){ raw, COORDINATE };
	s = (gnutls_datum_t){ raw + COORDINATE, COORDINATE };
	return gnutls_encode_rs_value(&der, &r, &s) >= 0 &&
	       gnutls_pubkey_verify_data2(k->verify, GNUTLS_SIGN_ECDSA_SHA256, 0, &d, &der) >= 0;
}

json_t *jwt_verify(struct jwt_key *k, const char *token)
{
	const char *dot = strchr(token, '.'), *second = dot ? strchr(dot + 1, '.') : NULL;
	own_json json_t *header = NULL;
	json_t *claims;

	if (!second || strlen(token) > JWT_MAX)
		return NULL;
	header = url_decode_json(token, dot - token);
	if (strcmp(jpath_str(header, "alg", ""), "ES256") || strcmp(jpath_str(header, "kid", k->kid), k->kid) ||
	    !signature_good(k, token, second - token, second + 1))
		return NULL;
	claims = url_decode_json(dot + 1, second - dot - 1);
	if (!json_is_object(claims)) {
		json_decref(claims);
		return NULL;
	}
	return claims;
}
