// SPDX-License-Identifier: Apache-2.0
// Receiving a terminal from crun (--console-socket).
#ifndef BH_AGENT_CONSOLE_H
#define BH_AGENT_CONSOLE_H

#include "base/err.h"

struct console;
struct evloop;

/* Listens at path until crun has connected and sent the terminal; then calls fn once with its descriptor, which is
 * fn's, and frees itself. NULL: error in e. */
struct console *console_new(struct evloop *l, const char *path, void (*fn)(void *user, int fd), void *user, struct err *e);
void console_free(struct console *c);           // NULL allowed
const char *console_path(const struct console *c);
void console_poll(struct console *c);           // look now; may call fn and free

void console_resize(int fd, unsigned cols, unsigned rows);

#endif
