// SPDX-License-Identifier: Apache-2.0
// pods/log, exec, attach, portforward: passed on to the pod's node.
#ifndef BH_SERVER_POD_STREAM_H
#define BH_SERVER_POD_STREAM_H

#include "k8s/kind.h"
#include "server/request.h"

void pod_log(struct request *r, const struct k8s_kind *k);
void pod_exec(struct request *r, const struct k8s_kind *k);
void pod_attach(struct request *r, const struct k8s_kind *k);
void pod_port_forward(struct request *r, const struct k8s_kind *k);

#endif
