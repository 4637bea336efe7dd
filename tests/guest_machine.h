// SPDX-License-Identifier: Apache-2.0
// What the test guest says about the machine it is in.
#ifndef GUEST_MACHINE_H
#define GUEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

/* Answer a line of port 8 (guest_init.c). False: it is none of these. */
bool machine_command(const char *line, char *out, size_t max);

#endif
