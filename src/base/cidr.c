// SPDX-License-Identifier: Apache-2.0
#include "cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool cidr_addr(const char *text, uint32_t *addr)
{
	struct in_addr a;
	if (!text || inet_pton(AF_INET, text, &a) != 1)
		return false;
	*addr = ntohl(a.s_addr);
	return true;
}

char *cidr_addr_text(uint32_t addr, char out[CIDR_TEXT])
{
	snprintf(out, CIDR_TEXT, "%u.%u.%u.%u", addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255);
	return out;
}

int cidr_parse(const char *text, struct cidr *c)
{
	char addr[16];
	const char *slash = text ? strchr(text, '/') : NULL;
	size_t len = slash ? (size_t)(slash - text) : 0, digits = slash ? strspn(slash + 1, "0123456789") : 0;
	struct cidr out = {0};
	if (!len || len >= sizeof(addr) || !digits || digits > 2 || slash[1 + digits])
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	out.prefix = (unsigned)(slash[1] - '0');
	if (digits == 2)
		out.prefix = out.prefix * 10 + (unsigned)(slash[2] - '0');
	if (out.prefix > 32 || !cidr_addr(addr, &out.base) || (out.base & (cidr_size(&out) - 1)))
		return -EINVAL;
	*c = out;
	return 0;
}

uint64_t cidr_size(const struct cidr *c)
{
	return 1ull << (32 - c->prefix);
}

bool cidr_has(const struct cidr *c, uint32_t addr)
{
	return addr >= c->base && addr - c->base < cidr_size(c);
}

char *cidr_text(const struct cidr *c, char out[CIDR_TEXT])
{
	char addr[CIDR_TEXT];
	snprintf(out, CIDR_TEXT, "%.15s/%u", cidr_addr_text(c->base, addr), c->prefix % 100);
	return out;
}

bool cidr_nth(const struct cidr *c, unsigned prefix, uint32_t n, struct cidr *out)
{
	if (prefix < c->prefix || prefix > 32 || n >= 1ull << (prefix - c->prefix))
		return false;
	*out = (struct cidr){.base = c->base + (uint32_t)((uint64_t)n << (32 - prefix)), .prefix = prefix};
	return true;
}
