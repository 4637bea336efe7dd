// SPDX-License-Identifier: Apache-2.0
// Log lines on stderr: one line per event, "time level program[identity] subsystem: text key=value".
// Thread-safe. Never fails. Control characters in the text are escaped, so that no peer can forge a line.
#ifndef BH_LOG_H
#define BH_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* program: static string, shown on each line. Reads BULKHEAD_DEBUG ("all" or "disk,vsock": debug lines of those
 * subsystems). Call once, before threads. */
void log_init(const char *program);

/* What this process works for ("pod=ns/name vm=ID"); copied, at most 127 bytes. Call once, before threads. */
void log_identity(const char *identity);

/* If stderr is a file, keep it below about max_bytes: it becomes NAME.1 (which becomes NAME.2) and a new one takes its place,
 * without losing a line. For daemons; call once, before threads. */
#define LOG_ROTATE_BYTES (16ull << 20)
void log_rotate(uint64_t max_bytes);

void log_line(enum log_level level, const char *subsystem, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_error(sub, ...) log_line(LOG_LEVEL_ERROR, sub, __VA_ARGS__)
#define log_warn(sub, ...)  log_line(LOG_LEVEL_WARN, sub, __VA_ARGS__)
#define log_info(sub, ...)  log_line(LOG_LEVEL_INFO, sub, __VA_ARGS__)
#define log_debug(sub, ...) log_line(LOG_LEVEL_DEBUG, sub, __VA_ARGS__)

/* For what a guest or peer can cause: at most one line per second from this place. */
#define log_limited(level, sub, ...) do { \
		static uint64_t last_; \
		if (log_due(&last_)) log_line(level, sub, __VA_ARGS__); \
	} while (0)
bool log_due(uint64_t *last_ns);

#endif
