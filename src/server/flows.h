// SPDX-License-Identifier: Apache-2.0
// A fair division of the server's time among users, without threads or clocks of its own: every user is a flow with an
// account of time; who is in debt waits, who waits too long or with too many is refused.
//
// What is divided is max-min fair: users who need less than an equal part get what they need, the others share the rest.
#ifndef BH_SERVER_FLOWS_H
#define BH_SERVER_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_WAITING_MAX 128               // requests of one user
#define FLOW_IN_FLIGHT_MAX 1024            // of one user, those that wait for the disk included
#define FLOW_WAIT_NS 5000000000ull
#define FLOWS_NEVER UINT64_MAX

struct flows;
struct flow;

/* One request; part of whatever stands for it. All zero before flows_ask. */
struct flow_ticket {
	struct flow *flow;                 // NULL: not under way
	struct flow_ticket *next;          // in the queue
	uint64_t since;                    // waiting
	uint64_t reserved, spent;          // nanoseconds of work: taken from the account before, and what it really was
	bool late;                         // waited too long: to be refused
};

enum flow_answer { FLOW_GO, FLOW_WAIT, FLOW_REFUSE };

/* capacity: nanoseconds of work in a second that all users together may have. NULL: no memory. */
struct flows *flows_new(uint64_t capacity);
void flows_free(struct flows *f);          // NULL is fine; nobody may be under way

enum flow_answer flows_ask(struct flows *f, struct flow_ticket *t, const char *user, uint64_t now);
static inline void flow_charge(struct flow_ticket *t, uint64_t ns) { t->spent += ns; }
void flows_leave(struct flows *f, struct flow_ticket *t);            // fine when it is not under way; may still wait

/* A ticket whose turn it is (or who is late); NULL: none now, *at: when to ask again. */
struct flow_ticket *flows_next(struct flows *f, uint64_t now, uint64_t *at);

struct flow_counts { uint64_t users, in_flight, waiting, waited_total, refused_total, work_ns_total; };
void flows_counts(const struct flows *f, struct flow_counts *c);

#endif
