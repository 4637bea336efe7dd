// SPDX-License-Identifier: Apache-2.0
// The working set of a template: the pages that clones have touched until their first container ran. The first few clones
// get each page when they touch it, and are looked at; the next ones find the pages that most of those touched in their
// memory when they begin, brought in one pass.
#ifndef BH_HOSTD_TEMPLATE_SET_H
#define BH_HOSTD_TEMPLATE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define TEMPLATE_SAMPLES 3

struct template_set {
	uint8_t *touched;       // owned; for each page, by how many; NULL: nothing known
	uint64_t pages;         // of the guest
	uint32_t samples;
	int fd;                 // owned; the pages as a sparse memory image, sealed; -1: none yet
};

#define TEMPLATE_SET_INIT {.fd = -1}

/* What was recorded at path, or nothing: a record that is no good is left alone. image: the template's memory. */
void template_set_read(struct template_set *s, const char *path, uint64_t pages, int image);
void template_set_clear(struct template_set *s);

/* A clone has memory behind `memory` (a memfd): count what is there. Made anew and recorded at path. 0 or -errno. */
int template_set_sample(struct template_set *s, const char *path, uint64_t pages, int image, int memory, struct err *e);

uint64_t template_set_count(const struct template_set *s);   // pages in it

#endif
