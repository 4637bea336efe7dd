// SPDX-License-Identifier: Apache-2.0
// Events: what happened to an object, for people. Recording never blocks and never fails: events are written by a
// thread of their own, repeated ones counted instead of added, and dropped when they come faster than they can be kept.
#ifndef BH_SERVER_RECORDER_H
#define BH_SERVER_RECORDER_H

#include <jansson.h>

#include "base/err.h"
#include "server/server.h"

struct recorder;

int recorder_start(struct server *srv, struct recorder **r, struct err *e);
void recorder_stop(struct recorder *r);

/* about: the object (borrowed). type: "Normal" or "Warning". component: "default-scheduler"... */
void recorder_event(struct recorder *r, const json_t *about, const char *component, const char *type, const char *reason,
		    const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif
