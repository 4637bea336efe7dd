// SPDX-License-Identifier: Apache-2.0
#include "spdy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/own.h"
#include "spdy_headers.h"

/* A client: frames it sends gather in `bytes`. What the server's sink hears is written to `heard`. */
struct world {
	struct mux *m;
	struct spdy_deflater *z;
	struct buf bytes, heard;
	int refuse;
};

static int on_opened(void *user, uint32_t stream, const struct mux_headers *h)
{
	struct world *w = user;
	buf_printf(&w->heard, "open %u %s;", stream, mux_header(h, "streamtype"));
	return w->refuse;
}

static int on_data(void *user, uint32_t stream, const void *data, size_t len)
{
	struct world *w = user;
	buf_printf(&w->heard, "data %u %.*s;", stream, len > 20 ? 0 : (int)len, (const char *)data);
	return 0;
}

static void on_ended(void *user, uint32_t stream, bool reset)
{
	struct world *w = user;
	buf_printf(&w->heard, "end %u%s;", stream, reset ? " reset" : "");
}

static int setup(void **state)
{
	static const struct mux_sink sink = {.opened = on_opened, .data = on_data, .ended = on_ended};
	struct world *w = calloc(1, sizeof(*w));
	w->m = spdy_new(&sink, w);
	w->z = spdy_deflater_new();
	*state = w;
	return w->m && w->z ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;
	mux_free(w->m);
	spdy_deflater_free(w->z);
	buf_fini(&w->bytes);
	buf_fini(&w->heard);
	free(w);
	return 0;
}

static void put(struct world *w, const void *data, size_t len) { assert_int_equal(buf_append(&w->bytes, data, len), 0); }

static void put_u32(struct world *w, uint32_t v)
{
	uint8_t raw[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
	put(w, raw, 4);
}

static void control(struct world *w, unsigned type, unsigned flags, const void *body, size_t len)
{
	put_u32(w, 0x80030000u | type);
	put_u32(w, flags << 24 | (uint32_t)len);
	put(w, body, len);
}

static void pair(struct world *w, unsigned type, uint32_t a, uint32_t b)
{
	uint8_t raw[8] = {(uint8_t)(a >> 24), (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a,
			  (uint8_t)(b >> 24), (uint8_t)(b >> 16), (uint8_t)(b >> 8), (uint8_t)b};
	control(w, type, 0, raw, 8);
}

static void syn_stream(struct world *w, uint32_t id, const char *type, unsigned flags)
{
	const struct mux_headers h = {2, {{"Streamtype", type}, {"host", "x"}}};
	struct buf b = BUF_INIT;
	uint8_t head[10] = {(uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};
	buf_append(&b, head, sizeof(head));
	assert_int_equal(spdy_headers_write(w->z, &h, &b), 0);
	control(w, 1, flags, b.data, b.len);
	buf_fini(&b);
}

static void data(struct world *w, uint32_t id, unsigned flags, const void *bytes, size_t len)
{
	put_u32(w, id);
	put_u32(w, flags << 24 | (uint32_t)len);
	put(w, bytes, len);
}

/* Give the server what has gathered, in pieces. */
static int deliver(struct world *w, size_t piece)
{
	int rc = 0;
	for (size_t at = 0; !rc && at < w->bytes.len; at += piece)
		rc = mux_input(w->m, w->bytes.data + at, w->bytes.len - at < piece ? w->bytes.len - at : piece);
	w->bytes.len = 0;
	return rc;
}

static void heard(struct world *w, const char *text)
{
	assert_string_equal(w->heard.len ? w->heard.data : "", text);
	w->heard.len = 0;
}

/* The next frame the server sent: its first word and length; body points into out. */
static uint32_t next_frame(struct world *w, const uint8_t **body, uint32_t *len)
{
	const uint8_t *p = (uint8_t *)w->m->out.data + w->m->out_taken;
	assert_true(mux_pending(w->m) >= 8);
	uint32_t first = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	*len = (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
	*body = p + 8;
	assert_true(mux_pending(w->m) >= 8 + *len);
	w->m->out_taken += 8 + *len;
	return first;
}

static void expect_pair(struct world *w, unsigned type, uint32_t a, uint32_t b)
{
	const uint8_t *p;
	uint32_t len;
	assert_int_equal(next_frame(w, &p, &len), 0x80030000u | type);
	assert_int_equal(len, 8);
	assert_int_equal((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3], a);
	assert_int_equal((uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7], b);
}

static void skip_replies(struct world *w, int count)
{
	const uint8_t *p;
	uint32_t len;
	while (count--)
		assert_int_equal(next_frame(w, &p, &len), 0x80030002u);
}

static void test_streams_in_any_pieces(void **state)
{
	struct world *w = *state;
	uint32_t id = 1;
	for (size_t piece = 1; piece < 40; piece += 6, id += 4) {
		char text[200];
		syn_stream(w, id, "error", 0);
		syn_stream(w, id + 2, "stdin", 0);
		data(w, id + 2, 0, "", 0);
		data(w, id + 2, 1, "x", 1);
		assert_int_equal(deliver(w, piece), 0);
		snprintf(text, sizeof(text), "open %u error;open %u stdin;data %u x;end %u;", id, id + 2, id + 2, id + 2);
		heard(w, text);
		skip_replies(w, 2);
		assert_int_equal(mux_finish(w->m, id + 2), 0);   // both ended: gone
		assert_int_equal(mux_send(w->m, id + 2, "y", 1), -ENOENT);
		const uint8_t *p;
		uint32_t len;
		assert_int_equal(next_frame(w, &p, &len), id + 2);
		assert_int_equal(len, 0);
		assert_int_equal(p[-4], 1);
	}
}

static void test_reply_decompresses(void **state)
{
	struct world *w = *state;
	struct spdy_inflater *z = spdy_inflater_new();
	struct buf text = BUF_INIT;
	struct mux_headers h;
	const uint8_t *p;
	uint32_t len;
	for (uint32_t id = 1; id < 7; id += 2) {
		syn_stream(w, id, "data", 0);
		assert_int_equal(deliver(w, 100), 0);
		assert_int_equal(next_frame(w, &p, &len), 0x80030002u);
		assert_int_equal(p[3], id);
		assert_int_equal(spdy_headers_read(z, p + 4, len - 4, &text, &h), 0);
		assert_int_equal(h.count, 0);
	}
	buf_fini(&text);
	spdy_inflater_free(z);
}

static void test_refused_and_repeated_streams(void **state)
{
	struct world *w = *state;
	w->refuse = -EINVAL;
	syn_stream(w, 1, "what", 0);
	assert_int_equal(deliver(w, 100), 0);
	skip_replies(w, 1);
	expect_pair(w, 3, 1, 3);
	w->refuse = 0;
	syn_stream(w, 3, "stdin", 1);
	syn_stream(w, 3, "stdin", 0);
	syn_stream(w, 4, "stdin", 0);
	data(w, 1, 0, "gone", 4);
	assert_int_equal(deliver(w, 100), 0);
	heard(w, "open 1 what;open 3 stdin;end 3;");
	skip_replies(w, 1);
	expect_pair(w, 3, 3, 1);
	expect_pair(w, 3, 4, 1);
	pair(w, 3, 3, 5);
	assert_int_equal(deliver(w, 100), 0);
	heard(w, "end 3 reset;");
}

static void test_windows_limit_only_clients_that_keep_them(void **state)
{
	struct world *w = *state;
	own_buf struct buf big = BUF_INIT;
	buf_reserve(&big, 200000);
	memset(big.data, 'x', 200000);
	syn_stream(w, 1, "stdout", 0);
	syn_stream(w, 3, "stderr", 0);
	assert_int_equal(deliver(w, 100), 0);
	skip_replies(w, 2);
	assert_int_equal(mux_room(w->m, 1), MUX_OUT_MAX);
	assert_int_equal(mux_send(w->m, 1, big.data, 60000), 0);
	mux_taken(w->m, mux_pending(w->m));
	pair(w, 9, 3, 10);   // now it is known to keep windows of streams
	assert_int_equal(deliver(w, 100), 0);
	assert_int_equal(mux_room(w->m, 1), 5536);
	assert_int_equal(mux_room(w->m, 3), 65546);
	pair(w, 9, 0, 100);  // and of the connection: 65536 - 60000 + 100
	assert_int_equal(deliver(w, 100), 0);
	assert_int_equal(mux_room(w->m, 3), 5636);
	assert_int_equal(mux_send(w->m, 1, big.data, 5536), 0);
	assert_int_equal(mux_room(w->m, 1), 0);
	pair(w, 9, 1, 7);
	assert_int_equal(deliver(w, 100), 0);
	assert_int_equal(mux_room(w->m, 1), 7);
	/* SETTINGS moves open streams. */
	const uint8_t settings[12] = {0, 0, 0, 1, 0, 0, 0, 7, 0, 1, 0, 10};
	control(w, 4, 0, settings, sizeof(settings));
	assert_int_equal(deliver(w, 100), 0);
	assert_int_equal(mux_room(w->m, 1), 17);
	pair(w, 9, 1, 0x7fffffff);
	assert_int_equal(deliver(w, 100), -EPROTO);
}

static void test_consumed_bytes_are_credited(void **state)
{
	struct world *w = *state;
	syn_stream(w, 1, "stdin", 0);
	assert_int_equal(deliver(w, 100), 0);
	skip_replies(w, 1);
	assert_int_equal(mux_consumed(w->m, 1, 32767), 0);
	assert_int_equal(mux_pending(w->m), 0);
	assert_int_equal(mux_consumed(w->m, 1, 3), 0);
	expect_pair(w, 9, 0, 32770);
	expect_pair(w, 9, 1, 32770);
}

static void test_ping_and_goaway(void **state)
{
	struct world *w = *state;
	const uint8_t odd[4] = {0, 0, 0, 9}, even[4] = {0, 0, 0, 8};
	const uint8_t *p;
	uint32_t len;
	control(w, 6, 0, odd, 4);
	control(w, 6, 0, even, 4);
	control(w, 77, 0, "unknown", 7);
	assert_int_equal(deliver(w, 3), 0);
	assert_int_equal(next_frame(w, &p, &len), 0x80030006u);
	assert_int_equal(p[3], 9);
	assert_int_equal(mux_pending(w->m), 0);
	syn_stream(w, 1, "stdin", 0);
	pair(w, 7, 0, 0);
	assert_int_equal(deliver(w, 100), 0);    // a stream is open
	skip_replies(w, 1);
	pair(w, 3, 1, 5);
	assert_int_equal(deliver(w, 100), -ENODATA);
	mux_goodbye(w->m);
	expect_pair(w, 7, 1, 0);
}

static void expect_broken(struct world *w)
{
	assert_int_equal(deliver(w, 1000), -EPROTO);
}

static void test_bad_version(void **state) { put_u32(*state, 0x80020001u); put_u32(*state, 0); expect_broken(*state); }
static void test_long_control(void **state) { put_u32(*state, 0x80030001u); put_u32(*state, 0x20000); expect_broken(*state); }
static void test_data_on_stream_0(void **state) { data(*state, 0, 0, "x", 1); expect_broken(*state); }
static void test_short_syn_stream(void **state) { control(*state, 1, 0, "\0\0\0\1", 4); expect_broken(*state); }
static void test_garbage_headers(void **state) { control(*state, 1, 0, "\0\0\0\1\0\0\0\0\0\0garbage", 17); expect_broken(*state); }
static void test_bad_settings(void **state) { control(*state, 4, 0, "\0\0\0\2\0\0\0\7\0\0\0\0", 12); expect_broken(*state); }

/* A block of 60 bytes that becomes megabytes. */
static void test_header_bomb(void **state)
{
	struct world *w = *state;
	own_buf struct buf name = BUF_INIT, b = BUF_INIT;
	buf_append(&b, "\0\0\0\1\0\0\0\0\0\0", 10);
	for (int i = 0; i < 100000; i++)
		buf_puts(&name, "aaaaaaaaaa");
	const struct mux_headers h = {1, {{name.data, "x"}}};
	assert_int_equal(spdy_headers_write(w->z, &h, &b), 0);
	assert_true(b.len < 60000);
	control(w, 1, 0, b.data, b.len);
	expect_broken(w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_streams_in_any_pieces), T(test_reply_decompresses), T(test_refused_and_repeated_streams),
		T(test_windows_limit_only_clients_that_keep_them), T(test_consumed_bytes_are_credited), T(test_ping_and_goaway),
		T(test_bad_version), T(test_long_control), T(test_data_on_stream_0), T(test_short_syn_stream), T(test_garbage_headers),
		T(test_bad_settings), T(test_header_bomb),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
