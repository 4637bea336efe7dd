// SPDX-License-Identifier: Apache-2.0
// What `up` chose for a root: tag, address, ports, pod range. Kept in ROOT/cluster.json; /run/bulkhead/clusters/ has a
// copy per running cluster of this machine, so that two never take the same ports or range.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cidr.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"

#define ROOT_MAX 48   // ROOT/pods/<uid>/vm/control.sock must fit sun_path
#define CLAIMS "/run/bulkhead/clusters"
#define RANGES 640                // of pods: 10.88.0.0/20 ... 10.127.240.0/20; of Services: 10.128.0.0/20 ... 10.167.240.0/20
#define PODS_FIRST 0x0a580000u
#define SERVICES_FIRST 0x0a800000u
#define HOSTS_FIRST 0x0aa80000u   // of hosts on one machine: 10.168.0.0/24 ...
#define RANGE_PREFIX 20
#define HOSTS_PREFIX 24
#define NODE_PREFIX 24

static void from_json(const json_t *j, struct cluster *c)
{
	snprintf(c->tag, sizeof(c->tag), "%s", jpath_str(j, "tag", ""));
	snprintf(c->address, sizeof(c->address), "%s", jpath_str(j, "address", ""));
	snprintf(c->node_name, sizeof(c->node_name), "%s", jpath_str(j, "nodeName", ""));
	snprintf(c->pod_cidr, sizeof(c->pod_cidr), "%s", jpath_str(j, "podCIDR", ""));
	snprintf(c->cluster_cidr, sizeof(c->cluster_cidr), "%s", jpath_str(j, "clusterCIDR", ""));
	snprintf(c->service_cidr, sizeof(c->service_cidr), "%s", jpath_str(j, "serviceCIDR", ""));
	snprintf(c->server, sizeof(c->server), "%s", jpath_str(j, "server", ""));
	snprintf(c->host_cidr, sizeof(c->host_cidr), "%s", jpath_str(j, "hostCIDR", ""));
	c->hosts = (unsigned)jpath_int(j, "hosts", 0);
	snprintf(c->engine, sizeof(c->engine), "%s", jpath_str(j, "engine", ""));
	snprintf(c->templates, sizeof(c->templates), "%s", jpath_str(j, "templates", ""));
	snprintf(c->waiting, sizeof(c->waiting), "%s", jpath_str(j, "waiting", ""));
	snprintf(c->store, sizeof(c->store), "%s", jpath_str(j, "store", ""));
	snprintf(c->audit_log, sizeof(c->audit_log), "%s", jpath_str(j, "auditLog", ""));
	snprintf(c->audit_policy, sizeof(c->audit_policy), "%s", jpath_str(j, "auditPolicy", ""));
	c->api_port = (uint16_t)jpath_int(j, "apiPort", 0);
	c->kubelet_port = (uint16_t)jpath_int(j, "kubeletPort", 0);
	c->memory_mib = (unsigned)jpath_int(j, "memoryMiB", 0);
}

static json_t *to_json(const char *root, const struct cluster *c)
{
	json_t *j = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "version", 1, "root", root, "tag", c->tag, "address", c->address,
			      "nodeName", c->node_name, "podCIDR", c->pod_cidr, "clusterCIDR", c->cluster_cidr, "serviceCIDR", c->service_cidr);
	json_t *more = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:s, s:s, s:s, s:i, s:s, s:s}", "engine", c->engine, "templates", c->templates, "waiting", c->waiting, "apiPort",
				 c->api_port, "kubeletPort", c->kubelet_port, "memoryMiB", (int)c->memory_mib, "store", c->store, "server",
				 c->server, "hostCIDR", c->host_cidr, "hosts", (int)c->hosts, "auditLog", c->audit_log,
				 "auditPolicy", c->audit_policy);
	json_object_update_new(j, more);
	return j;
}

static json_t *read_json(const char *path)
{
	own_buf struct buf text = BUF_INIT;
	return file_read(path, 65536, &text, NULL) ? NULL : json_loadb(text.data, text.len, 0, NULL);
}

int cluster_load(const char *root, struct cluster *c, struct err *e)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/cluster.json", root);
	own_json json_t *j = read_json(path);
	if (!j)
		return err_set(e, ENOENT, "no cluster in %s: start one with \"bulkhead up --root %s\"", root, root);
	from_json(j, c);
	return 0;
}

static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u;
	while (*s)
		h = (h ^ (unsigned char)*s++) * 16777619u;
	return h;
}

void cluster_tag(const char *root, char out[8])
{
	snprintf(out, 8, "%06x", hash(root) & 0xffffff);
}

static bool port_free(const char *address, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));   // an address that is made later
	return inet_pton(AF_INET, address, &a.sin_addr) == 1 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* Does another root's claim say so? */
static bool claimed(const char *root, bool (*says)(const json_t *claim, const void *what), const void *what)
{
	own_dir DIR *d = opendir(CLAIMS);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		char path[4096];
		snprintf(path, sizeof(path), CLAIMS "/%s", ent->d_name);
		own_json json_t *j = ent->d_name[0] == '.' ? NULL : read_json(path);
		if (j && strcmp(jpath_str(j, "root", ""), root) && says(j, what))
			return true;
	}
	return false;
}

static bool has_api_port(const json_t *claim, const void *port)
{
	return jpath_int(claim, "apiPort", 0) == *(const uint16_t *)port;
}

static bool has_kubelet_port(const json_t *claim, const void *port)
{
	return jpath_int(claim, "kubeletPort", 0) == *(const uint16_t *)port;
}

static bool has_range(const json_t *claim, const void *range)
{
	static const char *const keys[] = {"podCIDR", "clusterCIDR", "serviceCIDR", "hostCIDR"};
	const struct cidr *want = range;
	struct cidr c;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (!cidr_parse(jpath_str(claim, keys[i], ""), &c) && (cidr_has(&c, want->base) || cidr_has(want, c.base)))
			return true;
	return false;
}

static uint16_t pick_port(const char *root, bool (*says)(const json_t *claim, const void *port), const char *address, unsigned first)
{
	for (unsigned n = first; n < first + 1000; n++) {
		uint16_t port = (uint16_t)n;
		if (!claimed(root, says, &port) && port_free(address, port))
			return port;
	}
	return 0;
}

/* Does any route of this machine reach into the range? */
static bool range_in_use(const struct cidr *want)
{
	own_file FILE *f = fopen("/proc/net/route", "re");
	char line[512];
	while (f && fgets(line, sizeof(line), f)) {
		unsigned dest, mask;
		if (sscanf(line, "%*s %x %*x %*x %*d %*d %*d %x", &dest, &mask) != 2 || !mask)
			continue;
		struct cidr c = {.base = ntohl(dest), .prefix = (unsigned)__builtin_popcount(mask)};
		if (cidr_has(&c, want->base) || cidr_has(want, c.base))
			return true;
	}
	return false;
}

/* The first free range from first on, into text unless there is one already. */
static int pick_range(const char *root, uint32_t first, unsigned prefix, char text[32], const char *what, struct err *e)
{
	struct cidr c = {.base = first, .prefix = prefix};
	for (unsigned n = 0; n < RANGES && !text[0]; n++, c.base += (uint32_t)cidr_size(&c))
		if (!claimed(root, has_range, &c) && !range_in_use(&c))
			cidr_text(&c, text);
	return text[0] ? 0 : err_set(e, EADDRINUSE, "no free range of addresses for %s on this machine", what);
}

static void server_address(struct cluster *c)
{
	struct cidr range;
	if (!cidr_parse(c->host_cidr, &range))
		cidr_addr_text(range.base + 1, c->address);
}

/* The address with which this machine reaches the server. */
static int own_address(const char *server, char out[46], struct err *e)
{
	char host[256];
	const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM};
	struct addrinfo *to = NULL;
	struct sockaddr_in own;
	socklen_t len = sizeof(own);
	const char *name = server + strlen("https://");
	snprintf(host, sizeof(host), "%.*s", (int)strcspn(name, ":/"), name);
	own_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = !getaddrinfo(host, "443", &hints, &to) && !connect(fd, to->ai_addr, to->ai_addrlen) &&
		  !getsockname(fd, (struct sockaddr *)&own, &len) && inet_ntop(AF_INET, &own.sin_addr, out, 46);
	if (to)
		freeaddrinfo(to);
	return ok ? 0 : err_set(e, EINVAL, "%s: cannot tell which address of this machine leads there: name it with --address", server);
}

static int choose_missing(const char *root, struct cluster *c, struct err *e)
{
	if (!c->tag[0])
		cluster_tag(root, c->tag);
	if (c->hosts && pick_range(root, HOSTS_FIRST, HOSTS_PREFIX, c->host_cidr, "hosts", e))
		return -EADDRINUSE;
	if (!c->address[0] && c->hosts)
		server_address(c);
	if (!c->address[0] && c->server[0] && own_address(c->server, c->address, e))
		return -EINVAL;
	if (!c->address[0])
		strcpy(c->address, "127.0.0.1");
	if (!c->node_name[0]) {
		gethostname(c->node_name, sizeof(c->node_name) - 1);
		for (char *p = c->node_name; *p; p++)
			*p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p == '_' ? '-' : *p;
	}
	if (!c->engine[0])
		strcpy(c->engine, "auto");
	if (!c->templates[0])
		strcpy(c->templates, "on");
	if (!c->waiting[0])
		strcpy(c->waiting, "1");
	if (!c->server[0] && !c->api_port && !(c->api_port = pick_port(root, has_api_port, c->address, 6443)))
		return err_set(e, EADDRINUSE, "no free port from 6443 on at %s: name one with --port", c->address);
	if (c->hosts && !c->kubelet_port)   // every namespace has all ports
		c->kubelet_port = 10250;
	if (!c->kubelet_port && !(c->kubelet_port = pick_port(root, has_kubelet_port, c->address, 10250)))
		return err_set(e, EADDRINUSE, "no free port from 10250 on at %s", c->address);
	if (c->server[0])   // the API gives this host its range
		return 0;
	if (c->pod_cidr[0] && !c->cluster_cidr[0])   // made before hosts shared a range
		strcpy(c->cluster_cidr, c->pod_cidr);
	struct cidr pods, own;
	int rc = pick_range(root, PODS_FIRST, RANGE_PREFIX, c->cluster_cidr, "pods", e);
	if (!rc)
		rc = pick_range(root, SERVICES_FIRST, RANGE_PREFIX, c->service_cidr, "Services", e);
	if (rc || c->pod_cidr[0])
		return rc;
	if (cidr_parse(c->cluster_cidr, &pods) || !cidr_nth(&pods, NODE_PREFIX, 0, &own))
		return err_set(e, EINVAL, "cluster.json: \"%s\" is no range of pods", c->cluster_cidr);
	cidr_text(&own, c->pod_cidr);
	return 0;
}

int cluster_choose(const char *root, const struct cluster *wish, struct cluster *out, struct err *e)
{
	struct cluster c = {0};
	char path[4096];
	if (strlen(root) + (wish->hosts ? strlen("/hosts/32") : 0) > ROOT_MAX)
		return err_set(e, ENAMETOOLONG, "--root %s is longer than %d bytes, too long for the sockets of VMs", root, ROOT_MAX);
	int rc = dir_make(CLAIMS, 0755, e);
	if (!rc)
		rc = dir_make(root, 0755, e);
	if (rc)
		return rc;
	own_fd int lock = open("/run/bulkhead/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX))
		return err_sys(e, errno, "lock /run/bulkhead/lock");
	cluster_load(root, &c, NULL);
	if (wish->address[0])
		strcpy(c.address, wish->address);
	if (wish->node_name[0])
		strcpy(c.node_name, wish->node_name);
	if (wish->engine[0])
		strcpy(c.engine, wish->engine);
	if (wish->server[0])
		strcpy(c.server, wish->server);
	if (wish->hosts)
		c.hosts = wish->hosts;
	if (wish->templates[0])
		strcpy(c.templates, wish->templates);
	if (wish->waiting[0])
		strcpy(c.waiting, wish->waiting);
	if (wish->store[0])
		strcpy(c.store, wish->store);
	if (wish->audit_log[0])
		strcpy(c.audit_log, wish->audit_log);
	if (wish->audit_policy[0])
		strcpy(c.audit_policy, wish->audit_policy);
	if (wish->api_port)
		c.api_port = wish->api_port;
	if (wish->memory_mib)
		c.memory_mib = wish->memory_mib;
	rc = choose_missing(root, &c, e);
	if (rc)
		return rc;
	own_json json_t *j = to_json(root, &c);
	own_free char *text = json_dumps(j, JSON_INDENT(2));
	if (!text)
		return err_sys(e, ENOMEM, "save cluster.json");
	snprintf(path, sizeof(path), "%s/cluster.json", root);
	rc = file_write_atomic(path, text, strlen(text), 0644, e);
	snprintf(path, sizeof(path), CLAIMS "/%s", c.tag);
	if (!rc)
		rc = file_replace(path, text, strlen(text), 0644, e);
	if (!rc)
		*out = c;
	return rc;
}

void cluster_forget(const char *root)
{
	struct cluster c;
	char path[4096];
	if (cluster_load(root, &c, NULL))
		return;
	snprintf(path, sizeof(path), CLAIMS "/%s", c.tag);
	unlink(path);
}
