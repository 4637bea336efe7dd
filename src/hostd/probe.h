// SPDX-License-Identifier: Apache-2.0
// One probe or lifecycle handler, run once: exec in the container, HTTP, TCP or gRPC to the pod's address.
#ifndef BH_HOSTD_PROBE_H
#define BH_HOSTD_PROBE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct probe_target {
	const char *vsock_path, *container_id;   // for exec
	const char *pod_ip;                      // for the others
	const json_t *container;                 // its spec: named ports
};

/* handler: {exec|httpGet|tcpSocket|grpc}. why: text for an Event when it fails, as a kubelet words it. Blocks for at most
 * timeout_ms and a little. Returns 0 success, 1 failure, -errno it could not be tried (counts as failure too). */
int probe_run(const struct probe_target *t, const json_t *handler, uint32_t timeout_ms, char *why, size_t why_len);

#endif
