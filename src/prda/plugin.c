// SPDX-License-Identifier: Apache-2.0
// Code that plugin_test.c loads and unloads: it counts in a region of the program.
#define PRDA_UNLOADABLE
#include "bulkhead/prda.h"

void plugin_count(prda_u64 n);

void plugin_count(prda_u64 n)
{
	prda_add(n, 1);
}
