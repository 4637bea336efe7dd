// SPDX-License-Identifier: Apache-2.0
// Time readings and RFC 3339 text; see clock.h.
#include "clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t reading(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void) { return reading(CLOCK_MONOTONIC); }
uint64_t clock_real_ns(void) { return reading(CLOCK_REALTIME); }

char *clock_text(uint64_t ns, int fraction_digits, char out[CLOCK_TEXT_MAX])
{
	time_t s = (time_t)(ns / NS_PER_S);
	unsigned long frac = (unsigned long)(ns % NS_PER_S);
	struct tm tm;
	gmtime_r(&s, &tm);
	size_t n = strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	if (fraction_digits == 9)
		n += (size_t)snprintf(out + n, CLOCK_TEXT_MAX - n, ".%09lu", frac);
	else if (fraction_digits == 6)
		n += (size_t)snprintf(out + n, CLOCK_TEXT_MAX - n, ".%06lu", frac / 1000);
	snprintf(out + n, CLOCK_TEXT_MAX - n, "Z");
	return out;
}

int clock_parse(const char *text, uint64_t *ns)
{
	struct tm tm = {0};
	const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!p)
		return -EINVAL;
	uint64_t frac = 0;
	if (*p == '.') {
		uint64_t unit = NS_PER_S / 10;
		int digits = 0;
		for (p++; *p >= '0' && *p <= '9'; p++, digits++) {
			frac += (uint64_t)(*p - '0') * unit;
			unit /= 10;
		}
		if (digits == 0 || digits > 9)
			return -EINVAL;
	}
	long offset_s = 0;
	if (*p == 'Z' || *p == 'z') {
		p++;
	} else if (*p == '+' || *p == '-') {
		unsigned h, m;
		int n = 0;
		if (sscanf(p + 1, "%2u:%2u%n", &h, &m, &n) != 2 || n != 5 || h > 23 || m > 59)
			return -EINVAL;
		offset_s = (long)(h * 3600 + m * 60) * (*p == '-' ? -1 : 1);
		p += 6;
	} else {
		return -EINVAL;
	}
	if (*p)
		return -EINVAL;
	time_t s = timegm(&tm) - offset_s;
	if (s < 0)
		return -EINVAL;
	*ns = (uint64_t)s * NS_PER_S + frac;
	return 0;
}
