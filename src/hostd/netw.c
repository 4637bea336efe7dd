// SPDX-License-Identifier: Apache-2.0
// Pod networks; see netw.h. The record of a pod goes through "creating" and "ready"; whatever is found "creating" is
// torn down before it is made again. Calls for one pod wait for each other, calls for several run side by side.
#include "netw.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "netw_cni.h"
#include "netw_link.h"
#include "netw_ns.h"
#include "netw_record.h"
#include "netw_rules.h"

#define IFNAME "eth0"
#define CONF_MAX (1u << 20)

struct claim {                // a pod that a call works on
	const char *uid;
	struct claim *next;
};

struct netw {
	char *dir, *pods, *leases;   // ROOT/net, ROOT/net/pods, ROOT/net/leases
	char *cni_bin, *pod_cidr, *cluster_cidr;
	char name[12];               // bridge, CNI network, nft table: "bkh-TAG"
	bool own_rules;              // false when the operator's CNI configuration rules
	json_t *list;                // CNI configuration list
	pthread_mutex_t lock;
	pthread_cond_t released;
	struct claim *claims;
};

static void claim(struct netw *n, struct claim *c, const char *uid)
{
	pthread_mutex_lock(&n->lock);
	for (struct claim *o = n->claims; o; )
		if (!strcmp(o->uid, uid)) {
			pthread_cond_wait(&n->released, &n->lock);
			o = n->claims;
		} else {
			o = o->next;
		}
	c->uid = uid, c->next = n->claims;
	n->claims = c;
	pthread_mutex_unlock(&n->lock);
}

static void release(struct netw *n, struct claim *c)
{
	pthread_mutex_lock(&n->lock);
	struct claim **p = &n->claims;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	pthread_cond_broadcast(&n->released);
	pthread_mutex_unlock(&n->lock);
}

static int check_cidr(const char *cidr, struct err *e)
{
	char text[64];
	struct in_addr a;
	char *end = "x", *slash;
	snprintf(text, sizeof(text), "%s", cidr ? cidr : "");
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	long prefix = slash ? strtol(slash + 1, &end, 10) : 0;
	if (*end || inet_pton(AF_INET, text, &a) != 1 || prefix < 8 || prefix > 29)
		return err_set(e, EINVAL, "pod range \"%.60s\": expected an IPv4 network such as 10.88.0.0/24, between /8 and /29",
			       cidr ? cidr : "");
	if (ntohl(a.s_addr) & (0xffffffffu >> prefix))
		return err_set(e, EINVAL, "pod range \"%.60s\": bits are set behind the prefix", cidr);
	return 0;
}

static int load_list(struct netw *n, const char *path, struct err *e)
{
	own_buf struct buf text = BUF_INIT;
	int rc = file_read(path, CONF_MAX, &text, e);
	if (rc)
		return rc;
	json_error_t why;
	n->list = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &why);
	return n->list ? 0 : err_set(e, EINVAL, "%s: line %d: %.150s", path, why.line, why.text);
}

/* A lease whose pod has no record: a power cut came between. host-local's files are named by address and hold the
 * container id. */
static void drop_stray_leases(const struct netw *n)
{
	own_free char *path = NULL;
	if (asprintf(&path, "%s/%s", n->leases, n->name) < 0)
		return;
	own_dir DIR *d = opendir(path);
	for (struct dirent *f; d && (f = readdir(d)); ) {
		unsigned char raw[16];
		own_free char *lease = NULL;
		own_buf struct buf text = BUF_INIT;
		if (inet_pton(AF_INET, f->d_name, raw) != 1 || asprintf(&lease, "%s/%s", path, f->d_name) < 0 ||
		    file_read(lease, 4096, &text, NULL))
			continue;
		char *id = text.data ? text.data : "";
		if (text.data)
			text.data[strcspn(text.data, "\r\n")] = '\0';
		const char *uid = strncmp(id, n->name, strlen(n->name)) ? "" : id + strlen(n->name) + 1;
		own_json json_t *record = netw_uid_valid(uid) ? netw_record_read(n->pods, uid, NULL) : NULL;
		if (!record) {
			log_info("net", "address %s is free again: its pod is gone", f->d_name);
			unlink(lease);
		}
	}
}

static int prepare(struct netw *n, const struct netw_config *c, struct err *e)
{
	int rc = dir_make(n->pods, 0700, e);
	if (!rc)
		rc = dir_make(n->leases, 0700, e);
	if (rc)
		return rc;
	if (c->cni_conf) {
		rc = load_list(n, c->cni_conf, e);
	} else {
		rc = check_cidr(c->pod_cidr, e);
		if (!rc)
			rc = check_cidr(n->cluster_cidr, e);
		if (!rc && !(n->list = cni_default_list(n->name, c->pod_cidr, n->leases)))
			rc = err_sys(e, ENOMEM, "CNI configuration");
	}
	if (!rc)
		rc = cni_check_list(n->list, e);
	if (!rc)
		rc = cni_check_plugins(n->list, n->cni_bin, e);
	if (!rc)
		rc = netw_rules_forwarding(e);
	if (!rc && n->own_rules)
		rc = netw_rules_apply(n->name, n->pod_cidr, n->cluster_cidr, e);
	if (!rc)
		drop_stray_leases(n);
	return rc;
}

int netw_open(const struct netw_config *c, struct netw **out, struct err *e)
{
	size_t len = strspn(c->tag, "abcdefghijklmnopqrstuvwxyz0123456789");
	if (!len || len > 6 || c->tag[len])
		return err_set(e, EINVAL, "cluster tag \"%.20s\": expected 1 to 6 lower-case letters and digits", c->tag);
	struct netw *n = calloc(1, sizeof(*n));
	if (!n)
		return err_sys(e, ENOMEM, "open the pod network");
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->released, NULL);
	snprintf(n->name, sizeof(n->name), "bkh-%.6s", c->tag);
	n->own_rules = !c->cni_conf;
	n->cni_bin = strdup(c->cni_bin ? c->cni_bin : "/usr/lib/cni");
	n->pod_cidr = strdup(c->pod_cidr ? c->pod_cidr : "");
	n->cluster_cidr = strdup(c->cluster_cidr && *c->cluster_cidr ? c->cluster_cidr : c->pod_cidr ? c->pod_cidr : "");
	int rc = 0;
	if (asprintf(&n->dir, "%s/net", c->root) < 0 || asprintf(&n->pods, "%s/pods", n->dir) < 0 ||
	    asprintf(&n->leases, "%s/leases", n->dir) < 0 || !n->cni_bin || !n->pod_cidr || !n->cluster_cidr)
		rc = err_sys(e, ENOMEM, "open the pod network");
	if (!rc)
		rc = prepare(n, c, e);
	if (rc) {
		netw_close(n);
		return rc;
	}
	*out = n;
	return 0;
}

void netw_close(struct netw *n)
{
	if (!n)
		return;
	json_decref(n->list);
	pthread_cond_destroy(&n->released);
	pthread_mutex_destroy(&n->lock);
	free(n->dir);
	free(n->pods);
	free(n->leases);
	free(n->cni_bin);
	free(n->pod_cidr);
	free(n->cluster_cidr);
	free(n);
}

int netw_set_cluster(struct netw *n, const char *ranges, struct err *e)
{
	pthread_mutex_lock(&n->lock);
	bool same = !n->own_rules || !strcmp(n->cluster_cidr, ranges);
	char *copy = same ? NULL : strdup(ranges);
	int rc = same ? 0 : copy ? netw_rules_apply(n->name, n->pod_cidr, copy, e) : err_sys(e, ENOMEM, "pod ranges");
	if (!same && !rc) {
		free(n->cluster_cidr);
		n->cluster_cidr = take(copy);
	}
	pthread_mutex_unlock(&n->lock);
	free(copy);
	return rc;
}

/* Names of one pod, and what its plug-ins are told. */
struct names {
	char id[80];          // namespace and CNI container id: "bkh-TAG-UID"
	char netns[100];
};

static struct names names_of(const struct netw *n, const char *uid)
{
	struct names s;
	snprintf(s.id, sizeof(s.id), "%s-%.64s", n->name, uid);
	snprintf(s.netns, sizeof(s.netns), "%s/%s", NETNS_DIR, s.id);
	return s;
}

static struct cni_run cni_of(const struct netw *n, const struct names *s, const json_t *record)
{
	return (struct cni_run){.bin = n->cni_bin, .list = json_object_get(record, "conf"),
				.runtime = json_object_get(record, "runtimeConfig"), .container_id = s->id, .netns = s->netns,
				.ifname = IFNAME, .args = jpath_str(record, "args", "")};
}

static int check_spec(const struct netw_pod_spec *p, struct err *e)
{
	if (!p->uid || !netw_uid_valid(p->uid))
		return err_set(e, EINVAL, "\"%.80s\" is no pod uid: expected up to 64 letters, digits, '-', '_' and '.'", p->uid ? p->uid : "");
	if (strpbrk(p->ns, ";=") || strpbrk(p->name, ";=") || strlen(p->ns) > 63 || strlen(p->name) > 253)
		return err_set(e, EINVAL, "\"%.80s/%.250s\" is no pod name", p->ns, p->name);
	for (size_t i = 0; i < p->ports_count; i++) {
		const struct netw_port *t = &p->ports[i];
		unsigned char raw[16];
		if (!t->host_port || !t->container_port)
			return err_set(e, EINVAL, "port %u: host port and container port are between 1 and 65535", t->host_port);
		if (strcmp(t->protocol, "tcp") && strcmp(t->protocol, "udp") && strcmp(t->protocol, "sctp"))
			return err_set(e, EINVAL, "host port %u: protocol \"%.5s\": expected tcp, udp or sctp", t->host_port, t->protocol);
		if (*t->host_ip && inet_pton(AF_INET, t->host_ip, raw) != 1 && inet_pton(AF_INET6, t->host_ip, raw) != 1)
			return err_set(e, EINVAL, "host port %u: \"%.45s\" is no address", t->host_port, t->host_ip);
	}
	return 0;
}

static json_t *new_record(const struct netw *n, const struct netw_pod_spec *p)
{
	own_free char *args = NULL;
	json_t *runtime = cni_runtime(p);
	struct names s = names_of(n, p->uid);
	if (!runtime || asprintf(&args, "IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_UID=%s;K8S_POD_INFRA_CONTAINER_ID=%s",
				 p->ns, p->name, p->uid, s.id) < 0) {
		json_decref(runtime);
		return NULL;
	}
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:O, s:o, s:s}", "version", 1, "state", "creating", "uid", p->uid,
			 "namespace", p->ns, "name", p->name, "conf", n->list, "runtimeConfig", runtime, "args", args);
}

/* What a record says, without the TAP. */
static int read_result(const json_t *record, struct netw_pod *out, struct err *e)
{
	struct netw_pod p = {.tap_fd = -1, .vnet_hdr = true, .mtu = (unsigned)jpath_int(record, "mtu", 0)};
	int rc = cni_addresses(json_object_get(record, "result"), IFNAME, &p, e);
	snprintf(p.mac, sizeof(p.mac), "%s", jpath_str(record, "mac", ""));
	if (!rc)
		*out = p;
	return rc;
}

static int join_here(void *ctx, struct err *e)
{
	return netw_link_join(IFNAME, ctx, e);
}

/* Open the TAP of a pod whose plug-ins are done. */
static int open_tap(const struct names *s, struct netw_nic *nic, struct err *e)
{
	own_fd int ns = netw_ns_open(s->id, e);
	return ns < 0 ? ns : netw_ns_run(ns, join_here, nic, e);
}

/* Undo everything. Under the claim. */
static int undo(struct netw *n, const char *uid, struct err *e)
{
	struct names s = names_of(n, uid);
	struct err why = ERR_INIT;
	own_json json_t *record = netw_record_read(n->pods, uid, &why);
	int rc = 0, one;
	if (record) {
		struct cni_run r = cni_of(n, &s, record);
		own_fd int ns = netw_ns_open(s.id, NULL);
		if (ns < 0)
			r.netns = "";   // gone, after a reboot say: the plug-ins free what lies outside it
		rc = cni_del(&r, json_object_get(record, "result"), e);
	} else if (why.code != ENOENT) {
		rc = err_set(e, why.code, "%s", why.text);
	}
	if ((one = netw_ns_remove(s.id, e)))
		rc = one;
	/* While a step fails, the record stays: the next attempt needs it. An unreadable one helps nobody. */
	if ((!rc || !record) && (one = netw_record_remove(n->pods, uid, e)))
		rc = one;
	return rc;
}

static int make(struct netw *n, const struct names *s, const char *uid, json_t *record, struct netw_nic *nic, struct err *e)
{
	int rc = netw_record_write(n->pods, uid, record, e);
	if (!rc)
		rc = netw_ns_make(s->id, e);
	if (rc)
		return rc;
	struct cni_run r = cni_of(n, s, record);
	json_t *result = NULL;
	if ((rc = cni_add(&r, &result, e)))
		return rc;
	if (json_object_set_new(record, "result", result))
		return err_sys(e, ENOMEM, "record of pod %s", uid);
	if ((rc = open_tap(s, nic, e)))
		return rc;
	if (json_object_set_new(record, "mac", json_string(nic->mac)) || json_object_set_new(record, "mtu", json_integer(nic->mtu)) ||
	    json_object_set_new(record, "state", json_string("ready")))
		rc = err_sys(e, ENOMEM, "record of pod %s", uid);
	return rc ? rc : netw_record_write(n->pods, uid, record, e);
}

static unsigned queues_of(const struct netw_pod_spec *p)
{
	return p->queues < 1 ? 1 : p->queues > NETW_QUEUES_MAX ? NETW_QUEUES_MAX : p->queues;
}

static void take_taps(struct netw_pod *pod, const struct netw_nic *nic)
{
	pod->tap_fd = nic->tap_fd;
	pod->queue_fds = nic->queue_fds;
	memcpy(pod->queue_fd, nic->queue_fd, sizeof(pod->queue_fd));
}

static int setup_fresh(struct netw *n, const struct netw_pod_spec *p, struct netw_pod *out, struct err *e)
{
	struct names s = names_of(n, p->uid);
	struct netw_nic nic = {.tap_fd = -1, .queues = queues_of(p)};
	struct netw_pod pod = {.tap_fd = -1};
	own_json json_t *record = new_record(n, p);
	if (!record)
		return err_sys(e, ENOMEM, "record of pod %s", p->uid);
	int rc = make(n, &s, p->uid, record, &nic, e);
	if (!rc)
		rc = read_result(record, &pod, e);
	take_taps(&pod, &nic);
	if (rc) {
		netw_close_taps(&pod);
		struct err undo_error = ERR_INIT;
		if (undo(n, p->uid, &undo_error))
			log_warn("net", "pod %s/%s: undo a failed network set-up: %s", p->ns, p->name, undo_error.text);
		return rc;
	}
	*out = pod;
	return 0;
}

/* A pod whose record is "ready": only the TAP is missing. -ENOENT: its namespace is gone, start anew. */
static int setup_again(struct netw *n, const struct netw_pod_spec *p, const json_t *record, struct netw_pod *out, struct err *e)
{
	struct names s = names_of(n, p->uid);
	struct netw_nic nic = {.tap_fd = -1, .queues = queues_of(p)};
	struct netw_pod pod;
	if (strcmp(jpath_str(record, "state", ""), "ready"))
		return -ENOENT;
	int rc = read_result(record, &pod, e);
	if (!rc)
		rc = open_tap(&s, &nic, e);
	if (rc)
		return rc == -EBUSY ? rc : -ENOENT;   // -EBUSY: a VM still holds the TAP
	take_taps(&pod, &nic);
	*out = pod;
	return 0;
}

static int setup(struct netw *n, const struct netw_pod_spec *p, struct netw_pod *out, struct err *e)
{
	own_json json_t *record = netw_record_read(n->pods, p->uid, NULL);
	int rc = record ? setup_again(n, p, record, out, e) : -ENOENT;
	if (rc != -ENOENT)
		return rc;
	rc = undo(n, p->uid, e);
	return rc ? rc : setup_fresh(n, p, out, e);
}

int netw_setup(struct netw *n, const struct netw_pod_spec *p, struct netw_pod *out, struct err *e)
{
	struct claim c;
	struct err why = ERR_INIT;
	int rc = check_spec(p, e);
	if (rc)
		return rc;
	claim(n, &c, p->uid);
	rc = setup(n, p, out, &why);
	release(n, &c);
	return rc ? err_set(e, -rc, "failed to set up the network of pod %s/%s: %s", p->ns, p->name, why.text) : 0;
}

int netw_lookup(struct netw *n, const char *uid, struct netw_pod *out, struct err *e)
{
	own_json json_t *record = netw_record_read(n->pods, uid, e);
	if (!record)
		return -ENOENT;
	struct names s = names_of(n, uid);
	own_fd int ns = netw_ns_open(s.id, e);
	if (ns < 0 || strcmp(jpath_str(record, "state", ""), "ready"))
		return err_set(e, ENOENT, "pod %s has no complete network", uid);
	return read_result(record, out, e);
}

int netw_teardown(struct netw *n, const char *uid, struct err *e)
{
	struct claim c;
	if (!netw_uid_valid(uid))
		return err_set(e, EINVAL, "\"%.80s\" is no pod uid", uid);
	claim(n, &c, uid);
	int rc = undo(n, uid, e);
	release(n, &c);
	return rc;
}

int netw_sweep(struct netw *n, const char *const *keep, size_t keep_count)
{
	own_json json_t *uids = netw_record_list(n->pods);
	int swept = 0;
	size_t i;
	json_t *v;
	json_array_foreach(uids, i, v) {
		const char *uid = json_string_value(v);
		struct err e = ERR_INIT;
		bool kept = false;
		for (size_t k = 0; k < keep_count && !kept; k++)
			kept = !strcmp(keep[k], uid);
		if (kept)
			continue;
		if (netw_teardown(n, uid, &e))
			log_warn("net", "remove the network of pod %s: %s", uid, e.text);
		else
			swept++;
	}
	return swept;
}

static void remove_namespace(void *ctx, const char *name)
{
	struct err e = ERR_INIT;
	(void)ctx;
	if (netw_ns_remove(name, &e))
		log_warn("net", "%s", e.text);
}

int netw_purge(struct netw *n, struct err *e)
{
	char prefix[16];
	netw_sweep(n, NULL, 0);
	snprintf(prefix, sizeof(prefix), "%s-", n->name);
	netw_ns_each(prefix, remove_namespace, NULL);
	netw_ns_finish();
	int rc = 0, one;
	if (n->own_rules) {
		rc = netw_link_delete(n->name, e);
		if ((one = netw_rules_remove(n->name, e)))
			rc = one;
	}
	if ((one = dir_remove(n->dir, e)))
		rc = one;
	return rc;
}
