// SPDX-License-Identifier: Apache-2.0
// Log lines on stderr; see log.h.
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

static const char *program = "bulkhead";
static char identity[128];
static const char *debug_list;   // from the environment, or NULL

void log_init(const char *name)
{
	program = name;
	debug_list = getenv("BULKHEAD_DEBUG");
}

void log_identity(const char *text)
{
	snprintf(identity, sizeof(identity), "[%s]", text);
}

static bool debug_wanted(const char *subsystem)
{
	if (!debug_list)
		return false;
	size_t want = strlen(subsystem);
	for (const char *p = debug_list; *p; p += strspn(p, ",")) {
		size_t n = strcspn(p, ",");
		if ((n == 3 && !strncmp(p, "all", 3)) || (n == want && !strncmp(p, subsystem, n)))
			return true;
		p += n;
	}
	return false;
}

void log_line(enum log_level level, const char *subsystem, const char *fmt, ...)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	if (level == LOG_LEVEL_DEBUG && !debug_wanted(subsystem))
		return;
	char text[1024], line[2300], when[CLOCK_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	size_t n = (size_t)snprintf(line, sizeof(line), "%s %s %s%s %s: ", clock_text(clock_real_ns(), 6, when),
				    names[level], program, identity, subsystem);
	for (const char *p = text; *p && n < sizeof(line) - 6; p++) {
		unsigned char c = (unsigned char)*p;
		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(line + n, 5, "\\x%02x", c);
		else
			line[n++] = (char)c;
	}
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return;   // nowhere left to say it
}

bool log_due(uint64_t *last_ns)
{
	uint64_t now = clock_mono_ns(), last = __atomic_load_n(last_ns, __ATOMIC_RELAXED);
	if (last && now - last < NS_PER_S)
		return false;
	return __atomic_compare_exchange_n(last_ns, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
