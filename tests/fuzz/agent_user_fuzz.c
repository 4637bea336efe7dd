// SPDX-License-Identifier: Apache-2.0
// passwd and group of a hostile image, and a user to find in them: three texts, separated by NUL bytes.
#include <stdlib.h>
#include <string.h>

#include "agent/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text[3] = {0};
	for (int i = 0; i < 3; i++) {
		const uint8_t *nul = memchr(data, 0, size);
		size_t len = nul ? (size_t)(nul - data) : size;
		text[i] = strndup((const char *)data, len);
		data += len + (nul != NULL);
		size -= len + (nul != NULL);
	}
	struct user u;
	struct err e;
	if (!user_find_in(text[1], text[2], text[0], true, &u, &e) && (u.uid > 0x7fffffff || u.groups_count > USER_GROUPS_MAX))
		abort();
	for (int i = 0; i < 3; i++)
		free(text[i]);
	return 0;
}
