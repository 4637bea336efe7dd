// SPDX-License-Identifier: Apache-2.0
// The thread of one device: it runs an event loop, and everything the device does happens on it. Set the device up with
// the loop before devthread_start; afterwards reach it with devthread_call.
#ifndef BULKHEAD_VMX_DEVTHREAD_H
#define BULKHEAD_VMX_DEVTHREAD_H

#include "base/err.h"

struct devthread;
struct evloop;

/* name: at most 15 bytes, shown as the thread's name. Returns NULL when there is no memory or descriptor. */
struct devthread *devthread_new(const char *name);
struct evloop *devthread_loop(struct devthread *t);
int devthread_start(struct devthread *t, struct err *e);   // 0 or -errno

/* Run fn on the thread (here, while it is not started) and wait for its end. From any thread but t; threads wait for each other.
 * Not while another thread starts or stops t. */
void devthread_call(struct devthread *t, void (*fn)(void *arg), void *arg);

void devthread_stop(struct devthread *t);   // waits for the thread; the loop stays, for taking the device down
void devthread_free(struct devthread *t);   // stops it first

#endif
