// SPDX-License-Identifier: Apache-2.0
// What pod_containers.c, pod_containers_start.c and pod_containers_stop.c share; for the pod's worker only.
#ifndef BH_HOSTD_POD_CONTAINERS_H
#define BH_HOSTD_POD_CONTAINERS_H

#include "pod.h"

/* pod_containers.c: what is known of a container. message may be NULL. Times are the guest's; 0: now. */
void container_set_waiting(struct pod *p, struct container *c, const char *reason, const char *message);
void container_set_running(struct pod *p, struct container *c, uint64_t started_ns);
void container_set_terminated(struct pod *p, struct container *c, int exit_code, int sig, const char *reason, const char *message,
			      uint64_t started_ns, uint64_t finished_ns);
bool container_lets_pass(const struct container *c);   // an init container or sidecar: those after it may start
void container_event(struct pod *p, const struct container *c, const char *type, const char *reason, const char *text);

/* pod_restart.c. A running container must end, mostly to be started anew, and then from the first time on that there is a reason. text:
 * the reason; probe: the one that failed, or NULL. */
bool container_must_end(struct pod *p, struct container *c, bool probe_failed, const json_t **probe, char *text, size_t text_len);
bool container_starts_anew(const struct pod *p, const struct container *c);   // it has ended, and another instance shall follow
/* The kubelet's back-off; now_ns: real time. An instance has ended and another shall follow. */
void container_ended(struct pod *p, struct container *c);
/* How long from now the next instance waits; if it does, its waiting reason and an Event say so. */
uint64_t container_plan_restart(struct pod *p, struct container *c, uint64_t now_ns);
void container_next_instance(struct pod *p, struct container *c, uint64_t now_ns);   // it is made now

/* pod_images.c, for its test; now_ns: monotonic. A pull that failed waits for its time: true while it does, and the reason says so. */
int container_pull_failed(struct pod *p, struct container *c, const char *ref, const struct err *why, uint64_t now_ns);
bool container_pull_waits(struct pod *p, struct container *c, const char *ref, uint64_t now_ns);

/* pod_containers_stop.c */
uint64_t container_grace_ns(const struct pod *p, const json_t *probe);   // how long it has to end; probe: the one that failed, or NULL
/* A lifecycle handler ("postStart", "preStop"), waited for at most as long as the pod has to end. 0, or not and why. */
int container_lifecycle(struct pod *p, const struct container *c, const char *which, char *why, size_t why_len);
void container_send_stop(struct pod *p, struct container *c, const char *why);   // hook, then signal. why: for the event, or NULL

#endif
