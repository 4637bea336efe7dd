// SPDX-License-Identifier: Apache-2.0
// The loop of one pod: wait until something happened, compare what should be with what is, do the next step, report.
// Everything else in this folder that starts with pod_ is called from here.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "die.h"
#include "events.h"
#include "k8s/client.h"
#include "pod.h"
#include "pods.h"
#include "thrift.h"

#define VOLUMES_CHECK_NS (60 * NS_PER_S)
#define DEFAULT_GRACE_S 30
#define THRIFT_NS (10 * NS_PER_S)        // a wait that long is worth giving memory back for
#define SIDECAR_NS (2 * NS_PER_S)

/* Take what happened since the last round. False: leave (hostd stops). */
static bool wait_for_work(struct pod *p, bool *gone, bool *vm_ended, bool *agent_ended)
{
	bool thrifty = false;
	pthread_mutex_lock(&p->lock);
	while (!p->dirty && !p->quit) {
		uint64_t now = clock_mono_ns();
		if (!thrifty && (!p->next_wake_mono_ns || p->next_wake_mono_ns > now + THRIFT_NS)) {
			thrift_stack();
			thrifty = true;
		}
		if (!p->next_wake_mono_ns) {
			pthread_cond_wait(&p->wake, &p->lock);
			continue;
		}
		if (now >= p->next_wake_mono_ns)
			break;
		struct timespec until = {.tv_sec = (time_t)(p->next_wake_mono_ns / NS_PER_S),
					 .tv_nsec = (long)(p->next_wake_mono_ns % NS_PER_S)};
		pthread_cond_timedwait(&p->wake, &p->lock, &until);
	}
	p->dirty = false;
	p->next_wake_mono_ns = 0;
	*gone = p->gone;
	*vm_ended = p->vm_ended;
	*agent_ended = p->agent_ended;
	json_decref(p->seen);
	p->seen = json_incref(p->obj);
	bool go_on = !p->quit;
	pthread_mutex_unlock(&p->lock);
	return go_on;
}

static uint64_t grace_ns(struct pod *p)
{
	long long s = jpath_int(p->seen, "metadata.deletionGracePeriodSeconds",
				jpath_int(p->seen, "spec.terminationGracePeriodSeconds", DEFAULT_GRACE_S));
	pthread_mutex_lock(&p->lock);
	long long most = p->shutdown_grace_s;
	pthread_mutex_unlock(&p->lock);
	if (most >= 0 && s > most)
		s = most;
	return (s < 0 ? 0 : (uint64_t)s) * NS_PER_S;
}

/* The status of a pod that this host never ran (its folder is lost, or it was done elsewhere) is left as it is. */
static void report_known(struct pod *p)
{
	if (p->known)
		pod_report(p);
}

/* The object may go: tell the server. True when it is gone. */
static bool delete_object(struct pod *p)
{
	char path[512];
	struct err e = ERR_INIT;
	if (p->is_static)
		return pod_mirror_delete(p);
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/pods/%s", p->ns, p->name);
	json_t *options = json_pack("{s:s, s:s, s:i, s:{s:s}}", "kind", "DeleteOptions", "apiVersion", "v1",
				    "gracePeriodSeconds", 0, "preconditions", "uid", p->uid);
	int rc = k8s_client_call(p->host->api, "DELETE", path, NULL, options, 10000, NULL, &e);
	json_decref(options);
	if (!rc || rc == -ENOENT || rc == -ESTALE || rc == -EEXIST)   // a pod of that name with another uid: ours is gone
		return true;
	log_warn("pods", "delete %s/%s: %s", p->ns, p->name, e.text);
	return false;
}

/* Remove what is left on this host. */
static void clean_up(struct pod *p)
{
	struct err e = ERR_INIT;
	pod_release(p);
	die_at("released");
	if (dir_remove(p->dir, &e))
		log_warn("pods", "%s/%s: %s", p->ns, p->name, e.text);
}

/* Of a pod that ends. Sidecars that had to wait for others until now have a little more. */
static bool time_is_up(struct pod *p)
{
	uint64_t now = clock_mono_ns();
	if (now < p->term_deadline_mono_ns)
		return false;
	if (!pod_containers_stop_late(p))
		return true;
	p->term_deadline_mono_ns = now + SIDECAR_NS;
	return false;
}

/* Deleted: end the containers within the grace period, then everything. True when the pod is finished. */
static bool terminate(struct pod *p, bool gone)
{
	uint64_t now = clock_mono_ns();
	if (!p->term_deadline_mono_ns) {
		p->term_deadline_mono_ns = now + grace_ns(p);
		log_info("pods", "stopping pod=%s/%s grace_s=%llu gone=%d", p->ns, p->name,
			 (unsigned long long)(grace_ns(p) / NS_PER_S), gone);
		die_at("stopping");
	} else if (now + grace_ns(p) < p->term_deadline_mono_ns) {
		p->term_deadline_mono_ns = now + grace_ns(p);   // deleted again with a shorter period
	}
	bool overdue = gone || !p->agent || time_is_up(p);
	if (!overdue && !pod_containers_stop(p)) {
		pod_wake_at(p, p->term_deadline_mono_ns);
		report_known(p);
		return false;
	}
	pod_containers_vm_lost(p, NULL);   // what the kill below ends counts as ended by it
	die_at("stopped");
	pod_vm_stop(p);
	die_at("vm-killed");
	pod_phase_update(p);
	if (!gone) {
		report_known(p);
		if (!delete_object(p)) {
			pod_wake_at(p, now + 2 * NS_PER_S);
			return false;
		}
		die_at("deleted");
	}
	clean_up(p);
	return true;
}

/* A pod that has done its work keeps its status and logs, nothing else. Sidecars get their time to end. */
static void retire(struct pod *p)
{
	uint64_t now = clock_mono_ns();
	pod_mirror_ensure(p);
	if (p->agent && !pod_containers_stop(p)) {
		if (!p->term_deadline_mono_ns)
			p->term_deadline_mono_ns = now + grace_ns(p);
		if (!time_is_up(p)) {
			pod_wake_at(p, p->term_deadline_mono_ns);
			report_known(p);
			return;
		}
	}
	pod_containers_vm_lost(p, NULL);
	pod_release(p);
	report_known(p);
}

static void refresh_volumes(struct pod *p)
{
	uint64_t now = clock_mono_ns();
	if (!p->configured)
		return;
	if (now >= p->volumes_check_mono_ns) {
		struct err e = ERR_INIT;
		if (p->volumes_check_mono_ns && pod_volumes_write(p, false, &e))
			log_warn("pods", "%s/%s: volumes not refreshed: %s", p->ns, p->name, e.text);
		p->volumes_check_mono_ns = now + VOLUMES_CHECK_NS;
	}
	pod_wake_at(p, p->volumes_check_mono_ns);
}

/* The host is short of something. Nobody is asked for long: what is needed is needed now. */
static bool evicted(struct pod *p)
{
	pthread_mutex_lock(&p->lock);
	bool yes = p->evicted[0];
	pthread_mutex_unlock(&p->lock);
	if (!yes)
		return false;
	snprintf(p->reason, sizeof(p->reason), "Evicted");
	free(p->message);
	p->message = strdup(p->evicted);
	events_emit(p->host->events, p->seen, NULL, "Warning", "Evicted", "%s", p->evicted);
	pod_vm_stop(p);
	return true;
}

/* The host goes down, or went down before the pod came. */
static bool shut_down(struct pod *p)
{
	pthread_mutex_lock(&p->lock);
	bool yes = p->shutdown_grace_s >= 0;
	pthread_mutex_unlock(&p->lock);
	if (!yes)
		return false;
	snprintf(p->reason, sizeof(p->reason), "%s", p->shut_reason);
	free(p->message);
	p->message = strdup(!strcmp(p->shut_reason, "NodeShutdown") ? "Pod was rejected as the node is shutting down." :
			    "Pod was terminated in response to imminent node shutdown.");
	return true;
}

/* activeDeadlineSeconds. True when it has passed. */
static bool deadline_passed(struct pod *p)
{
	long long limit_s = jpath_int(p->seen, "spec.activeDeadlineSeconds", 0);
	if (limit_s <= 0)
		return false;
	uint64_t now = clock_real_ns(), end = p->start_ns + (uint64_t)limit_s * NS_PER_S;
	if (now < end) {
		pod_wake_at(p, clock_mono_ns() + (end - now));
		return false;
	}
	snprintf(p->reason, sizeof(p->reason), "DeadlineExceeded");
	free(p->message);
	p->message = strdup("Pod was active on the node longer than the specified deadline");
	events_emit(p->host->events, p->seen, NULL, "Normal", p->reason, "%s", p->message ? p->message : "");
	return true;
}

static void run(struct pod *p)
{
	struct err e = ERR_INIT;
	p->known = true;
	if (p->kept_spec)   // else it is written with the first state
		pod_object_save(p, NULL);
	pod_mirror_ensure(p);
	if (deadline_passed(p) || evicted(p) || shut_down(p) || pod_refused(p)) {
		strcpy(p->phase, "Failed");
		pod_state_save(p, NULL);
		retire(p);
		return;
	}
	uint64_t t = clock_mono_ns();
	die_at("admitted");
	int rc = pod_images_ensure(p, &e);
	die_at("image");
	if (!rc && !p->configured)
		pod_stage_add(p, "image", clock_mono_ns() - t);
	if (!rc)
		rc = pod_vm_ensure(p, &e);
	if (rc && rc != -EAGAIN && rc != -ECANCELED)
		log_warn("pods", "%s/%s: %s", p->ns, p->name, e.text);
	if (!rc) {
		pod_containers_drive(p);
		pod_resize(p);
		refresh_volumes(p);
	}
	pod_phase_update(p);
	pod_report(p);
}

void *pod_worker(void *arg)
{
	struct pod *p = arg;
	bool gone = false, vm_ended = false, agent_ended = false, finished = false, adopted = false;
	while (!finished && wait_for_work(p, &gone, &vm_ended, &agent_ended)) {
		if (pod_containers_load(p)) {
			pod_wake_at(p, clock_mono_ns() + NS_PER_S);   // no memory: again later
			continue;
		}
		if (!adopted && pod_vm_adopt(p)) {
			pod_wake_at(p, clock_mono_ns() + NS_PER_S);
			continue;
		}
		adopted = true;
		if (vm_ended || (agent_ended && p->agent))
			pod_vm_lost(p);
		else if (p->agent)
			pod_containers_sync(p);
		if (gone || jpath_get(p->seen, "metadata.deletionTimestamp"))
			finished = terminate(p, gone);
		else if (pod_terminal(p))
			retire(p);
		else
			run(p);
	}
	if (finished)
		log_info("pods", "removed pod=%s/%s", p->ns, p->name);
	else
		pod_vm_detach(p);
	pthread_mutex_lock(&p->lock);
	p->finished = true;
	pthread_mutex_unlock(&p->lock);
	return NULL;
}
