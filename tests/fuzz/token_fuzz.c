// SPDX-License-Identifier: Apache-2.0
// Tokens that clients bring: JSON Web Tokens (any bytes, and claims of any form with a good signature), bootstrap tokens, and the
// continue tokens of lists. The first byte chooses.
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/bootstrap_token.h"
#include "server/jwt.h"
#include "server/page_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct jwt_key *key;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[] = "/tmp/bulkhead-token-fuzz-XXXXXX";
	int fd = mkstemp(path);
	gnutls_x509_privkey_t k;
	gnutls_datum_t pem;
	struct err e = ERR_INIT;

	(void)argc;
	(void)argv;
	if (fd < 0 || gnutls_x509_privkey_init(&k) || gnutls_x509_privkey_generate(k, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) ||
	    gnutls_x509_privkey_export2(k, GNUTLS_X509_FMT_PEM, &pem) || write(fd, pem.data, pem.size) != (ssize_t)pem.size)
		abort();
	close(fd);
	if (jwt_key_open(path, &key, &e)) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	unlink(path);
	gnutls_free(pem.data);
	gnutls_x509_privkey_deinit(k);
	return 0;
}

static void sign_and_verify(const char *text)
{
	json_t *claims = json_loads(text, 0, NULL), *back;
	char *token = json_is_object(claims) ? jwt_sign(key, claims) : NULL;

	if (token && strlen(token) <= JWT_MAX) {
		back = jwt_verify(key, token);
		if (!back || !json_equal(back, claims))
			abort();
		json_decref(back);
		token[strlen(token) / 2] ^= 1;   // any change is noticed
		back = jwt_verify(key, token);
		if (back)
			abort();
	}
	free(token);
	json_decref(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *start = NULL;
	uint64_t rv;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	switch (size ? text[0] % 4 : 3) {
	case 0:
		json_decref(jwt_verify(key, text + 1));
		break;
	case 1:
		sign_and_verify(text + 1);
		break;
	case 2:
		if (!page_token_parse(text + 1, "pods/", &rv, &start) && strncmp(start, "pods/", 5))
			abort();
		free(start);
		start = page_token_make(size, text + 1);   // not UTF-8: there is none
		free(start);
		break;
	default:
		bootstrap_token_is(text);
	}
	free(text);
	return 0;
}
