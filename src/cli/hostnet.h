// SPDX-License-Identifier: Apache-2.0
// Several hosts on one machine: each is a network namespace with an address of its own on a common bridge, as machines on a
// switch. The machine itself is on the bridge too (the server's address) and masquerades what leaves it.
#ifndef BH_CLI_HOSTNET_H
#define BH_CLI_HOSTNET_H

#include "cli.h"

#define HOSTS_MAX 32

struct hostnet_host {
	unsigned number;           // 1...
	char root[128], tag[8], name[260], address[CIDR_TEXT], netns[32];
};

void hostnet_host(const char *root, const struct cluster *c, unsigned number, struct hostnet_host *h);
int hostnet_server_address(const struct cluster *c, char out[CIDR_TEXT]);

int hostnet_make(const char *root, const struct cluster *c, struct err *e);    // what is missing
void hostnet_remove(const struct cluster *c);                                  // absent is fine

#endif
