// SPDX-License-Identifier: Apache-2.0
// RFC 8446, 5.2 (records), 5.3 (nonces), 5.5 (how much one key may protect).
#include "server/tls_out.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NONCE 12
#define TAG 16
#define RECORDS_MAX (UINT64_C(1) << 24)   // with one key
#define TYPE_ALERT 21
#define TYPE_DATA 23

struct tls_out {
	gnutls_aead_cipher_hd_t cipher;
	uint64_t sequence, end;
	unsigned char iv[NONCE];
};

int tls_out_take(gnutls_session_t session, struct tls_out **out)
{
	gnutls_cipher_algorithm_t cipher = gnutls_cipher_get(session);
	gnutls_datum_t mac, iv, key;
	unsigned char sequence[8];
	struct tls_out *o;

	if (gnutls_protocol_get_version(session) != GNUTLS_TLS1_3 || gnutls_cipher_get_tag_size(cipher) != TAG ||
	    gnutls_record_get_state(session, 0, &mac, &iv, &key, sequence) || iv.size != NONCE)
		return -ENOTSUP;
	o = calloc(1, sizeof *o);
	if (!o)
		return -ENOMEM;
	if (gnutls_aead_cipher_init(&o->cipher, cipher, &key)) {
		free(o);
		return -ENOTSUP;
	}
	memcpy(o->iv, iv.data, NONCE);
	for (int i = 0; i < 8; i++)
		o->sequence = o->sequence << 8 | sequence[i];
	o->end = RECORDS_MAX;
	*out = o;
	return 0;
}

void tls_out_free(struct tls_out *o)
{
	if (!o)
		return;
	gnutls_aead_cipher_deinit(o->cipher);
	gnutls_memset(o->iv, 0, sizeof o->iv);
	free(o);
}

/* The sequence number, over the end of the IV. */
static void make_nonce(const struct tls_out *o, unsigned char nonce[NONCE])
{
	memcpy(nonce, o->iv, NONCE);
	for (int i = 0; i < 8; i++)
		nonce[NONCE - 1 - i] ^= (unsigned char)(o->sequence >> 8 * i);
}

static int seal(struct tls_out *o, unsigned char type, char *record, size_t len)
{
	size_t inner = len + 1, sealed = inner + TAG;
	unsigned char nonce[NONCE];
	char *text = record + TLS_OUT_HEAD;

	if (o->sequence >= o->end)
		return -EOVERFLOW;
	text[len] = (char)type;
	memcpy(record, (unsigned char[]){ TYPE_DATA, 3, 3, (unsigned char)(sealed >> 8), (unsigned char)sealed }, TLS_OUT_HEAD);
	make_nonce(o, nonce);
	if (gnutls_aead_cipher_encrypt(o->cipher, nonce, NONCE, record, TLS_OUT_HEAD, TAG, text, inner, text, &sealed))
		return -EOVERFLOW;
	o->sequence++;
	return (int)(TLS_OUT_HEAD + sealed);
}

int tls_out_seal(struct tls_out *o, char *record, size_t len)
{
	return seal(o, TYPE_DATA, record, len);
}

uint64_t tls_out_left(const struct tls_out *o)
{
	return o->sequence < o->end ? o->end - o->sequence : 0;
}

int tls_out_seal_close(struct tls_out *o, char *record)
{
	o->end = UINT64_MAX;   // the last one
	memcpy(record + TLS_OUT_HEAD, (char[]){ 1, 0 }, 2);   // warning, close_notify
	return seal(o, TYPE_ALERT, record, 2);
}
