// SPDX-License-Identifier: Apache-2.0
// Kinds that are questions: TokenReview, SelfSubjectReview and the access reviews. Nothing is stored; the answer is the
// object with its status.
#ifndef BH_SERVER_API_REVIEW_H
#define BH_SERVER_API_REVIEW_H

#include "k8s/kind.h"
#include "server/request.h"

bool api_review(struct request *r, const struct k8s_kind *k);   // false: no such kind

#endif
