// SPDX-License-Identifier: Apache-2.0
// For tests: both ends of a TLS connection in one process, after their handshake (with a shared key: no certificates). Included
// after cmocka.h.
#ifndef BH_SERVER_TEST_TLS_H
#define BH_SERVER_TEST_TLS_H

#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEST_TLS_1_3 "NORMAL:-VERS-ALL:+VERS-TLS1.3:+ECDHE-PSK"

static const unsigned char secret[] = "sixteen bytes...";

static inline int find_key(gnutls_session_t s, const char *user, gnutls_datum_t *key)
{
	(void)s;
	(void)user;
	key->data = gnutls_malloc(16);
	memcpy(key->data, secret, 16);
	key->size = 16;
	return 0;
}

/* Over a socket pair; fds[0] is the client's. */
struct pair {
	int fds[2];
	gnutls_session_t client, server;
	gnutls_psk_client_credentials_t client_cred;
	gnutls_psk_server_credentials_t server_cred;
};

static inline void shake_hands(struct pair *p, const char *priority)
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

static inline void part(struct pair *p)
{
	gnutls_deinit(p->client);
	if (p->server)
		gnutls_deinit(p->server);
	gnutls_psk_free_client_credentials(p->client_cred);
	gnutls_psk_free_server_credentials(p->server_cred);
	close(p->fds[0]);
	close(p->fds[1]);
}

#endif
