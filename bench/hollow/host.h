// SPDX-License-Identifier: Apache-2.0
// A host that has no VMs: registers its node, renews its lease, reports its node's status, lists and watches what hostd does,
// and says of each pod bound to it that it runs or that it is gone. Speaks as the node itself (impersonated), so that the
// server's rules for nodes apply.
#ifndef BH_BENCH_HOST_H
#define BH_BENCH_HOST_H

#include "../server/conn.h"

struct host;

struct hosts_setup {
	struct pool *pool;
	const char *authority;           // for the Host header
	unsigned lease_s, status_s;      // how often
	char watches[4][128];            // paths, "%s" stands for the node's name; the first: pods
};

struct host *host_new(const struct hosts_setup *s, unsigned number);
void host_register(struct host *h);      // node, status, lease, one after the other
void host_connect(struct host *h);       // anew, for what follows
void host_follow(struct host *h);        // lists and watches
void host_tick(struct host *h, uint64_t now);   // what is due
bool host_idle(const struct host *h);    // nothing asked for is unanswered
bool host_following(const struct host *h);      // every watch is open
unsigned host_running(const struct host *h);    // pods that it reported
unsigned long host_events(void);         // that came to all hosts

#endif
