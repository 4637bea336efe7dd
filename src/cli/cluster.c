// SPDX-License-Identifier: Apache-2.0
// What `up` chose for a root: tag, address, ports, pod range. Kept in ROOT/cluster.json; /run/bulkhead/clusters/ has a
// copy per running cluster of this machine, so that two never take the same ports or range.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "cli.h"

#define ROOT_MAX 48   // ROOT/pods/<uid>/vm/control.sock must fit sun_path
#define CLAIMS "/run/bulkhead/clusters"
#define RANGE_FIRST (88u << 8)    // of pod ranges: 10.88.0.0/24 ... 10.127.255.0/24
#define RANGE_END (128u << 8)

static void from_json(const json_t *j, struct cluster *c)
{
	snprintf(c->tag, sizeof(c->tag), "%s", jpath_str(j, "tag", ""));
	snprintf(c->address, sizeof(c->address), "%s", jpath_str(j, "address", ""));
	snprintf(c->node_name, sizeof(c->node_name), "%s", jpath_str(j, "nodeName", ""));
	snprintf(c->pod_cidr, sizeof(c->pod_cidr), "%s", jpath_str(j, "podCIDR", ""));
	snprintf(c->engine, sizeof(c->engine), "%s", jpath_str(j, "engine", ""));
	snprintf(c->store, sizeof(c->store), "%s", jpath_str(j, "store", ""));
	snprintf(c->templates, sizeof(c->templates), "%s", jpath_str(j, "templates", ""));
	c->api_port = (uint16_t)jpath_int(j, "apiPort", 0);
	c->kubelet_port = (uint16_t)jpath_int(j, "kubeletPort", 0);
	c->memory_mib = (unsigned)jpath_int(j, "memoryMiB", 0);
}

static json_t *to_json(const char *root, const struct cluster *c)
{
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:s}", "version", 1, "root", root, "tag", c->tag, "address",
			 c->address, "nodeName", c->node_name, "podCIDR", c->pod_cidr, "engine", c->engine, "templates", c->templates,
			 "apiPort", c->api_port, "kubeletPort", c->kubelet_port, "memoryMiB", (int)c->memory_mib, "store", c->store);
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

static bool port_free(const char *address, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	own_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return inet_pton(AF_INET, address, &a.sin_addr) == 1 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* Is this value of this key claimed by another root? */
static bool claimed(const char *root, const char *key, const char *text, int number)
{
	own_dir DIR *d = opendir(CLAIMS);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		char path[4096];
		snprintf(path, sizeof(path), CLAIMS "/%s", ent->d_name);
		own_json json_t *j = ent->d_name[0] == '.' ? NULL : read_json(path);
		if (!j || !strcmp(jpath_str(j, "root", ""), root))
			continue;
		if (text ? !strcmp(jpath_str(j, key, ""), text) : jpath_int(j, key, 0) == number)
			return true;
	}
	return false;
}

static uint16_t pick_port(const char *root, const char *key, const char *address, unsigned first)
{
	for (unsigned port = first; port < first + 1000; port++)
		if (!claimed(root, key, NULL, (int)port) && port_free(address, (uint16_t)port))
			return (uint16_t)port;
	return 0;
}

/* Does any route of this machine reach into 10.A.B.0/24? */
static bool range_in_use(unsigned a, unsigned b)
{
	own_file FILE *f = fopen("/proc/net/route", "re");
	char line[512];
	uint32_t want = (10u << 24) | (a << 16) | (b << 8);
	while (f && fgets(line, sizeof(line), f)) {
		unsigned dest, mask;
		if (sscanf(line, "%*s %x %*x %*x %*d %*d %*d %x", &dest, &mask) != 2 || !mask)
			continue;
		uint32_t m = ntohl(mask) & 0xffffff00u;
		if ((ntohl(dest) & m) == (want & m))
			return true;
	}
	return false;
}

static int choose_missing(const char *root, struct cluster *c, struct err *e)
{
	if (!c->tag[0])
		snprintf(c->tag, sizeof(c->tag), "%06x", hash(root) & 0xffffff);
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
	if (!c->api_port && !(c->api_port = pick_port(root, "apiPort", c->address, 6443)))
		return err_set(e, EADDRINUSE, "no free port from 6443 on at %s: name one with --port", c->address);
	if (!c->kubelet_port && !(c->kubelet_port = pick_port(root, "kubeletPort", c->address, 10250)))
		return err_set(e, EADDRINUSE, "no free port from 10250 on at %s", c->address);
	for (unsigned n = RANGE_FIRST; n < RANGE_END && !c->pod_cidr[0]; n++) {
		char cidr[32];
		snprintf(cidr, sizeof(cidr), "10.%u.%u.0/24", n >> 8, n & 255);
		if (!claimed(root, "podCIDR", cidr, 0) && !range_in_use(n >> 8, n & 255))
			strcpy(c->pod_cidr, cidr);
	}
	return c->pod_cidr[0] ? 0 : err_set(e, EADDRINUSE, "no free range from 10.88.0.0 to 10.127.255.0 for pods");
}

int cluster_choose(const char *root, const struct cluster *wish, struct cluster *out, struct err *e)
{
	struct cluster c = {0};
	char path[4096];
	if (strlen(root) > ROOT_MAX)
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
	if (wish->store[0])
		strcpy(c.store, wish->store);
	if (wish->templates[0])
		strcpy(c.templates, wish->templates);
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
