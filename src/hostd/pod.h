// SPDX-License-Identifier: Apache-2.0
// One pod on this host. A worker thread owns it and brings what is towards what should be, step by step; every step can
// be repeated, and nothing depends on having seen an earlier event. What must survive a hostd restart is in
// ROOT/pods/<uid>/: pod.json (last known object), state.json (containers: restart counts, states), vm/, logs/.
//
// Threads: `lock` guards everything that is not marked. The worker is the only writer of fields marked (w) and may
// read them without the lock; other threads only read, under the lock. Lock order: pods.lock, then pod.lock.
#ifndef BH_HOSTD_POD_H
#define BH_HOSTD_POD_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent_client.h"
#include "backoff.h"
#include "base/err.h"
#include "host.h"
#include "netw.h"
#include "pod_claims.h"
#include "template.h"
#include "vm.h"

enum container_kind { CONTAINER_INIT, CONTAINER_SIDECAR, CONTAINER_APP, CONTAINER_EPHEMERAL };
enum container_phase { CONTAINER_WAITING, CONTAINER_RUNNING, CONTAINER_TERMINATED };

struct container {
	char name[64];
	enum container_kind kind;
	unsigned index;                 // among its kind
	char image_serial[20];          // (w) virtio serial of its image's disk; "" until known
	char *image_id, *image_ref;     // (w) "sha256:...", normalised reference
	char *image_asked;              // (w) what the spec said when it was looked for; NULL: not yet
	json_t *image_config;           // (w) OCI image configuration
	bool image_held;                // (w) image_hold() was called for it
	bool image_fresh;               // (w) looked for since its last start
	bool image_late;                // (w) got after the VM had started: it reaches it as a share

	enum container_phase phase;     // (w)
	unsigned restart_count;         // (w) of the current instance; its id in the agent is container_id()
	bool created;                   // (w) the agent knows the current instance
	bool used;                      // (w) the current instance number has been tried; the next start takes a new one
	bool ready, started;            // (w)
	bool probe_started, probe_ready, probe_failed;   // verdicts of the probes; written by them under the lock
	bool new_size;                  // (w) it ends to be started anew with the resources that it shall have (resizePolicy)
	bool again;                     // (w) it is being ended to be started anew, until that has been done, whatever is asked for meanwhile
	uint64_t kill_mono_ns;          // (w) SIGKILL then; 0: it has not been told to end
	char waiting_reason[48];        // (w) phase WAITING
	char *waiting_message;          // (w)
	uint64_t started_ns, finished_ns;   // (w) real time, the guest's: for the status alone
	uint64_t ended_ns, ended_before_ns; // (w) real time, ours: when the end was noted, of this instance and the one before; 0: it was not
	int exit_code, signal;          // (w) phase TERMINATED
	char reason[48];                // (w) "Completed", "Error", "OOMKilled", ...
	char *message;                  // (w) termination message
	json_t *last_state;             // (w) {"terminated": {...}} of the instance before, or NULL
	struct backoff restart;         // (w) real time: it goes on after a restart of hostd
	struct backoff pull;            // (w) monotonic time, forgotten with hostd as by a kubelet
	uint64_t wait_from_ns;          // (w) real time of the end that decides whether it waits; 0: none does
	bool planned;                   // (w) retry_mono_ns says when the next instance starts
	uint64_t retry_mono_ns;         // (w) not before this (start or image pull)
	struct log_source *log;         // (w) being collected
	json_t *resources;              // (w) CPU and memory that the running instance has, {limits, requests}
	bool stop_hook_ran, stop_sent;  // (w) preStop, SIGTERM of this instance
	bool pull_told;                 // (w) that the pull backs off
};

struct pod_stage { char name[16]; uint64_t ns; };   // duration
#define POD_STAGES_MAX 16

struct pod {
	const struct host *host;
	char uid[64], ns[64], name[254];
	char *dir;                      // ROOT/pods/<uid>

	pthread_t worker;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool dirty;                     // something happened; the worker looks again
	bool gone;                      // the object is no longer in the API: clean up without asking
	bool quit;                      // hostd is stopping: leave everything as it is
	bool finished;                  // the worker has ended; pods.c reaps
	char evicted[96];               // the host is short of something: why this pod must go; ""
	int shutdown_grace_s;           // the host goes down: so long at most; -1: it stays
	char shut_reason[16];           // why the pod is not to run then
	volatile int cancel;            // long steps give up: deleted, gone or quit
	volatile int boot_cancel;       // the same, or the VM that boots has ended
	volatile int leave;             // hostd is stopping
	json_t *obj;                    // newest object from the API
	bool is_static;                 // from a file of this host; constant
	char mirror_uid[64], mirror_stale[64];   // of its object in the API; one that must go; ""
	bool mirror_over;               // it has ended, only the object is left

	json_t *seen;                   // (w) the object this round works with (one reference)
	json_t *kept_spec;              // (w) the spec that is in pod.json, as far as is known
	struct container *containers;   // (w) init, then app, then ephemeral, in order of the spec
	size_t containers_count;        // (w)
	bool containers_loaded;         // (w) the array has been matched with the spec
	struct vm *vm;                  // (w)
	struct template *template;      // (w) what the VM was cloned from, until its agent has answered
	char sample[20];                // (w) template whose working set this pod is to show when its first container runs; ""
	bool boot_next;                 // (w) the last clone did not come up
	bool vm_ended;                  // set by the VM's watcher
	struct agent_client *agent;     // (w)
	bool agent_ended;               // set by the agent client's reader
	struct pod_probes *probes;      // (w) NULL: no probes, or no VM
	bool volumes_written;           // (w) in this VM
	bool known;                     // (w) this host has run it; if not, its status is not ours to write
	bool configured;                // (w) agent has the pod's identity and volumes
	const char *engine;             // (w) of its VM, as pod_engine_choose said at its last start; static
	unsigned vm_number;             // (w) VM's user id is base + number; 0: none
	unsigned vm_generation;         // (w) how many VMs this pod has had
	uint64_t vm_retry_mono_ns, vm_backoff_ns;   // (w)
	struct pod_claim *claims;       // (w)
	size_t claims_count;            // (w)
	struct netw_pod net;            // (w)
	bool have_net;                  // (w)
	char host_ip[46], pod_ip[46];   // (w)
	char phase[12];                 // (w) "Pending", "Running", "Succeeded", "Failed"
	char reason[48];                // (w) pod-level reason, "" mostly
	char *message;                  // (w)
	char resize_pending[160];       // (w) why a resize cannot be done now; ""
	uint64_t start_ns;              // (w) real time when hostd first saw it
	uint64_t term_deadline_mono_ns; // (w) 0: not terminating
	json_t *reported;               // (w) last status the server took
	uint64_t report_retry_mono_ns;  // (w)
	char mirror_told[64];           // (w) the mirror that `reported` was sent to
	uint64_t mirror_retry_mono_ns;  // (w)
	uint64_t volumes_check_mono_ns; // (w)
	json_t *remembered;             // (w) objects last read ("configmaps/x"), tokens, what volumes hold; NULL: nothing yet
	struct pod_stage stages[POD_STAGES_MAX];   // (w)
	size_t stages_count;
	uint64_t next_wake_mono_ns;     // (w) earliest retry of this round, 0: none

	struct pod *next;               // pods.c
};

/* pods.c */
void pod_poke(struct pod *p);                                  // wake the worker; any thread
void pod_wake_at(struct pod *p, uint64_t mono_ns);             // worker: look again then
void pod_stage_add(struct pod *p, const char *name, uint64_t ns);   // it has just happened
void pod_stage_set(struct pod *p, const char *name, uint64_t ns);   // read from disk
void pod_stage_drop(struct pod *p, const char *name);

/* pod_worker.c */
void *pod_worker(void *pod);

/* pod_admit.c: the pod wants what a VM cannot give; its reason and message say what. */
bool pod_refused(struct pod *p);

/* pod_images.c */
int pod_images_ensure(struct pod *p, struct err *e);           // -EAGAIN: told in the containers' waiting reasons

/* An image by its reference, pulled if the policy wants it; errors as image_pull. *img: the caller's. */
struct image;
int pod_image_get(struct pod *p, const char *ref, const char *policy, struct image **img, struct err *e);
/* The container's image, if it is not there yet, also into a VM that runs. -EAGAIN: told in its waiting reason. */
int pod_image_late(struct pod *p, struct container *c, struct err *e);
bool pod_image_changed(const struct pod *p, const struct container *c);   // its spec names another image now
void pod_image_drop(struct pod *p, struct container *c);       // of one that does not run: another is looked for, and nothing is waited for
int pod_image_serial(const char *id, char out[20]);           // the serial number of an image's disk

/* pod_shares.c: hostPath and image volumes in the VM; repeatable. -EAGAIN: what is missing may come. */
int pod_shares_ensure(struct pod *p, struct err *e);
int pod_share_mount(struct pod *p, const json_t *volume, Bulkhead__Agent__Mount *m, struct err *e);   // of such a volume
void pod_shares_release(struct pod *p);

/* pod_identity.c */
#define POD_SCRATCH_SERIAL "scratch"                           // virtio serial of the pod's writable disk
#define POD_SCRATCH_BYTES (10ull << 30)                        // of a pod that does not ask for more
int pod_configure(struct pod *p, struct err *e);               // give the agent the pod's identity; repeatable
int pod_hostname(const struct pod *p, char out[65], struct err *e);   // what uname says in it

/* pod_vm.c: from images to a configured agent, and back. All from the worker. */
int pod_vm_ensure(struct pod *p, struct err *e);               // network, disks, VM, agent, identity
int pod_vm_adopt(struct pod *p);                               // after a hostd restart; -EAGAIN: the VM is busy, again later
void pod_vm_sample(struct pod *p);                             // the first container runs: what it took is the working set
void pod_vm_detach(struct pod *p);                             // before one: let go, the VM goes on
void pod_vm_lost(struct pod *p);                               // the VM has ended by itself
void pod_vm_stop(struct pod *p);                               // end the VM, keep network and logs
void pod_release(struct pod *p);                               // end VM, network, disks, image holds; logs stay

void pod_on_vm_end(void *pod);                                 // the VM's watcher
void pod_on_agent_event(void *pod, const Bulkhead__Agent__Event *ev);   // the agent's reader
void pod_template_done(struct pod *p, bool worked);            // nothing of its template is left to wait for. worked: the agent answered

/* pod_start.c */
int pod_vm_start(struct pod *p, struct err *e);                // network and disks; p->vm runs, and of a clone that has waited p->agent answers

/* pod_size.c: of the VM and its scratch disk */
unsigned pod_memory_mib(const struct pod *p);
unsigned pod_vcpus(const struct pod *p);
uint64_t pod_scratch_bytes(const struct pod *p);

/* pod_paging.c: what a VM of so much memory reserves and may have of the host's; NULL: this host pages nothing. */
#define POD_MEMORY_OVERHEAD_MIB 96      // guest kernel, agent, page tables
const struct vm_paging *pod_paging(const struct pod *p, unsigned memory_mib, struct vm_paging *out);
void pod_weigh(const json_t *pod, uint64_t memory_bytes, struct vm_paging *out);   // limit, reservation, shares; the rest stays
bool pod_paging_works(const struct pod *p);                    // for a VM that starts now; says why not

/* pod_containers.c, pod_containers_start.c, pod_containers_stop.c */
int pod_containers_load(struct pod *p);                        // build the array from the spec, keep what is known
void pod_containers_drive(struct pod *p);                      // start, restart, note exits
/* Hooks of all, then SIGTERM: sidecars in their turn, the last one first. True when none runs. */
bool pod_containers_stop(struct pod *p);
/* The time is up: SIGKILL, but a sidecar whose turn has not come gets its SIGTERM now. True: there was one. */
bool pod_containers_stop_late(struct pod *p);
void pod_containers_sync(struct pod *p);                       // ask the agent for the containers' states
void pod_containers_vm_lost(struct pod *p, const char *why);
const char *container_id(const struct container *c, char out[24]);
json_t *pod_spec_of(const json_t *pod, const char *container);   // borrowed; NULL: pod has no such container
json_t *container_spec(const struct pod *p, const struct container *c);   // borrowed from p->seen
struct container *pod_container_find(struct pod *p, const char *name);
bool pod_restart_always(const struct pod *p);
bool pod_restart_never(const struct pod *p);

void pod_container_signal(struct pod *p, const struct container *c, int number);

/* pod_resize.c */
void pod_resize(struct pod *p);                                          // bring what runs to what its spec says now
void pod_resize_started(struct pod *p, struct container *c);             // it runs with what its spec says

/* pod_logs.c */
void pod_log_follow(struct pod *p, struct container *c);       // collect the current instance's output from now on
void pod_log_drain(struct pod *p, struct container *c);        // it has ended: wait, a few seconds at most, until all is on disk
char *pod_log_tail(struct pod *p, const struct container *c);  // the current instance's last lines, as a termination message; heap or NULL
void pod_log_end(struct pod *p, struct container *c);          // no more; what has arrived is on disk

/* pod_status.c */
json_t *pod_status(struct pod *p);                             // v1.PodStatus; new reference
void pod_report(struct pod *p);                                // PATCH it if it changed
json_t *container_state_json(const struct container *c);
void pod_phase_update(struct pod *p);
bool pod_terminal(const struct pod *p);                        // Succeeded or Failed

/* pod_mirror.c: the object that shows a static pod. */
void pod_mirror_ensure(struct pod *p);                         // worker; of other pods: nothing
void pod_mirror_seen(struct pod *p, const json_t *obj, bool gone);   // any thread: what the API has
void pod_mirror_listed(struct pod *p, const json_t *all);       // any thread: all that the API has
bool pod_mirror_delete(struct pod *p);                         // worker: the pod has ended; false: again later

/* pod_state.c */
int pod_state_save(struct pod *p, struct err *e);
int pod_object_save(struct pod *p, struct err *e);             // pod.json, if it is not what is there
int pod_state_load(struct pod *p);                             // -ENOENT: new pod

/* pod_volumes.c: fill the volumes of the agent (first: all of them; else those that changed); mounts of a container. */
int pod_volumes_write(struct pod *p, bool first, struct err *e);
int pod_mounts(struct pod *p, const json_t *container, Bulkhead__Agent__CreateContainer *out, struct err *e);
void pod_mounts_free(Bulkhead__Agent__CreateContainer *m);

/* A ConfigMap or Secret of the pod's namespace (kind: "configmaps", "secrets"), from the API; the last one read when the
 * API does not answer. -ENOENT. */
int pod_object_get(struct pod *p, const char *kind, const char *name, json_t **obj, struct err *e);

/* The same of a RuntimeClass. */
int pod_runtime_class(struct pod *p, const char *name, json_t **obj, struct err *e);

json_t *pod_remembered(struct pod *p);                         // the object `remembered`, made when first asked for; NULL: no memory

/* A field of the pod as fieldRef names it ("metadata.labels['x']", "status.podIP"...). Heap; -EINVAL unknown. */
int pod_field(struct pod *p, const char *path, char **value, struct err *e);
/* resourceFieldRef {containerName, resource, divisor}. */
int pod_resource_field(struct pod *p, const json_t *container, const json_t *ref, char **value, struct err *e);

/* pod_env.c: the variables that the pod gives a container, {NAME: VALUE}, what $(NAME) can stand for; -EAGAIN for what does not exist
 * yet (CreateContainerConfigError). And with those of the image and the runtime, ["NAME=VALUE"...]. */
int pod_env(struct pod *p, const json_t *spec, json_t **own, struct err *e);
int pod_env_all(const struct pod *p, const struct container *c, const json_t *spec, json_t *own, json_t **all, struct err *e);

/* oci_config.c */
json_t *oci_resources(const struct pod *p, const json_t *spec);   // linux.resources of a container; new reference
int oci_config(struct pod *p, const struct container *c, const json_t *spec, json_t **config, struct err *e);

#endif
