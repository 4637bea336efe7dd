// SPDX-License-Identifier: Apache-2.0
// Requests of users who ask for more than their part of the server's time wait, and are refused (429) when they keep on;
// those of others are served meanwhile. What is refused costs as much as what is allowed. system:masters, nodes' heartbeats,
// health and what only follows (watches that have sent what was there, logs, exec) are not counted.
#ifndef BH_SERVER_FAIR_H
#define BH_SERVER_FAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/flows.h"

struct fair;
struct request;

/* percent: of the time of all HTTP threads that users together may have; 100 and more: no limit (*f NULL). */
int fair_start(unsigned percent, struct fair **f, struct err *e);
void fair_stop(struct fair *f);      // whoever waits is refused; NULL is fine
void fair_free(struct fair *f);      // when no request is left; NULL is fine

/* Before it is decided on and its body is read: admit it now, or suspend it until its turn has come; admit(r) runs then. May set
 * a reply (429) instead. */
void fair_enter(struct request *r, void (*admit)(struct request *r));
void fair_worked(struct request *r, uint64_t ns);     // it has kept a thread busy for so long; leaves when it only follows now
void fair_sent(struct request *r, uint64_t bytes);    // so much of an answer has been made
void fair_leave(struct request *r);                   // its work is done; fine twice

void fair_counts(struct fair *f, struct flow_counts *c);

#endif
