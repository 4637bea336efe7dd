// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/test_tls.h"
#include "server/tls_out.h"

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
	what_is_sealed_follows_what_the_session_sent(TEST_TLS_1_3 ":-CIPHER-ALL:+AES-128-GCM");
	what_is_sealed_follows_what_the_session_sent(TEST_TLS_1_3 ":-CIPHER-ALL:+CHACHA20-POLY1305");
}

static void what_was_changed_on_the_way_is_refused(void **state)
{
	char wire[256] = { 0 }, got[64];
	struct tls_out *o = NULL;
	struct pair p;
	int n;

	(void)state;
	shake_hands(&p, TEST_TLS_1_3);
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

static void keys_protect_so_much_and_the_end(void **state)
{
	unsigned char near_end[8] = { 0, 0, 0, 0, 0, 0xff, 0xff, 0xfe };   // of 2^24
	char wire[64] = { 0 };
	struct tls_out *o = NULL;
	struct pair p;

	(void)state;
	shake_hands(&p, TEST_TLS_1_3);
	assert_int_equal(gnutls_record_set_state(p.server, 0, near_end), 0);
	assert_int_equal(tls_out_take(p.server, &o), 0);
	for (int left = 2; left; left--) {
		assert_int_equal(tls_out_left(o), left);
		assert_true(tls_out_seal(o, wire, 1) > 0);
	}
	assert_int_equal(tls_out_left(o), 0);
	assert_int_equal(tls_out_seal(o, wire, 1), -EOVERFLOW);
	assert_int_equal(tls_out_seal_close(o, wire), TLS_OUT_CLOSE);
	tls_out_free(o);
	part(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_each_cipher), cmocka_unit_test(what_was_changed_on_the_way_is_refused),
		cmocka_unit_test(older_protocols_stay_with_their_session), cmocka_unit_test(keys_protect_so_much_and_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
