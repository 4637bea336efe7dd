// SPDX-License-Identifier: Apache-2.0
// Ranges of IPv4 addresses: "10.88.0.0/20". Pure.
#ifndef BH_BASE_CIDR_H
#define BH_BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>

struct cidr {
	uint32_t base;         // host order
	unsigned prefix;
};

#define CIDR_TEXT 20           // "255.255.255.255/32" and its NUL

/* 0; -EINVAL: not a range, or bits are set behind its prefix. *c is written on success only. */
int cidr_parse(const char *text, struct cidr *c);
uint64_t cidr_size(const struct cidr *c);
bool cidr_has(const struct cidr *c, uint32_t addr);
char *cidr_text(const struct cidr *c, char out[CIDR_TEXT]);
/* The n-th range with this (longer) prefix inside c. Returns false when there is none. */
bool cidr_nth(const struct cidr *c, unsigned prefix, uint32_t n, struct cidr *out);

/* Dotted text and back. cidr_addr: false for anything that is not exactly one address. */
bool cidr_addr(const char *text, uint32_t *addr);
char *cidr_addr_text(uint32_t addr, char out[CIDR_TEXT]);

#endif
