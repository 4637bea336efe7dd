// SPDX-License-Identifier: Apache-2.0
#include "websocket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "websocket_channels.h"

static struct buf heard = BUF_INIT, out = BUF_INIT;
static struct websocket *ws;

static int on_message(void *user, bool first, bool last, const void *data, size_t len)
{
	(void)user;
	return buf_printf(&heard, "%s%.*s%s", first ? "<" : "", (int)len, (const char *)data, last ? ">" : "");
}

static int setup(void **state)
{
	(void)state;
	ws = websocket_new(&out, on_message, NULL);
	return ws ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	websocket_free(ws);
	buf_fini(&heard);
	buf_fini(&out);
	return 0;
}

/* A client's frame: masked. first: FIN bit and opcode. */
static void frame(struct buf *b, unsigned first, const void *data, size_t len)
{
	static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
	uint8_t head[4] = {(uint8_t)first, (uint8_t)(0x80 | (len < 126 ? len : 126)), (uint8_t)(len >> 8), (uint8_t)len};
	buf_append(b, head, len < 126 ? 2 : 4);
	buf_append(b, mask, 4);
	for (size_t i = 0; i < len; i++) {
		uint8_t c = ((const uint8_t *)data)[i] ^ mask[i % 4];
		buf_append(b, &c, 1);
	}
}

static int deliver(const struct buf *b, size_t piece)
{
	int rc = 0;
	for (size_t at = 0; !rc && at < b->len; at += piece)
		rc = websocket_input(ws, b->data + at, b->len - at < piece ? b->len - at : piece);
	return rc;
}

static void test_accept(void **state)
{
	(void)state;
	char answer[WEBSOCKET_ACCEPT_MAX];
	assert_int_equal(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", answer), 0);   // RFC 6455, 1.3
	assert_string_equal(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_int_equal(websocket_accept("", answer), -EINVAL);
	assert_int_equal(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=", answer), -EINVAL);
	assert_int_equal(websocket_accept("!!!!!!!!!!!!!!!!!!!!!!!!", answer), -EINVAL);
	assert_int_equal(websocket_accept("dGhlIHNhbXBsZSBub25jZQaa", answer), -EINVAL);
}

static void test_choose(void **state)
{
	(void)state;
	static const char *const ours[] = {"v5", "v4", NULL};
	assert_string_equal(websocket_choose("v3, v4,v5", ours), "v4");
	assert_string_equal(websocket_choose(" ,V5", ours), "v5");
	assert_null(websocket_choose("v", ours));
	assert_null(websocket_choose("", ours));
}

static void test_messages_in_any_pieces(void **state)
{
	(void)state;
	own_buf struct buf b = BUF_INIT;
	char big[5000];
	memset(big, 'x', sizeof(big));
	frame(&b, 0x82, "one", 3);
	frame(&b, 0x01, "tw", 2);
	frame(&b, 0x89, "ping", 4);      // between the fragments
	frame(&b, 0x80, "o", 1);
	frame(&b, 0x82, "", 0);
	frame(&b, 0x8a, "", 0);
	for (size_t piece = 1; piece < 30; piece += 4) {
		assert_int_equal(deliver(&b, piece), 0);
		assert_memory_equal(out.data, "\x8a\4ping", 6);
		assert_int_equal(out.len, 6);
		out.len = 0;
		char plain[100];
		size_t n = 0;
		assert_true(heard.data[0] == '<');
		for (size_t i = 0; i < heard.len; i++)
			plain[n++] = heard.data[i];
		plain[n] = '\0';
		assert_string_equal(plain, "<one><two><>");
		heard.len = 0;
	}
	b.len = 0;
	frame(&b, 0x82, big, sizeof(big));
	assert_int_equal(deliver(&b, 1000), 0);
	assert_int_equal(heard.len, sizeof(big) + 2);
}

static void test_close_is_answered(void **state)
{
	(void)state;
	own_buf struct buf b = BUF_INIT;
	frame(&b, 0x88, "\x03\xe9why", 5);
	assert_int_equal(deliver(&b, 100), -ENODATA);
	assert_memory_equal(out.data, "\x88\2\x03\xe9", 4);
	assert_int_equal(websocket_send(ws, false, NULL, 0, "x", 1), -EPIPE);
}

static void test_send(void **state)
{
	(void)state;
	char big[70000] = "";
	assert_int_equal(websocket_send(ws, false, "\1", 1, "abc", 3), 0);
	assert_int_equal(websocket_send(ws, true, NULL, 0, "", 0), 0);
	assert_int_equal(websocket_send(ws, false, "\1", 1, big, sizeof(big)), 0);
	assert_memory_equal(out.data, "\x82\4\1abc\x81\0\x82\x7f\0\0\0\0\0\1\x11\x71\1", 19);
	assert_int_equal(out.len, 8 + 10 + 1 + sizeof(big));
}

static void broken(unsigned first, bool masked, size_t len)
{
	own_buf struct buf b = BUF_INIT;
	char data[200] = "";
	frame(&b, first, data, len);
	if (!masked)
		b.data[1] &= 0x7f;
	assert_int_equal(deliver(&b, 1000), -EPROTO);
	assert_memory_equal(out.data, "\x88\2\x03\xea", 4);   // closed with 1002
	websocket_free(ws);
	out.len = 0;
	ws = websocket_new(&out, on_message, NULL);
}

static void test_broken_frames(void **state)
{
	(void)state;
	broken(0x82, false, 4);    // not masked
	broken(0xc2, true, 4);     // reserved bit
	broken(0x83, true, 4);     // no such opcode
	broken(0x09, true, 4);     // a ping in fragments
	broken(0x89, true, 126);   // a long ping
	broken(0x80, true, 4);     // goes on, but nothing began
}

/* Channels. */

static int sink_data(void *user, uint32_t n, const void *data, size_t len)
{
	(void)user;
	return buf_printf(&heard, "%u:%.*s;", n, (int)len, (const char *)data);
}

static void sink_ended(void *user, uint32_t n, bool reset)
{
	(void)user, (void)reset;
	buf_printf(&heard, "%u ended;", n);
}

static const struct mux_sink sink = {.data = sink_data, .ended = sink_ended};

static void test_channels(void **state)
{
	(void)state;
	const struct websocket_channels_opts opts = {.count = 5, .close_signal = true};
	struct mux *m = websocket_channels_new(&opts, &sink, NULL);
	own_buf struct buf b = BUF_INIT;
	frame(&b, 0x82, "\0in", 3);
	frame(&b, 0x82, "\7nobody", 7);
	frame(&b, 0x82, "", 0);
	frame(&b, 0x82, "\0", 1);
	frame(&b, 0x82, "\xff\0", 2);
	frame(&b, 0x82, "\xff\x09", 2);
	frame(&b, 0x82, "\0late", 5);
	assert_int_equal(mux_input(m, b.data, b.len), 0);
	assert_string_equal(heard.data, "0:in;0 ended;");
	assert_int_equal(mux_send(m, 1, "out", 3), 0);
	assert_int_equal(mux_finish(m, 1), 0);
	assert_int_equal(mux_send(m, 1, "out", 3), -ENOENT);
	assert_int_equal(mux_send(m, 5, "out", 3), -ENOENT);
	assert_memory_equal(m->out.data, "\x82\4\1out", 6);
	mux_free(m);
}

static void test_base64_channels(void **state)
{
	(void)state;
	const struct websocket_channels_opts opts = {.count = 2, .base64 = true};
	struct mux *m = websocket_channels_new(&opts, &sink, NULL);
	own_buf struct buf b = BUF_INIT;
	frame(&b, 0x81, "0aGVs", 5);
	frame(&b, 0x01, "0bG", 3);          // a group in two frames
	frame(&b, 0x00, "8gd29y", 6);
	frame(&b, 0x80, "bGQ=", 4);
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(mux_input(m, b.data + i, 1), 0);
	own_buf struct buf got = BUF_INIT;
	for (const char *p = heard.data; *p; p++)
		if (!strncmp(p, "0:", 2))
			p++;
		else if (*p != ';')
			buf_append(&got, p, 1);
	assert_string_equal(got.data, "hello world");
	assert_int_equal(mux_send(m, 1, "hi", 2), 0);
	assert_memory_equal(m->out.data, "\x81\5""1aGk=", 7);
	b.len = 0;
	frame(&b, 0x81, "0a", 2);
	assert_int_equal(mux_input(m, b.data, b.len), -EPROTO);
	mux_free(m);
}

static void test_tunnel(void **state)
{
	(void)state;
	struct mux *m = websocket_tunnel_new(&sink, NULL);
	own_buf struct buf b = BUF_INIT;
	frame(&b, 0x82, "\x80\3\0\6\0", 5);          // a SPDY ping in two messages
	frame(&b, 0x82, "\0\0\4\0\0\0\1", 7);
	assert_int_equal(mux_input(m, b.data, b.len), 0);
	assert_memory_equal(m->out.data, "\x82\x0c\x80\3\0\6\0\0\0\4\0\0\0\1", 14);
	mux_taken(m, 14);
	assert_int_equal(mux_goodbye(m), 0);
	assert_memory_equal(m->out.data, "\x82\x10\x80\3\0\7", 6);
	assert_memory_equal(m->out.data + 18, "\x88\2\x03\xe8", 4);
	mux_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_accept), T(test_choose), T(test_messages_in_any_pieces), T(test_close_is_answered), T(test_send),
		T(test_broken_frames), T(test_channels), T(test_base64_channels), T(test_tunnel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
