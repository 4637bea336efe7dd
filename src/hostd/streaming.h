// SPDX-License-Identifier: Apache-2.0
// hostd's HTTPS server: the kubelet API (containerLogs, exec, attach, portForward, pods, stats, metrics, healthz).
// This is where introspection (docs/architecture.md) turns a TCP request into a vsock request. It knows pods only
// through struct streaming_ops, so that it can be tested with a fake.
#ifndef BH_HOSTD_STREAMING_H
#define BH_HOSTD_STREAMING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct streaming;

/* What a container name stands for. Strings are the caller's to free (streaming_target_fini). */
struct streaming_target {
	char *vsock_path;        // VMDIR/vsock.sock; NULL: the VM is not running
	char *container_id;      // in the agent; NULL when there is none now
	char *log_dir;           // folder of CRI log files 0.log, 1.log... of this container (by restart count); NULL: none
	unsigned restart_count;  // current instance: log_dir/<restart_count>.log
	bool running;
	bool tty, stdin_open, stdin_once;
	char *waiting_reason;    // "ContainerCreating", ... when it has not started; else NULL
};
void streaming_target_fini(struct streaming_target *t);

/* Implemented by the pod manager. Called on any thread; must be quick and not block on a VM. ctx: given at start. */
struct streaming_ops {
	/* uid: NULL or "" for any. container: "" means the pod's only or default container; NULL the pod itself, of which
	 * only vsock_path is asked for. Returns 0; -ENOENT with a kubelet's sentence in e (pod does not exist / container
	 * not found in pod); -EINVAL container name required. */
	int (*find)(void *ctx, const char *ns, const char *pod, const char *uid, const char *container,
		    struct streaming_target *out, struct err *e);
	json_t *(*pods)(void *ctx);           // v1.PodList, new reference
	json_t *(*stats_summary)(void *ctx);  // stats/v1alpha1 Summary, new reference; may take a vsock round trip per VM
	char *(*metrics)(void *ctx, const char *which);   // "", "resource", "cadvisor": Prometheus text, heap
};

/* What the API server says. Any thread; may wait for its answer. */
struct streaming_auth_ops {
	/* *user: {"username", "groups", ...}, new reference. 0; -EACCES: nobody; other: not known. */
	int (*authenticate)(void *ctx, const char *token, json_t **user);
	/* part: subresource of this node: "proxy", "stats", "metrics", "log". 0; -EACCES: no; other: not known. */
	int (*authorize)(void *ctx, const json_t *user, const char *verb, const char *part);
};

struct streaming_config {
	const char *listen_addr;   // "0.0.0.0" or "::"
	uint16_t port;             // 10250; 0: choose
	const char *cert_path, *key_path;      // PEM, serving
	const char *client_ca_path;            // PEM: clients must present a certificate of it (the API server's)
	const struct streaming_ops *ops;
	void *ctx;
	const struct streaming_auth_ops *auth;   // NULL: only certificates of the API server itself count
	void *auth_ctx;
};

int streaming_start(const struct streaming_config *c, struct streaming **s, struct err *e);
uint16_t streaming_port(const struct streaming *s);
/* Read certificate and key again; connections that exist go on. The paths of the start must still be there. */
int streaming_reload(struct streaming *s, struct err *e);
void streaming_stop(struct streaming *s);

#endif
