// SPDX-License-Identifier: Apache-2.0
// A store that several servers share: takes the backend's feed of changes, lets writers wait until their own change has
// come back by it, and readers until what others had acknowledged is here too.
#ifndef BH_SERVER_FOLLOW_H
#define BH_SERVER_FOLLOW_H

#include "server/store.h"

struct follow;

/* Starts the feed and waits until the store shows all that had been acknowledged before. */
int follow_start(struct store *st, struct follow **f, struct err *e);
/* Ends waits. */
void follow_stop(struct follow *f);     // NULL is fine
void follow_free(struct follow *f);     // after the backend is closed; NULL is fine
/* Wait until rv is visible. Returns false when the store is stopping first. */
bool follow_wait(struct follow *f, uint64_t rv);

#endif
