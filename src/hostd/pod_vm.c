// SPDX-License-Identifier: Apache-2.0
// From a pod that has its images to a VM whose agent knows its identity, and back: network, scratch disk, VM, agent.
// Every step finds out by itself whether it is already done.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

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
#include "k8s/quantity.h"
#include "pod.h"
#include "pod_probes.h"
#include "pager_client.h"
#include "pods.h"
#include "prda/metrics.h"
#include "scratch.h"
#include "template_link.h"
#include "volume_store.h"

#define VM_BACKOFF_FIRST_NS (2 * NS_PER_S)
#define VM_BACKOFF_MAX_NS (120 * NS_PER_S)
#define AGENT_BOOT_MS 60000
#define AGENT_ADOPT_MS 10000
#define START_ANNOTATION "bulkhead.dev/start"   // "boot": no clone
#define SCRATCH_DEFAULT_BYTES (10ull << 30)
#define MEMORY_DEFAULT_MIB 512          // of a pod without memory limits
#define MEMORY_MIN_MIB 192

/* --- size --- */

static int64_t limit_sum(const struct pod *p, const char *resource, bool *every)
{
	int64_t sum = 0, init_max = 0;
	char path[64];
	snprintf(path, sizeof(path), "resources.limits.%s", resource);
	*every = true;
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *c = &p->containers[i];
		int64_t milli = k8s_quantity_milli(jpath_get(container_spec(p, c), path), -1);
		if (c->kind == CONTAINER_EPHEMERAL)
			continue;
		*every &= milli > 0;
		if (milli > 0 && c->kind == CONTAINER_INIT)
			init_max = milli > init_max ? milli : init_max;
		else if (milli > 0 && __builtin_add_overflow(sum, milli, &sum))
			sum = INT64_MAX;
	}
	return sum > init_max ? sum : init_max;
}

static unsigned host_mib(void)
{
	struct sysinfo si;
	sysinfo(&si);
	return (unsigned)((uint64_t)si.totalram * si.mem_unit >> 20);
}

static unsigned memory_mib(const struct pod *p)
{
	bool every;
	int64_t mib = limit_sum(p, "memory", &every) / 1000 / (1 << 20);
	if (!every)
		mib += MEMORY_DEFAULT_MIB;
	mib += POD_MEMORY_OVERHEAD_MIB;
	int64_t host = host_mib();
	if (mib > host)
		mib = host;   // a limit is a promise of the pod, not of the host
	return templates_memory_class(mib < MEMORY_MIN_MIB ? MEMORY_MIN_MIB : (unsigned)((mib + 1) / 2 * 2), (unsigned)host);
}

static unsigned vcpus(const struct pod *p)
{
	bool every;
	unsigned host = (unsigned)get_nprocs();
	int64_t n = (limit_sum(p, "cpu", &every) + 999) / 1000;
	return n < 1 ? 1 : n > host ? host : (unsigned)n;
}

static uint64_t scratch_bytes(const struct pod *p)
{
	bool every;
	int64_t sum = 0;
	json_t *spec_limit;
	for (size_t i = 0; i < p->containers_count; i++) {
		json_t *limits = jpath_get(container_spec(p, &p->containers[i]), "resources.limits");
		spec_limit = json_object_get(limits, "ephemeral-storage");
		every = spec_limit != NULL;
		sum += every ? k8s_quantity_value(spec_limit, 0) : 0;
	}
	uint64_t want = (uint64_t)sum + (1ull << 30);
	return want > SCRATCH_DEFAULT_BYTES ? want : SCRATCH_DEFAULT_BYTES;
}

/* --- bringing it up --- */

static void on_vm_end(void *user)
{
	struct pod *p = user;
	pthread_mutex_lock(&p->lock);
	p->vm_ended = true;
	p->boot_cancel = 1;
	pthread_mutex_unlock(&p->lock);
	pod_poke(p);
}

static void on_agent_event(void *user, const Bulkhead__Agent__Event *ev)
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

static int network_ensure(struct pod *p, struct err *e)
{
	struct netw_port ports[64];
	struct netw_pod_spec spec = {.uid = p->uid, .ns = p->ns, .name = p->name, .ports = ports};
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
	char *path;
	if (asprintf(&path, "%s/scratch.bhd", p->dir) < 0)
		return err_sys(e, ENOMEM, "scratch disk");
	l->disks[l->count++] = (struct vm_disk){strdup(POD_SCRATCH_SERIAL), path, false};
	return scratch_make(p->host->root, path, scratch_bytes(p), e);
}

PRDA_DEFINE_COUNTER(starts, "bulkhead_pod_starts_total", "pods whose VM was started and configured");
PRDA_DEFINE_COUNTER(failures, "bulkhead_pod_start_failures_total", "starts of pods' VMs that failed");
/* Its clones have been told: nothing of them is left to wait for. worked: the agent answered. */
static void template_done(struct pod *p, bool worked)
{
	if (p->template) {
		template_put(take(p->template), worked);
		p->boot_next = !worked;
	}
}

static bool wants_boot(const struct pod *p)
{
	const json_t *notes = jpath_get(p->seen, "metadata.annotations");
	const char *how = json_string_value(json_object_get(notes, START_ANNOTATION));
	return p->boot_next || (how && !strcmp(how, "boot"));
}

struct clone { int state, memory, image; struct pager_vad vad; struct vm_paging paging; };   // what a clone starts with; owned

static void clone_close(struct clone *k)
{
	own_fd int a = take_fd(k->state), b = take_fd(k->memory), c = take_fd(k->image);
	(void)a, (void)b, (void)c;
}

/* A paged clone gets its working set at once, and from pagerd what it touches beyond; another one gets everything. */
static int clone_open(struct pod *p, const struct vm_config *c, struct clone *k, struct err *e)
{
	k->state = template_open_state(p->template);
	k->memory = c->paging ? template_open_set(p->template) : template_open_memory(p->template);
	if (k->state < 0 || k->memory < 0)
		return err_set(e, EIO, "its files cannot be opened");
	if (!c->paging)
		return 0;
	k->image = template_open_memory(p->template);
	k->vad = (struct pager_vad){.kind = template_wants_sample(p->template) ? PAGER_VAD_TEMPLATE_SINGLE : PAGER_VAD_TEMPLATE, .pages = (uint64_t)c->memory_mib << 8};
	k->paging = *c->paging;
	k->paging.vad = &k->vad;
	k->paging.vads = k->paging.vad_fds = 1;
	k->paging.vad_fd = &k->image;
	return k->image < 0 ? err_set(e, EIO, "its memory cannot be opened") : template_link_to(p->template, c->dir, e);
}

static int start_clone(struct pod *p, const struct vm_config *boot, struct vm **vm, struct err *e)
{
	struct clone k = {.state = -1, .memory = -1, .image = -1};
	struct vm_config c = *boot;
	if (strcmp(c.engine, "qemu"))
		c.paging = NULL;   // kvm maps the template's memory copy-on-write
	int rc = clone_open(p, &c, &k, e);
	if (!rc) {
		c.restore_state_fd = k.state;
		c.restore_memory_fd = k.memory;
		c.paging = c.paging ? &k.paging : NULL;
		rc = vm_start(&c, on_vm_end, p, vm, e);
	}
	snprintf(p->sample, sizeof(p->sample), "%s", !rc && c.paging && template_wants_sample(p->template) ? template_name(p->template) : "");
	clone_close(&k);
	return rc;
}

/* A clone of a template where there is one that fits; else a boot. */
static int start(struct pod *p, const struct vm_config *c, struct vm **vm, struct err *e)
{
	template_unlink(c->dir);
	p->template = wants_boot(p) ? NULL : template_take(p->host->templates, c->vcpus, c->memory_mib);
	if (p->template && !start_clone(p, c, vm, e))
		return 0;
	if (p->template)
		log_warn("pods", "%s/%s: template %s: %s", p->ns, p->name, template_name(p->template), e->text);
	template_unlink(c->dir);
	template_done(p, false);
	p->boot_next = false;
	return vm_start(c, on_vm_end, p, vm, e);
}

static int vm_bring_up(struct pod *p, struct err *e)
{
	char mac[18], name[330];
	struct disk_list disks = {.count = 0};
	own_free char *dir = NULL;
	int rc = pod_claims_resolve(p, e);
	if (rc)
		return rc;
	if (!p->vm_number)
		p->vm_number = pods_number_take(p->host->pods);
	if (!p->vm_number)
		return err_set(e, ENOSPC, "no VM number left on this host");
	uint64_t t = clock_mono_ns();
	p->vm_generation++;
	p->volumes_written = false;
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
			.guest_dir = p->host->guest_dir, .engine = p->host->engine, .vcpus = vcpus(p), .memory_mib = memory_mib(p),
			.disks = disks.disks, .disks_count = disks.count, .tap_fd = p->net.tap_fd, .vnet_hdr = p->net.vnet_hdr,
			.mac = mac, .metrics_dir = p->host->metrics_dir, .uid = p->host->vm_uid_base + p->vm_number, .restore_state_fd = -1,
			.restore_memory_fd = -1};
		struct vm_paging paging;
		c.paging = pod_paging_works(p) ? pod_paging(p, c.memory_mib, &paging) : NULL;
		pthread_mutex_lock(&p->lock);
		p->vm_ended = p->agent_ended = false;
		p->boot_cancel = p->cancel;
		pthread_mutex_unlock(&p->lock);
		rc = start(p, &c, &vm, e);
		die_at("vm");
	}
	disks_free(&disks);
	if (p->net.tap_fd >= 0)
		close(take_fd(p->net.tap_fd));
	if (rc)
		return rc;
	pthread_mutex_lock(&p->lock);
	p->vm = vm;
	pthread_mutex_unlock(&p->lock);
	pod_stage_add(p, "vm", clock_mono_ns() - t_disk);
	return 0;
}

static int agent_connect(struct pod *p, uint32_t deadline_ms, const volatile int *cancel, bool *configured, struct err *e)
{
	struct agent_client *agent = NULL;
	Bulkhead__Agent__HelloReply *hello = NULL;
	int rc = agent_client_open(vm_vsock_path(p->vm), deadline_ms, cancel, on_agent_event, p, &agent, &hello, e);
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
		rc = vm_bring_up(p, e);
	uint64_t t = clock_mono_ns();
	if (!rc && !p->agent) {
		bool clone = p->template != NULL;
		rc = agent_connect(p, AGENT_BOOT_MS, &p->boot_cancel, &configured, e);
		if (rc && !p->cancel && !vm_alive(p->vm))
			rc = boot_failed(p, e);
		template_done(p, !rc || p->cancel);
		pod_stage_drop(p, clone ? "boot" : "template");
		pod_stage_add(p, clone ? "template" : "boot", clock_mono_ns() - t);
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
	int rc = bring_up(p, e);
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

/* If the VM is a paged clone: where the pages come from that it has not touched yet. */
static int clone_memory(const char *dir, struct vm_paging *paging, struct pager_vad *vad, int *image, struct err *e)
{
	uint64_t bytes = 0;
	int fd = paging ? template_linked(dir, &bytes, e) : -ENOENT;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0) {
		log_error("pods", "%s: a clone that cannot go on: %s", dir, e->text);
		vm_end_leftover(dir);
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
	if (!*p->sample || !p->vm || !p->host->templates)
		return;
	own_fd int memory = vm_memory_fd(p->vm, NULL);
	if (memory >= 0)
		templates_sample(p->host->templates, p->sample, memory);
	p->sample[0] = '\0';
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
	int rc = p->vm ? 0 : clone_memory(dir, pod_paging(p, memory_mib(p), &paging) ? &paging : NULL, &vad, &image, &e);
	if (!rc && !p->vm)
		rc = vm_adopt(dir, p->host->pager ? &paging : NULL, on_vm_end, p, &vm, &e);
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
	template_done(p, true);
	probes_end(p);
	for (size_t i = 0; i < p->containers_count; i++)
		pod_log_end(p, &p->containers[i]);
	disconnect(p);
}

void pod_vm_stop(struct pod *p)
{
	template_done(p, p->cancel);
	if (p->vm) {
		char name[330];
		vm_kill(p->vm);
		snprintf(name, sizeof(name), "%s/%s", p->ns, p->name);
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
