// SPDX-License-Identifier: Apache-2.0
// The guest's serial console: everything it writes is read at once, so that it never waits; the first max_bytes go to a
// file, the rest is dropped. The end of it is kept, to tell why a guest died.
#ifndef BULKHEAD_VMX_CONSOLE_H
#define BULKHEAD_VMX_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console;
struct evloop;

/* in: where the guest's bytes come from, non-blocking, owned by the console; out: the file, borrowed. NULL: no memory
 * (in is then still the caller's). */
struct console *console_new(struct evloop *l, int in, int out, uint64_t max_bytes);
void console_free(struct console *c);
void console_drain(struct console *c);   // take what is there now

/* If the guest's kernel panicked, its sentence. text: max bytes, untouched otherwise. */
bool console_panic(const struct console *c, char *text, size_t max);

#endif
