// SPDX-License-Identifier: Apache-2.0
// The guest's serial console; see console.h.
#include "console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/evloop.h"
#include "base/file.h"
#include "base/log.h"

#define CHUNK 4096
#define TAIL 8192        // bytes of the console's end that are kept; a panic's traceback comes behind its sentence

struct console {
	struct evwatch *watch;   // NULL once the other side has closed
	int in, out;
	uint64_t left;           // bytes the file may still grow
	size_t tail_len;
	char tail[TAIL + CHUNK];
};

static void tail_add(struct console *c, const char *data, size_t len)
{
	memcpy(c->tail + c->tail_len, data, len);
	c->tail_len += len;
	if (c->tail_len > TAIL) {
		memmove(c->tail, c->tail + c->tail_len - TAIL, TAIL);
		c->tail_len = TAIL;
	}
}

static void save(struct console *c, const char *data, size_t len)
{
	if (len > c->left)
		len = c->left;
	if (!len)
		return;
	c->left -= len;
	int rc = fd_write_all(c->out, data, len);
	if (!rc && c->left)
		return;
	if (rc)
		log_warn("console", "the console is not recorded any more: %s", strerror(-rc));
	else
		log_info("console", "the console reached its limit and is not recorded any more");
	c->left = 0;
}

// One read. False: nothing there.
static bool take(struct console *c)
{
	char data[CHUNK];
	ssize_t n = read(c->in, data, sizeof(data));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		evloop_remove(c->watch);
		c->watch = NULL;
		return false;
	}
	tail_add(c, data, (size_t)n);
	save(c, data, (size_t)n);
	return true;
}

static void on_input(struct evloop *l, struct evwatch *w, uint32_t events, void *user)
{
	(void)l, (void)w, (void)events;
	take(user);
}

void console_drain(struct console *c)
{
	for (int i = 0; i < 256 && c->watch && take(c); i++)   // a guest that is gone cannot write for ever
		;
}

struct console *console_new(struct evloop *l, int in, int out, uint64_t max_bytes)
{
	struct console *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->watch = evloop_add(l, in, EPOLLIN, on_input, c);
	if (!c->watch) {
		free(c);
		return NULL;
	}
	c->in = in;
	c->out = out;
	c->left = max_bytes;
	return c;
}

void console_free(struct console *c)
{
	if (!c)
		return;
	if (c->watch)
		evloop_remove(c->watch);
	close(c->in);
	free(c);
}

bool console_panic(const struct console *c, char *text, size_t max)
{
	static const char mark[] = "Kernel panic - not syncing: ";
	const char *at = memmem(c->tail, c->tail_len, mark, sizeof(mark) - 1);
	if (!at)
		return false;
	at += sizeof(mark) - 1;
	size_t len = 0, left = c->tail_len - (size_t)(at - c->tail);
	while (len < left && at[len] != '\r' && at[len] != '\n')
		len++;
	snprintf(text, max, "%.*s", (int)len, at);
	return true;
}
