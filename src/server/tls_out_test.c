// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <gnutls/crypto.h>

#include "server/tls_out.h"

static const unsigned char secret[] = "sixteen bytes...";

static int find_key(gnutls_session_t s, const char *user, gnutls_datum_t *key)
{
	(void)s;
	(void)user;
	key->data = gnutls_malloc(16);
	memcpy(key->data, secret, 16);
	key->size = 16;
	return 0;
}

/* A client and a server that have shaken hands (with a shared key: no certificates), over a socket pair. */
struct pair {
	int fds[2];
	gnutls_session_t client, server;
	gnutls_psk_client_credentials_t client_cred;
	gnutls_psk_server_credentials_t server_cred;
};

static void shake_hands(struct pair *p, const char *priority)
{
	const gnutls_datum_t key = { (unsigned char *)secret, 16 };
	int c = GNUTLS_E_AGAIN, s = GNUTLS_E_AGAIN;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->fds), 0);
	assert_int_equal(gnutls_psk_allocate_client_credentials(&p->client_cred), 0);
	assert_int_equal(gnutls_psk_set_client_credentials(p->client_cred, "u", &key, GNUTLS_PSK_KEY_RAW), 0);
	assert_int_equal(gnutls_psk_allocate_server_credentials(&p->server_cred), 0);
	gnutls_psk_set_server_credentials_function(p->server_cred, find_key);
	assert_int_equal(gnutls_init(&p->client, GNUTLS_CLIENT | GNUTLS_NONBLOCK), 0);
	assert_int_equal(gnutls_init(&p->server, GNUTLS_SERVER | GNUTLS_NONBLOCK), 0);
	assert_int_equal(gnutls_priority_set_direct(p->client, priority, NULL), 0);
	assert_int_equal(gnutls_priority_set_direct(p->server, priority, NULL), 0);
	gnutls_credentials_set(p->client, GNUTLS_CRD_PSK, p->client_cred);
	gnutls_credentials_set(p->server, GNUTLS_CRD_PSK, p->server_cred);
	gnutls_transport_set_int(p->client, p->fds[0]);
	gnutls_transport_set_int(p->server, p->fds[1]);
	for (int i = 0; i < 100 && (c || s); i++) {
		if (c)
			c = gnutls_handshake(p->client);
		if (s)
			s = gnutls_handshake(p->server);
	}
	assert_int_equal(c, 0);
	assert_int_equal(s, 0);
}

static void part(struct pair *p)
{
	gnutls_deinit(p->client);
	if (p->server)
		gnutls_deinit(p->server);
	gnutls_psk_free_client_credentials(p->client_cred);
	gnutls_psk_free_server_credentials(p->server_cred);
	close(p->fds[0]);
	close(p->fds[1]);
}

static void expect(struct pair *p, const char *text, size_t len)
{
	char got[TLS_OUT_TEXT_MAX];
	ssize_t n;

	do
		n = gnutls_record_recv(p->client, got, sizeof got);
	while (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
	assert_int_equal(n, len);
	assert_memory_equal(got, text, len);
}

/* What the session sent, then what is sealed with what was taken of it, several records in one write, then the end. */
static void what_is_sealed_follows_what_the_session_sent(const char *priority)
{
	static const size_t sizes[] = { 1, 15, 16, 2900, TLS_OUT_TEXT_MAX };
	char *text = malloc(TLS_OUT_TEXT_MAX), *wire = malloc(4 * TLS_OUT_TEXT_MAX);
	struct tls_out *o = NULL;
	struct pair p;
	size_t at = 0;

	for (int i = 0; i < TLS_OUT_TEXT_MAX; i++)
		text[i] = (char)(i * 7);
	shake_hands(&p, priority);
	assert_int_equal(gnutls_record_send(p.server, "before", 6), 6);
	assert_int_equal(tls_out_take(p.server, &o), 0);
	gnutls_deinit(p.server);
	p.server = NULL;
	for (int i = 0; i < 5; i++) {
		memcpy(wire + at + TLS_OUT_HEAD, text, sizes[i]);
		int n = tls_out_seal(o, wire + at, sizes[i]);
		assert_int_equal(n, sizes[i] + TLS_OUT_HEAD + TLS_OUT_TAIL);
		at += n;
	}
	assert_int_equal(tls_out_seal_close(o, wire + at), TLS_OUT_CLOSE);
	at += TLS_OUT_CLOSE;
	assert_int_equal(write(p.fds[1], wire, at), at);
	expect(&p, "before", 6);
	for (int i = 0; i < 5; i++)
		expect(&p, text, sizes[i]);
	expect(&p, "", 0);
	tls_out_free(o);
	part(&p);
	free(text);
	free(wire);
}

static void with_each_cipher(void **state)
{
	(void)state;
	what_is_sealed_follows_what_the_session_sent("NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK:-CIPHER-ALL:+AES-128-GCM");
	what_is_sealed_follows_what_the_session_sent("NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK:-CIPHER-ALL:+CHACHA20-POLY1305");
}

static void what_was_changed_on_the_way_is_refused(void **state)
{
	char wire[256] = { 0 }, got[64];
	struct tls_out *o = NULL;
	struct pair p;
	int n;

	(void)state;
	shake_hands(&p, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK");
	assert_int_equal(tls_out_take(p.server, &o), 0);
	memcpy(wire + TLS_OUT_HEAD, "hello", 5);
	n = tls_out_seal(o, wire, 5);
	wire[TLS_OUT_HEAD] ^= 1;
	assert_int_equal(write(p.fds[1], wire, n), n);
	do
		n = gnutls_record_recv(p.client, got, sizeof got);
	while (n == GNUTLS_E_AGAIN);
	assert_int_equal(n, GNUTLS_E_DECRYPTION_FAILED);
	tls_out_free(o);
	part(&p);
}

static void older_protocols_stay_with_their_session(void **state)
{
	struct tls_out *o = NULL;
	struct pair p;

	(void)state;
	shake_hands(&p, "NORMAL:-VERS-ALL:+VERS-TLS1.2:+ECDHE-PSK");
	assert_int_equal(tls_out_take(p.server, &o), -ENOTSUP);
	assert_null(o);
	part(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_each_cipher), cmocka_unit_test(what_was_changed_on_the_way_is_refused),
		cmocka_unit_test(older_protocols_stay_with_their_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
