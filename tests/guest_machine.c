// SPDX-License-Identifier: Apache-2.0
// What the test guest says about the machine it is in; the commands are those of guest_init.c's port 8.
#include "guest_machine.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

static void run_on(unsigned cpu)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void read_line(const char *path, char *out, size_t max)
{
	FILE *f = fopen(path, "r");
	snprintf(out, max, "%s", strerror(errno));
	if (f && fgets(out, (int)max, f))
		out[strcspn(out, "\n")] = '\0';
	if (f)
		fclose(f);
}

// One number for all that the first processor says it is.
static void say_cpuid(const char *unused, char *out, size_t max)
{
	static const unsigned begin[] = {0, 0x40000000, 0x80000000};
	uint64_t sum = 0;
	(void)unused;
	run_on(0);
	for (unsigned r = 0; r < 3; r++) {
		unsigned last = 0, v[4];
		__cpuid(begin[r], last, v[1], v[2], v[3]);
		for (unsigned leaf = begin[r]; leaf <= last && leaf < begin[r] + 64; leaf++) {
			for (unsigned sub = 0; sub < 4; sub++) {
				__cpuid_count(leaf, sub, v[0], v[1], v[2], v[3]);
				for (unsigned i = 0; i < 4; i++)
					sum = sum * 31 + v[i];
			}
		}
	}
	snprintf(out, max, "%llx", (unsigned long long)sum);
}

static void say_flag(const char *name, char *out, size_t max)
{
	char line[8192] = "", *save = NULL;
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool has = false;
	while (f && fgets(line, sizeof(line), f) && strncmp(line, "flags", 5))
		;
	for (char *w = strtok_r(line, " \t\n", &save); w && !has; w = strtok_r(NULL, " \t\n", &save))
		has = !strcmp(w, name);
	if (f)
		fclose(f);
	snprintf(out, max, "%d", has);
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

// The clock's source and its milliseconds, looked at from every processor in turn: it must not go back between them.
static void say_clock(const char *unused, char *out, size_t max)
{
	char source[32];
	unsigned n = (unsigned)get_nprocs();
	uint64_t before = 0, t = 0;
	(void)unused;
	for (unsigned i = 0; i < 100; i++, before = t) {
		run_on(i % n);
		t = now();
		if (t < before) {
			snprintf(out, max, "back by %llu ns", (unsigned long long)(before - t));
			return;
		}
	}
	read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", source, sizeof(source));
	snprintf(out, max, "%s %llu", source, (unsigned long long)(t / 1000000));
}

static void say_memory(const char *unused, char *out, size_t max)
{
	struct sysinfo i;
	(void)unused;
	sysinfo(&i);
	snprintf(out, max, "%llu", (unsigned long long)i.totalram * i.mem_unit >> 20);
}

// Write to so much memory, every page differently, read it back, and let it go.
static void touch(const char *mib, char *out, size_t max)
{
	size_t len = strtoull(mib, NULL, 10) << 20;
	unsigned char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		snprintf(out, max, "%s", strerror(errno));
		return;
	}
	for (size_t at = 0; at < len; at += 4096)
		memcpy(p + at, &at, sizeof(at));
	size_t bad = 0;
	for (size_t at = 0; at < len; at += 4096)
		bad += memcmp(p + at, &at, sizeof(at)) != 0;
	munmap(p, len);
	snprintf(out, max, bad ? "%zu pages are not what was written" : "ok", bad);
}

static void say_random(const char *unused, char *out, size_t max)
{
	unsigned char b[8];
	char who[64];
	int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
	(void)unused;
	read_line("/sys/class/misc/hw_random/rng_current", who, sizeof(who));
	if (fd < 0 || read(fd, b, sizeof(b)) != sizeof(b))
		snprintf(out, max, "%s", strerror(errno));
	else
		snprintf(out, max, "%s %02x%02x%02x%02x%02x%02x%02x%02x", who, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]);
	close(fd);
}

bool machine_command(const char *line, char *out, size_t max)
{
	static const struct { const char *name; void (*say)(const char *rest, char *out, size_t max); } commands[] = {
		{"cpuid", say_cpuid}, {"flag", say_flag}, {"clock", say_clock}, {"memory", say_memory}, {"touch", touch}, {"random", say_random},
	};
	size_t len = strcspn(line, " ");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strlen(commands[i].name) == len && !strncmp(line, commands[i].name, len)) {
			commands[i].say(line + len + (line[len] == ' '), out, max);
			return true;
		}
	}
	return false;
}
