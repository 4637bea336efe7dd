// SPDX-License-Identifier: Apache-2.0
// This host as a Kubernetes Node; see node.h. The lease is renewed every 10 s; the status is written when it changed and
// at least every 5 minutes, as a kubelet does.
#include "node.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "events.h"
#include "image.h"
#include "k8s/client.h"
#include "pager_client.h"
#include "pods_shutdown.h"
#include "pressure.h"
#include "pressure_pids.h"
#include "waiting.h"

#define LEASE_PERIOD_S 10
#define LEASE_DURATION_S 40
#define STATUS_PERIOD_NS (300 * NS_PER_S)
#define RETRY_S 1
#define SILENT_NS (2 * LEASE_PERIOD_S * NS_PER_S)
#define MEMORY_RESERVED_BYTES (256ull << 20)   // for the host itself
#define IMAGES_SHOWN 50
#define RANGE_WAIT_NS (30 * NS_PER_S)

struct node {
	const struct host *host;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	json_t *reported;          // conditions' statuses and images, to see changes
	uint64_t reported_mono_ns;
	uint64_t renewed_mono_ns;  // the lease, last
	bool registered;
	bool starting;             // not Ready yet
	uint64_t pids_low_mono_ns; // last; 0: never
	bool unheard;              // the last report failed: the server may have said something else since
};

static char *word_of_file(const char *path)
{
	struct buf b = BUF_INIT;
	if (file_read(path, 4096, &b, NULL) || !b.data)
		return strdup("");
	b.data[strcspn(b.data, "\n")] = '\0';
	return buf_take(&b);
}

static char *os_image(void)
{
	struct buf b = BUF_INIT;
	char *name = NULL;
	if (!file_read("/etc/os-release", 65536, &b, NULL) && b.data) {
		char *at = strstr(b.data, "PRETTY_NAME=\"");
		if (at) {
			at += strlen("PRETTY_NAME=\"");
			at[strcspn(at, "\"\n")] = '\0';
			name = strdup(at);
		}
	}
	buf_fini(&b);
	return name ? name : strdup("Linux");
}

static json_t *amounts(const struct host *h, bool allocatable)
{
	struct sysinfo si;
	struct statvfs fs = {0};
	char memory[32], disk[32];
	sysinfo(&si);
	statvfs(h->root, &fs);
	unsigned long long bytes = (unsigned long long)si.totalram * si.mem_unit;
	unsigned long long disk_bytes = (unsigned long long)fs.f_blocks * fs.f_frsize;
	if (allocatable) {
		unsigned long long reserved = MEMORY_RESERVED_BYTES + h->waiting_count * WAITING_BYTES;
		bytes = bytes > 2 * reserved ? bytes - reserved : bytes / 2;
		disk_bytes = disk_bytes / 10 * 9;
	}
	snprintf(memory, sizeof(memory), "%lluKi", bytes >> 10);
	snprintf(disk, sizeof(disk), allocatable ? "%llu" : "%lluKi", allocatable ? disk_bytes : disk_bytes >> 10);
	char cpus[16], pods[16];
	snprintf(cpus, sizeof(cpus), "%d", get_nprocs());
	snprintf(pods, sizeof(pods), "%u", h->max_pods);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "cpu", cpus, "memory", memory, "ephemeral-storage", disk, "pods", pods,
			 "hugepages-1Gi", "0", "hugepages-2Mi", "0");
}

static json_t *condition(const struct node *n, const char *type, bool on, const char *reason, const char *message)
{
	char now[CLOCK_TEXT_MAX];
	const char *status = on ? "True" : "False";
	const json_t *old = jpath_get(n->reported, type);
	clock_text(clock_real_ns(), 0, now);
	bool same = !strcmp(jpath_str(old, "status", ""), status);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status, "lastHeartbeatTime", now,
			 "lastTransitionTime", same ? jpath_str(old, "since", now) : now, "reason", reason, "message", message);
}

static json_t *conditions(struct node *n)
{
	struct pressure_state now;
	struct pager_host pager;
	pressure_read(n->host->root, &now);
	bool short_ = n->host->pager && !pager_client_host(n->host->pager, &pager, NULL) && pager.pressure;
	bool disk_low = now.disk, memory_low = short_ || now.memory;
	bool pids_low = pressure_pids_shown(&n->pids_low_mono_ns, now.pids, clock_mono_ns(), now.pids_hold_s * NS_PER_S);
	json_t *c = json_array();
	json_array_append_new(c, condition(n, "MemoryPressure", memory_low, memory_low ? "KubeletHasInsufficientMemory" :
		"KubeletHasSufficientMemory", memory_low ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available"));
	json_array_append_new(c, condition(n, "DiskPressure", disk_low, disk_low ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
		disk_low ? "kubelet has disk pressure" : "kubelet has no disk pressure"));
	json_array_append_new(c, condition(n, "PIDPressure", pids_low, pids_low ? "KubeletHasInsufficientPID" :
		"KubeletHasSufficientPID", pids_low ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available"));
	const char *not_ready = n->starting ? "the host is starting" : pods_shutting_down(n->host->pods) ? "node is shutting down" : NULL;
	json_array_append_new(c, condition(n, "Ready", !not_ready, not_ready ? "KubeletNotReady" : "KubeletReady",
		not_ready ? not_ready : "kubelet is posting ready status"));
	return c;
}

static json_t *images(const struct host *h)
{
	json_t *list = image_list(h->images), *out = json_array(), *img, *name;
	size_t i, k;
	json_array_foreach(list, i, img) {
		json_t *names = json_array();
		if (i == IMAGES_SHOWN) {
			json_decref(names);
			break;
		}
		json_array_foreach(json_object_get(img, "repoDigests"), k, name)
			json_array_append(names, name);
		json_array_foreach(json_object_get(img, "refs"), k, name)
			json_array_append(names, name);
		json_array_append_new(out, json_pack("{s:o, s:I}", "names", names, "sizeBytes", (json_int_t)jpath_int(img, "sizeBytes", 0)));
	}
	json_decref(list);
	return out;
}

static json_t *node_info(void)
{
	struct utsname u;
	uname(&u);
	own_free char *machine = word_of_file("/etc/machine-id"), *boot = word_of_file("/proc/sys/kernel/random/boot_id");
	own_free char *os = os_image();
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "machineID", machine, "systemUUID", machine, "bootID", boot,
			 "kernelVersion", u.release, "osImage", os, "containerRuntimeVersion", "bulkhead://" BULKHEAD_VERSION,
			 "kubeletVersion", "v1.32.0+bulkhead", "kubeProxyVersion", "", "operatingSystem", "linux", "architecture",
			 !strcmp(u.machine, "x86_64") ? "amd64" : u.machine);
}

static json_t *status(struct node *n)
{
	const struct host *h = n->host;
	return json_pack("{s:o, s:o, s:o, s:[{s:s, s:s}, {s:s, s:s}], s:{s:{s:i}}, s:o, s:o}", "capacity", amounts(h, false), "allocatable",
			 amounts(h, true), "conditions", conditions(n), "addresses", "type", "InternalIP", "address", h->node_addr,
			 "type", "Hostname", "address", h->node_name, "daemonEndpoints", "kubeletEndpoint", "Port",
			 (int)h->kubelet_port, "nodeInfo", node_info(), "images", images(h));
}

static int create(struct node *n, struct err *e)
{
	own_json json_t *obj = json_pack("{s:s, s:s, s:{s:s, s:{s:s, s:s, s:s, s:s, s:s}}, s:{}, s:o}", "apiVersion", "v1", "kind", "Node",
		"metadata", "name", n->host->node_name, "labels", "kubernetes.io/hostname", n->host->node_name, "kubernetes.io/os",
		"linux", "kubernetes.io/arch", "amd64", "beta.kubernetes.io/os", "linux", "beta.kubernetes.io/arch", "amd64", "spec",
		"status", status(n));
	if (n->host->pod_cidr)
		json_object_update_new(json_object_get(obj, "spec"), json_pack("{s:s, s:[s]}", "podCIDR", n->host->pod_cidr, "podCIDRs",
									       n->host->pod_cidr));
	return k8s_client_call(n->host->api, "POST", "/api/v1/nodes", NULL, obj, 10000, NULL, e);
}

/* What is compared from one report to the next: condition type -> {status, since}; and the image list. */
static json_t *digest_of(const json_t *st)
{
	json_t *d = json_object(), *c;
	size_t i;
	json_array_foreach(json_object_get(st, "conditions"), i, c)
		json_object_set_new(d, jpath_str(c, "type", "?"), json_pack("{s:s, s:s}", "status", jpath_str(c, "status", ""), "since",
									    jpath_str(c, "lastTransitionTime", "")));
	json_object_set(d, "images", json_object_get(st, "images"));
	json_object_set(d, "capacity", json_object_get(st, "capacity"));
	return d;
}

static int report(struct node *n, struct err *e)
{
	char path[400];
	own_json json_t *st = status(n);
	json_t *digest = digest_of(st);
	uint64_t now = clock_mono_ns();
	bool silent = n->unheard || now - n->renewed_mono_ns > SILENT_NS;   // the server may have declared this host's state unknown
	if (n->registered && !silent && json_equal(digest, n->reported) && now - n->reported_mono_ns < STATUS_PERIOD_NS) {
		json_decref(digest);
		return 0;
	}
	own_json json_t *patch = json_pack("{s:O}", "status", st);
	snprintf(path, sizeof(path), "/api/v1/nodes/%s/status", n->host->node_name);
	int rc = k8s_client_call(n->host->api, "PATCH", path, "application/strategic-merge-patch+json", patch, 10000, NULL, e);
	if (rc == -ENOENT)
		rc = create(n, e);
	n->unheard = rc != 0;
	if (rc) {
		json_decref(digest);
		return rc;
	}
	json_decref(n->reported);
	n->reported = digest;
	n->reported_mono_ns = now;
	if (!n->registered)
		log_info("node", "registered name=%s", n->host->node_name);
	n->registered = true;
	return 0;
}

static int renew_lease(struct node *n, struct err *e)
{
	char path[400], now[CLOCK_TEXT_MAX];
	const char *name = n->host->node_name;
	clock_text(clock_real_ns(), 6, now);
	own_json json_t *patch = json_pack("{s:{s:s, s:s, s:i}}", "spec", "renewTime", now, "holderIdentity", name, "leaseDurationSeconds",
					   LEASE_DURATION_S);
	snprintf(path, sizeof(path), "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/%s", name);
	int rc = k8s_client_call(n->host->api, "PATCH", path, "application/merge-patch+json", patch, 10000, NULL, e);
	if (!rc)
		n->renewed_mono_ns = clock_mono_ns();
	if (rc != -ENOENT)
		return rc;
	own_json json_t *lease = json_pack("{s:s, s:s, s:{s:s, s:s}, s:O}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease",
					   "metadata", "name", name, "namespace", "kube-node-lease", "spec",
					   json_object_get(patch, "spec"));
	return k8s_client_call(n->host->api, "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", NULL, lease,
			       10000, NULL, e);
}

static void *run(void *arg)
{
	struct node *n = arg;
	pthread_mutex_lock(&n->lock);
	while (!n->stop) {
		pthread_mutex_unlock(&n->lock);
		struct err e = ERR_INIT;
		int rc = report(n, &e);
		if (rc)
			log_limited(LOG_LEVEL_WARN, "node", "not reported: %s", e.text);
		if (renew_lease(n, &e)) {   // whatever became of the status: the lease says that the host lives
			log_limited(LOG_LEVEL_WARN, "node", "lease not renewed: %s", e.text);
			rc = -EIO;
		}
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += rc ? RETRY_S : LEASE_PERIOD_S;
		pthread_mutex_lock(&n->lock);
		if (!n->stop)
			pthread_cond_timedwait(&n->wake, &n->lock, &until);
	}
	pthread_mutex_unlock(&n->lock);
	return NULL;
}

int node_register(const struct host *h, char pod_cidr[64], struct err *e)
{
	struct node n = {.host = h, .starting = true};
	char path[400];
	snprintf(path, sizeof(path), "/api/v1/nodes/%s", h->node_name);
	for (uint64_t end = clock_mono_ns() + RANGE_WAIT_NS;;) {
		own_json json_t *node = NULL;
		int rc = k8s_client_call(h->api, "GET", path, NULL, NULL, 10000, &node, e);
		const json_t *addresses = jpath_get(node, "status.addresses");
		if (rc == -ENOENT)
			rc = create(&n, e);
		else if (!rc && strcmp(jpath_str(json_array_get(addresses, 0), "address", ""), h->node_addr))
			rc = report(&n, e);
		if (rc && rc != -EEXIST) {
			json_decref(n.reported);
			return rc;
		}
		if (*jpath_str(node, "spec.podCIDR", "")) {
			snprintf(pod_cidr, 64, "%s", jpath_str(node, "spec.podCIDR", ""));
			json_decref(n.reported);
			return 0;
		}
		if (clock_mono_ns() > end) {
			json_decref(n.reported);
			return err_set(e, ETIMEDOUT, "node %s got no spec.podCIDR: the control plane must give nodes pod ranges "
				       "(--allocate-node-cidrs), or the host be told one with --pod-cidr", h->node_name);
		}
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	}
}

int node_start(const struct host *h, struct node **out, struct err *e)
{
	struct node *n = calloc(1, sizeof(*n));
	if (!n)
		return err_sys(e, ENOMEM, "start node");
	n->host = h;
	pthread_mutex_init(&n->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&n->wake, &attr);
	pthread_condattr_destroy(&attr);
	int rc = pthread_create(&n->thread, NULL, run, n);
	if (rc) {
		free(n);
		return err_sys(e, rc, "start node");
	}
	*out = n;
	return 0;
}

void node_poke(struct node *n)
{
	pthread_mutex_lock(&n->lock);
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
}

void node_stop(struct node *n)
{
	if (!n)
		return;
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	pthread_cond_signal(&n->wake);
	pthread_mutex_unlock(&n->lock);
	pthread_join(n->thread, NULL);
	json_decref(n->reported);
	free(n);
}
