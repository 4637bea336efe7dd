// SPDX-License-Identifier: Apache-2.0
// From a pod that has its images to a VM whose agent knows its identity, and back: network, scratch disk, VM, agent.
// Every step finds out by itself whether it is already done.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "bulkhead/prda.h"
#include "claims.h"
#include "die.h"
#include "events.h"
#include "image.h"
#include "pod.h"
#include "pod_probes.h"
#include "pager_client.h"
#include "pods.h"
#include "prda/metrics.h"
#include "scratch.h"
#include "template_link.h"
#include "waiting.h"

#define VM_BACKOFF_FIRST_NS (2 * NS_PER_S)
#define VM_BACKOFF_MAX_NS (120 * NS_PER_S)
#define AGENT_BOOT_MS 120000
#define AGENT_ADOPT_MS 10000

/* --- bringing it up --- */

void pod_on_vm_end(void *user)
{
	struct pod *p = user;
	pthread_mutex_lock(&p->lock);
	p->vm_ended = true;
	p->boot_cancel = 1;
	pthread_mutex_unlock(&p->lock);
	pod_poke(p);
}

void pod_on_agent_event(void *user, const Bulkhead__Agent__Event *ev)
{
	struct pod *p = user;
	if (ev && ev->what_case == BULKHEAD__AGENT__EVENT__WHAT_WARNING) {
		log_limited(LOG_LEVEL_WARN, "agent", "%s/%s: %s", p->ns, p->name, ev->warning);
		return;
	}
	if (!ev) {
		pthread_mutex_lock(&p->lock);
		p->agent_ended = true;
		pthread_mutex_unlock(&p->lock);
	}
	pod_poke(p);
}

PRDA_DEFINE_COUNTER(starts, "bulkhead_pod_starts_total", "pods whose VM was started and configured");
PRDA_DEFINE_COUNTER(failures, "bulkhead_pod_start_failures_total", "starts of pods' VMs that failed");

/* Its clones have been told: nothing of them is left to wait for. worked: the agent answered. */
void pod_template_done(struct pod *p, bool worked)
{
	if (p->template) {
		template_put(take(p->template), worked);
		p->boot_next = !worked;
	}
}

static int agent_connect(struct pod *p, uint32_t deadline_ms, const volatile int *cancel, bool *configured, struct err *e)
{
	struct agent_client *agent = NULL;
	Bulkhead__Agent__HelloReply *hello = NULL;
	int rc = agent_client_open(vm_vsock_path(p->vm), deadline_ms, cancel, pod_on_agent_event, p, &agent, &hello, e);
	if (rc)
		return rc;
	*configured = hello->pod_configured && hello->pod_uid && !strcmp(hello->pod_uid, p->uid);
	bulkhead__agent__hello_reply__free_unpacked(hello, NULL);
	pthread_mutex_lock(&p->lock);
	p->agent = agent;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static int boot_failed(const struct pod *p, struct err *e)
{
	char words[256] = "", *dir = NULL;
	if (asprintf(&dir, "%s/vm", p->dir) >= 0)
		vm_last_words(dir, words, sizeof(words));
	free(dir);
	return err_set(e, EIO, "the VM ended while it booted: %s", words);
}

static int bring_up(struct pod *p, struct err *e)
{
	int rc = 0;
	bool configured = false;
	if (!p->vm)
		rc = pod_vm_start(p, e);
	uint64_t t = clock_mono_ns();
	if (!rc && !p->agent) {
		bool clone = p->template != NULL;
		rc = agent_connect(p, AGENT_BOOT_MS, &p->boot_cancel, &configured, e);
		if (rc && !p->cancel && !vm_alive(p->vm))
			rc = boot_failed(p, e);
		pod_template_done(p, !rc || p->cancel);
		pod_stage_add(p, clone ? "template" : "boot", clock_mono_ns() - t);
	} else if (!rc) {
		pod_template_done(p, true);        // its agent has answered long ago
	}
	t = clock_mono_ns();
	die_at("agent");
	if (!rc)
		rc = pod_configure(p, e);
	die_at("configured");
	if (!rc)
		rc = pod_shares_ensure(p, e);
	if (!rc)
		rc = pod_volumes_write(p, true, e);
	p->volumes_written = !rc;
	die_at("volumes");
	pod_stage_add(p, "configure", clock_mono_ns() - t);
	p->configured = !rc;
	return rc;
}

int pod_vm_ensure(struct pod *p, struct err *e)
{
	if (p->vm && p->agent && p->configured)
		return 0;
	if (clock_mono_ns() < p->vm_retry_mono_ns) {
		pod_wake_at(p, p->vm_retry_mono_ns);
		return -EAGAIN;
	}
	pod_report(p);
	waiting_starts(p->host->waiting, 1);
	int rc = bring_up(p, e);
	waiting_starts(p->host->waiting, -1);
	if (!rc) {
		prda_add(starts, 1);
		p->vm_backoff_ns = 0;
		if (p->claims_count)
			claims_poke(p->host->claims);
		if (!p->probes)
			p->probes = pod_probes_start(p);
		return pod_state_save(p, e);
	}
	if (rc == -ECANCELED || p->cancel)
		return -ECANCELED;
	prda_add(failures, 1);
	bool volume = rc == -EAGAIN;   // a ConfigMap or Secret that is not there yet: the VM may stay
	events_emit(p->host->events, p->seen, NULL, "Warning", volume ? "FailedMount" : "FailedCreatePodSandBox", "%s%s",
		    volume ? "" : "Failed to create pod sandbox: ", e->text);
	if (!volume)
		pod_vm_stop(p);
	p->vm_backoff_ns = !p->vm_backoff_ns ? VM_BACKOFF_FIRST_NS :
			   p->vm_backoff_ns * 2 > VM_BACKOFF_MAX_NS ? VM_BACKOFF_MAX_NS : p->vm_backoff_ns * 2;
	p->vm_retry_mono_ns = clock_mono_ns() + p->vm_backoff_ns;
	pod_wake_at(p, p->vm_retry_mono_ns);
	return rc;
}

/* --- after a hostd restart --- */

static void restore_network(struct pod *p)
{
	struct netw_pod net;
	if (netw_lookup(p->host->net, p->uid, &net, NULL))
		return;
	pthread_mutex_lock(&p->lock);
	p->net = net;
	p->have_net = true;
	snprintf(p->pod_ip, sizeof(p->pod_ip), "%s", net.addrs_count ? net.addrs[0].address : p->pod_ip);
	pthread_mutex_unlock(&p->lock);
}

/* Its VM was killed and is still there: the next one must not be the same user. With no other number left the pod keeps this one, and
 * nobody else gets it. gone: taken over. */
static void number_leave(struct pod *p, int gone)
{
	char name[330];
	unsigned old = p->vm_number, next = pods_number_take(p->host->pods);
	snprintf(name, sizeof(name), "%s/%s", p->ns, p->name);
	pods_number_hold(p->host->pods, old, gone, name);
	if (!next)
		return;
	pthread_mutex_lock(&p->lock);
	p->vm_number = next;
	pthread_mutex_unlock(&p->lock);
	pods_number_drop(p->host->pods, old);
	pod_state_save(p, NULL);
}

/* If the VM is a paged clone: where the pages come from that it has not touched yet. */
static int clone_memory(struct pod *p, const char *dir, struct vm_paging *paging, struct pager_vad *vad, int *image, struct err *e)
{
	uint64_t bytes = 0;
	int fd = paging ? template_linked(dir, &bytes, e) : -ENOENT;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0) {
		log_error("pods", "%s: a clone that cannot go on: %s", dir, e->text);
		int gone = -1;
		uid_t uid;
		if (!vm_ended_leftover(dir, &gone, &uid))
			number_leave(p, gone);
		return fd;
	}
	*image = fd;
	*vad = (struct pager_vad){.kind = PAGER_VAD_TEMPLATE, .pages = bytes / 4096};
	paging->vad = vad;
	paging->vads = paging->vad_fds = 1;
	paging->vad_fd = image;
	return 0;
}

void pod_vm_sample(struct pod *p)
{
	waiting_starts(p->host->waiting, 0);
	if (!*p->sample || !p->vm || !p->host->templates)
		return;
	own_fd int memory = vm_memory_fd(p->vm, NULL);
	if (memory >= 0)
		templates_sample(p->host->templates, p->sample, memory);
	p->sample[0] = '\0';
}

static bool vm_waits(struct vm *vm)
{
	struct vmx_status st;
	return !vm_status(vm, &st, NULL) && st.state == VMX_WAITING;
}

int pod_vm_adopt(struct pod *p)
{
	own_free char *dir = NULL;
	struct vm *vm = NULL;
	struct err e = ERR_INIT;
	bool configured = false;
	for (size_t i = 0; i < p->containers_count; i++)
		if (p->containers[i].image_id && !p->containers[i].image_held && !pod_terminal(p))
			p->containers[i].image_held = !image_hold(p->host->images, p->containers[i].image_id);
	if (asprintf(&dir, "%s/vm", p->dir) < 0)
		return -EAGAIN;
	restore_network(p);
	struct vm_paging paging;
	struct pager_vad vad;
	own_fd int image = -1;
	int rc = p->vm ? 0 : clone_memory(p, dir, pod_paging(p, pod_memory_mib(p), &paging) ? &paging : NULL, &vad, &image, &e);
	if (!rc && !p->vm)
		rc = vm_adopt(dir, p->host->pager ? &paging : NULL, pod_on_vm_end, p, &vm, &e);
	if (!rc && !p->vm && vm_waits(vm)) {   // taken, and left before it had the pod's disks
		vm_kill(vm);
		vm_close(vm);
		rc = -ENOENT;
	}
	if (!rc && !p->vm) {
		pthread_mutex_lock(&p->lock);
		p->vm = vm;
		pthread_mutex_unlock(&p->lock);
	}
	if (!rc)
		rc = agent_connect(p, AGENT_ADOPT_MS, &p->leave, &configured, &e);
	/* Slow is not dead: a VM that still boots, or a host under load. */
	if (rc == -ECANCELED || rc == -EBUSY || (rc && p->vm && vm_alive(p->vm))) {
		log_info("pods", "%s/%s: not adopted yet: %s", p->ns, p->name, e.text);
		return -EAGAIN;
	}
	if (rc) {
		if (p->vm_generation)
			pod_vm_lost(p);
		return 0;
	}
	p->configured = configured && p->volumes_written;
	for (size_t i = 0; i < p->containers_count; i++)
		if (p->containers[i].created)
			pod_log_follow(p, &p->containers[i]);
	if (p->configured)
		p->probes = pod_probes_start(p);
	log_info("pods", "adopted pod=%s/%s configured=%d", p->ns, p->name, p->configured);
	return 0;
}

/* --- and back --- */

static void disconnect(struct pod *p)
{
	pthread_mutex_lock(&p->lock);
	struct agent_client *agent = take(p->agent);
	struct vm *vm = take(p->vm);
	p->configured = false;
	pthread_mutex_unlock(&p->lock);
	agent_client_close(agent);
	vm_close(vm);
	pthread_mutex_lock(&p->lock);
	p->vm_ended = p->agent_ended = false;
	pthread_mutex_unlock(&p->lock);
}

static void probes_end(struct pod *p)
{
	pod_probes_stop(p->probes);
	p->probes = NULL;
}

void pod_vm_detach(struct pod *p)
{
	pod_template_done(p, true);
	probes_end(p);
	for (size_t i = 0; i < p->containers_count; i++)
		pod_log_end(p, &p->containers[i]);
	disconnect(p);
}

void pod_vm_stop(struct pod *p)
{
	pod_template_done(p, p->cancel);
	if (p->vm) {
		char name[330];
		snprintf(name, sizeof(name), "%s/%s", p->ns, p->name);
		if (!vm_kill(p->vm))
			number_leave(p, vm_gone_fd(p->vm));
		metrics_forget(p->host->metrics_dir, 0, name);   // from its jail, vmx cannot
	}
	probes_end(p);   // after the VM: a probe that hangs in it ends with it
	disconnect(p);
	for (size_t i = 0; i < p->containers_count; i++) {
		pod_log_end(p, &p->containers[i]);
		p->containers[i].created = false;
	}
}

void pod_vm_lost(struct pod *p)
{
	char words[256] = "", why[300], *dir = NULL;
	if (asprintf(&dir, "%s/vm", p->dir) >= 0)
		vm_last_words(dir, words, sizeof(words));
	free(dir);
	snprintf(why, sizeof(why), "The pod's virtual machine ended: %s", words);
	if (!pod_terminal(p) && p->vm_generation)
		log_warn("pods", "%s/%s: %s", p->ns, p->name, why);
	pod_vm_stop(p);
	pod_containers_vm_lost(p, why);
}

void pod_release(struct pod *p)
{
	struct err e = ERR_INIT;
	own_free char *path = NULL, *dir = NULL;
	pod_vm_stop(p);
	if (p->have_net || p->vm_generation || p->vm_number) {
		die_at("vm-ended");
		if (netw_teardown(p->host->net, p->uid, &e))
			log_warn("pods", "%s/%s: network: %s", p->ns, p->name, e.text);
		p->have_net = false;
	}
	die_at("network-removed");
	if (asprintf(&path, "%s/scratch.bhd", p->dir) >= 0)
		scratch_remove(path);
	die_at("disk-removed");
	if (asprintf(&dir, "%s/vm", p->dir) >= 0)
		dir_remove(dir, NULL);
	pod_shares_release(p);
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (c->image_held)
			image_release(p->host->images, c->image_id);
		c->image_held = false;
	}
	if (p->vm_number) {
		pods_number_drop(p->host->pods, p->vm_number);
		pthread_mutex_lock(&p->lock);
		p->vm_number = 0;
		pthread_mutex_unlock(&p->lock);
		if (p->claims_count)
			claims_poke(p->host->claims);
		pod_state_save(p, NULL);
	}
}
