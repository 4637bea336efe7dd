// SPDX-License-Identifier: Apache-2.0
// What a Deployment's status says of its rollout.
#ifndef BH_SERVER_CONTROLLERS_DEPLOYMENT_STATUS_H
#define BH_SERVER_CONTROLLERS_DEPLOYMENT_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct syncer;

struct rollout {
	struct syncer *syncer;
	json_t *deploy;                // borrowed
	json_t **all;                  // its ReplicaSets, oldest first; owned
	size_t n;
	json_t *fresh;                 // the one of the template of now; NULL: not made yet
	bool made, scaled;             // in this step
	char failure[512];             // why the new set could not be made
};

bool deployment_is_complete(const struct rollout *r);

/* *next: lowered to the real time at which the deadline passes. 0 or -errno. */
int deployment_status_put(const struct rollout *r, uint64_t now, uint64_t *next);

#endif
