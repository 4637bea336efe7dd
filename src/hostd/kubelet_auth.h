// SPDX-License-Identifier: Apache-2.0
// The API server's word on who may use this host's kubelet API: TokenReview and SubjectAccessReview, with what it said kept
// for a while.
#ifndef BH_HOSTD_KUBELET_AUTH_H
#define BH_HOSTD_KUBELET_AUTH_H

#include "base/err.h"
#include "host.h"
#include "streaming.h"

struct kubelet_auth;

int kubelet_auth_new(const struct host *h, struct kubelet_auth **a, struct err *e);
void kubelet_auth_free(struct kubelet_auth *a);

extern const struct streaming_auth_ops kubelet_auth_ops;   // ctx: struct kubelet_auth *

#endif
