// SPDX-License-Identifier: Apache-2.0
// From a pod that has its images to a VM that runs: network, disks, and a clone that has waited, a clone or a boot.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "clone.h"
#include "die.h"
#include "image.h"
#include "pager_client.h"
#include "pod.h"
#include "pods.h"
#include "pod_engine.h"
#include "prda/metrics.h"
#include "scratch.h"
#include "template_link.h"
#include "volume_store.h"
#include "waiting.h"

#define START_ANNOTATION "bulkhead.dev/start"   // "boot": no clone; "template": no clone that has waited

static int network_ensure(struct pod *p, struct err *e)
{
	struct netw_port ports[64];
	struct netw_pod_spec spec = {.uid = p->uid, .ns = p->ns, .name = p->name, .ports = ports};
	if (!strcmp(p->engine, "kvm"))
		spec.queues = pod_vcpus(p);   // QEMU's card has one
	for (size_t i = 0; i < p->containers_count; i++) {
		size_t k;
		json_t *port;
		json_array_foreach(jpath_get(container_spec(p, &p->containers[i]), "ports"), k, port) {
			long long host_port = jpath_int(port, "hostPort", 0);
			if (host_port <= 0)
				continue;
			if (spec.ports_count == 64)
				return err_set(e, EINVAL, "a pod can have 64 host ports at most");
			struct netw_port *np = &ports[spec.ports_count++];
			*np = (struct netw_port){.host_port = (uint16_t)host_port, .container_port = (uint16_t)jpath_int(port, "containerPort", 0)};
			const char *proto = jpath_str(port, "protocol", "TCP");
			for (size_t j = 0; j < 4 && proto[j]; j++)
				np->protocol[j] = (char)(proto[j] | 0x20);
			snprintf(np->host_ip, sizeof(np->host_ip), "%s", jpath_str(port, "hostIP", ""));
		}
	}
	struct netw_pod net;
	int rc = netw_setup(p->host->net, &spec, &net, e);
	if (rc)
		return rc;
	pthread_mutex_lock(&p->lock);
	p->net = net;
	p->have_net = true;
	snprintf(p->pod_ip, sizeof(p->pod_ip), "%s", net.addrs_count ? net.addrs[0].address : "");
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* The distinct image disks, then scratch. Strings are heap, freed by disks_free. */
struct disk_list { struct vm_disk disks[64]; size_t count; };

static void disks_free(struct disk_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free((char *)l->disks[i].serial), free((char *)l->disks[i].path);
}

static int claim_disk(struct pod *p, const struct pod_claim *c, struct disk_list *l, struct err *e)
{
	struct volume_info info;
	int rc = !c->id ? 0 : c->read_only ? volume_get(p->host->volumes, c->id, &info, e) : volume_open(p->host->volumes, c->id, &info, e);
	if (rc)
		return err_wrap(e, "volume %s", c->pv);
	if (l->count == 16)
		return err_set(e, EINVAL, "the images and claims of a pod can be 16 disks at most");
	l->disks[l->count++] = (struct vm_disk){strdup(c->serial), strdup(c->id ? info.path : c->path), c->read_only};
	return 0;
}

static int disks_collect(struct pod *p, struct disk_list *l, struct err *e)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		bool have = !c->image_id;
		c->image_late = false;
		for (size_t j = 0; j < l->count; j++)
			have |= !strcmp(l->disks[j].serial, c->image_serial);
		if (have)
			continue;
		if (l->count == 16)
			return err_set(e, EINVAL, "the containers of a pod can have 16 different images at most");
		struct image *img = NULL;
		if (image_find(p->host->images, c->image_id, &img, e))
			return err_wrap(e, "disk of image %s", c->image_id);
		l->disks[l->count++] = (struct vm_disk){strdup(c->image_serial), strdup(img->disk_path), true};
		image_free(img);
	}
	for (size_t i = 0; i < p->claims_count; i++) {
		int rc = claim_disk(p, &p->claims[i], l, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int scratch_collect(struct pod *p, struct disk_list *l, struct err *e)
{
	char *path;
	if (asprintf(&path, "%s/scratch.bhd", p->dir) < 0)
		return err_sys(e, ENOMEM, "scratch disk");
	l->disks[l->count++] = (struct vm_disk){strdup(POD_SCRATCH_SERIAL), path, false};
	return scratch_make(p->host->root, path, pod_scratch_bytes(p), e);
}

static bool asks_for(const struct pod *p, const char *start)
{
	const json_t *notes = jpath_get(p->seen, "metadata.annotations");
	const char *how = json_string_value(json_object_get(notes, START_ANNOTATION));
	return how && !strcmp(how, start);
}

/* Everything that was the waiting clone's becomes the pod's: folder, user, share of memory; then it gets the pod's devices. */
static int move_in(struct pod *p, struct waiting_clone *w, const struct vm_config *c, struct err *e)
{
	int rc = dir_remove(c->dir, e);
	if (!rc)
		rc = vm_become(w->vm, c->dir, pod_on_vm_end, p, e);
	if (!rc && agent_client_become(w->agent, pod_on_agent_event, p))
		rc = err_set(e, EPIPE, "its agent has ended");
	if (rc)
		return rc;
	die_at("moving");
	unsigned number = p->vm_number;
	pthread_mutex_lock(&p->lock);
	p->vm_number = w->number;
	pthread_mutex_unlock(&p->lock);
	w->number = number;
	rc = pod_state_save(p, e);
	if (!rc && c->paging && vm_memory_id(w->vm))
		rc = pager_client_limit(c->paging->client, vm_memory_id(w->vm), c->paging->limit_bytes, c->paging->reserve_bytes, c->paging->shares, e);
	own_free char *from = NULL, *to = NULL;
	if (!rc && (asprintf(&from, "%s/scratch.bhd", w->dir) < 0 || asprintf(&to, "%s/scratch.bhd", p->dir) < 0))
		rc = err_sys(e, ENOMEM, "move in");
	if (!rc)
		rc = scratch_move(from, to, e);
	die_at("moved");
	return rc ? rc : vm_plug(w->vm, c, e);
}

/* It has a scratch disk of the usual size already; a pod that has been here before has its own. And the pod's disks must be such that
 * their files can be handed over. */
static bool can_move_in(const struct pod *p, const struct vm_config *c)
{
	own_free char *path = NULL;
	struct err e = ERR_INIT;
	if (!p->host->waiting || asks_for(p, "template") || pod_scratch_bytes(p) != POD_SCRATCH_BYTES ||
	    asprintf(&path, "%s/scratch.bhd", p->dir) < 0 || !access(path, F_OK))
		return false;
	if (!vm_plug_check(c, &e))
		return true;
	log_info("pods", "%s/%s: it cannot move into a clone that waits: %s", p->ns, p->name, e.text);
	return false;
}

static int start_waiting(struct pod *p, const struct vm_config *c, struct vm **vm)
{
	own_free char *scratch = NULL;
	struct err e = ERR_INIT;
	struct waiting_clone *w = can_move_in(p, c) ? waiting_take(p->host->waiting, p->template) : NULL;
	if (!w)
		return -ENOENT;
	unsigned number = p->vm_number;
	int rc = move_in(p, w, c, &e);
	if (rc) {
		if (p->vm_number != number) {      // it keeps its own: it may not end at once
			w->number = p->vm_number;
			pthread_mutex_lock(&p->lock);
			p->vm_number = number;
			pthread_mutex_unlock(&p->lock);
			pod_state_save(p, NULL);
		}
		log_warn("pods", "%s/%s: a clone that waited is not used: %s", p->ns, p->name, e.text);
	} else {
		metrics_assign(c->metrics_dir, "vmx", vm_pid(w->vm), c->name);
		snprintf(p->sample, sizeof(p->sample), "%s", w->sampled ? template_name(p->template) : "");
		*vm = take(w->vm);
		pthread_mutex_lock(&p->lock);
		p->agent = take(w->agent);
		pthread_mutex_unlock(&p->lock);
	}
	bool ended = waiting_end(p->host->waiting, w);
	if (!rc)
		return 0;
	if (ended && asprintf(&scratch, "%s/scratch.bhd", p->dir) >= 0)
		scratch_remove(scratch);           // only a VM that is no more has used it
	pthread_mutex_lock(&p->lock);
	p->vm_ended = p->agent_ended = false;      // that was not the pod's own
	p->boot_cancel = p->cancel;
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* A clone that has waited for a pod, where there is one; else one that is made now; else a boot. */
static int start(struct pod *p, const struct vm_config *wish, struct disk_list *disks, struct vm **vm, struct err *e)
{
	struct vm_config c = *wish;
	bool sampled;
	template_unlink(c.dir);
	bool fits = !p->boot_next && !asks_for(p, "boot") && !strcmp(c.engine, p->host->engine);   // templates are the host's engine's
	p->template = !fits ? NULL : template_take(p->host->templates, c.vcpus, c.memory_mib);
	if (p->template && !start_waiting(p, &c, vm))
		return 0;
	if (p->template && p->host->waiting)
		log_info("pods", "%s/%s: no clone waits for it: it gets one of its own", p->ns, p->name);
	int rc = scratch_collect(p, disks, e);
	if (rc)
		return rc;
	c.disks_count = disks->count;
	c.uid = p->host->vm_uid_base + p->vm_number;
	if (p->template && !clone_start(p->template, &c, pod_on_vm_end, p, &sampled, vm, e)) {
		snprintf(p->sample, sizeof(p->sample), "%s", sampled ? template_name(p->template) : "");
		return 0;
	}
	if (p->template)
		log_warn("pods", "%s/%s: template %s: %s", p->ns, p->name, template_name(p->template), e->text);
	p->sample[0] = '\0';
	template_unlink(c.dir);
	pod_template_done(p, false);
	p->boot_next = false;
	return vm_start(&c, pod_on_vm_end, p, vm, e);
}

/* How an earlier VM of the pod came up. */
static void forget_start(struct pod *p)
{
	static const char *const stages[] = {"waiting", "vm", "template", "boot"};
	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		pod_stage_drop(p, stages[i]);
}

int pod_vm_start(struct pod *p, struct err *e)
{
	char mac[18], name[330];
	struct disk_list disks = {.count = 0};
	own_free char *dir = NULL;
	int rc = pod_engine_choose(p, e);
	if (!rc)
		rc = pod_claims_resolve(p, e);
	if (rc)
		return rc;
	if (!p->vm_number)
		p->vm_number = pods_number_take(p->host->pods);
	if (!p->vm_number)
		return err_set(e, ENOSPC, "no VM number left on this host");
	uint64_t t = clock_mono_ns();
	p->vm_generation++;
	p->volumes_written = false;
	forget_start(p);
	rc = pod_state_save(p, e);
	die_at("saved");
	if (!rc)
		rc = network_ensure(p, e);
	if (rc)
		return rc;
	die_at("network");
	uint64_t t_net = clock_mono_ns();
	pod_stage_add(p, "network", t_net - t);
	rc = disks_collect(p, &disks, e);
	die_at("disks");
	uint64_t t_disk = clock_mono_ns();
	pod_stage_add(p, "disks", t_disk - t_net);
	snprintf(mac, sizeof(mac), "%s", p->net.mac);
	snprintf(name, sizeof(name), "%s/%s", p->ns, p->name);
	if (!rc && asprintf(&dir, "%s/vm", p->dir) < 0)
		rc = err_sys(e, ENOMEM, "start VM");
	struct vm *vm = NULL;
	if (!rc) {
		struct vm_config c = {.dir = dir, .id = p->uid, .name = name, .vmx_path = p->host->vmx_path,
			.guest_dir = p->host->guest_dir, .engine = p->engine, .vcpus = pod_vcpus(p), .memory_mib = pod_memory_mib(p),
			.disks = disks.disks, .disks_count = disks.count, .tap_fd = p->net.tap_fd, .queue_fd = p->net.queue_fd,
			.queue_fds = p->net.queue_fds, .vnet_hdr = p->net.vnet_hdr,
			.mac = mac, .metrics_dir = p->host->metrics_dir, .uid = p->host->vm_uid_base + p->vm_number, .restore_state_fd = -1,
			.restore_memory_fd = -1};
		struct vm_paging paging;
		c.paging = pod_paging_works(p) ? pod_paging(p, c.memory_mib, &paging) : NULL;
		pthread_mutex_lock(&p->lock);
		p->vm_ended = p->agent_ended = false;
		p->boot_cancel = p->cancel;
		pthread_mutex_unlock(&p->lock);
		rc = start(p, &c, &disks, &vm, e);
		die_at("vm");
	}
	disks_free(&disks);
	netw_close_taps(&p->net);
	if (rc)
		return rc;
	pthread_mutex_lock(&p->lock);
	p->vm = vm;
	pthread_mutex_unlock(&p->lock);
	pod_stage_add(p, p->agent ? "waiting" : "vm", clock_mono_ns() - t_disk);
	return 0;
}
