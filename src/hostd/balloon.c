// SPDX-License-Identifier: Apache-2.0
#include "balloon.h"

#define WHOLE (1ull << 20)

uint64_t balloon_next(const struct balloon_guest *g, bool pressed)
{
	uint64_t step = g->memory_bytes / 16 / WHOLE * WHOLE;
	uint64_t now = g->asked_bytes > g->ballooned_bytes ? g->asked_bytes : g->ballooned_bytes;
	if (!pressed)
		return now > 2 * step ? now - 2 * step : 0;
	uint64_t spare = g->memory_bytes > g->reserve_bytes ? g->memory_bytes - g->reserve_bytes : 0;
	uint64_t most = g->shares ? spare * 75 / (4 * (uint64_t)g->shares) / WHOLE * WHOLE : 0;
	most = most < g->memory_bytes / 2 ? most : g->memory_bytes / 2;
	bool follows = g->ballooned_bytes + step >= g->asked_bytes;
	uint64_t next = follows ? now + step : now;
	return next < most ? next : most;
}
