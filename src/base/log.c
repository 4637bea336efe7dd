// SPDX-License-Identifier: Apache-2.0
// Log lines on stderr; see log.h.
#include "log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* --- rotation --- */

static uint64_t rotate_bytes;    // 0: never
static uint64_t written;         // since the file was last looked at
static pthread_mutex_t rotating = PTHREAD_MUTEX_INITIALIZER;

#define LOOK_BYTES 65536

void log_rotate(uint64_t max_bytes)
{
	rotate_bytes = max_bytes;
	written = LOOK_BYTES;
}

/* Those who write meanwhile write to the old file, which is kept. */
static void rotate(void)
{
	char name[4096], one[4100], two[4100];
	struct stat st;
	if (fstat(STDERR_FILENO, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < rotate_bytes)
		return;
	ssize_t n = readlink("/proc/self/fd/2", name, sizeof(name) - 1);
	if (n <= 0)
		return;
	name[n] = '\0';
	snprintf(one, sizeof(one), "%s.1", name);
	snprintf(two, sizeof(two), "%s.2", name);
	rename(one, two);
	if (rename(name, one))
		return;   // removed meanwhile, or no place for it: it goes on as it is
	int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, st.st_mode & 0777);
	if (fd < 0)
		return;
	dup2(fd, STDERR_FILENO);
	close(fd);
	if (!fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode))
		dup2(STDERR_FILENO, STDOUT_FILENO);
}

static void note_written(size_t n)
{
	uint64_t now = __atomic_add_fetch(&written, n, __ATOMIC_RELAXED);
	if (!rotate_bytes || (now < LOOK_BYTES && now < rotate_bytes / 8) || pthread_mutex_trylock(&rotating))
		return;
	__atomic_store_n(&written, 0, __ATOMIC_RELAXED);
	rotate();
	pthread_mutex_unlock(&rotating);
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
	note_written(n);
}

bool log_due(uint64_t *last_ns)
{
	uint64_t now = clock_mono_ns(), last = __atomic_load_n(last_ns, __ATOMIC_RELAXED);
	if (last && now - last < NS_PER_S)
		return false;
	return __atomic_compare_exchange_n(last_ns, &last, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
