// SPDX-License-Identifier: Apache-2.0
#include "hostnet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/own.h"
#include "base/proc.h"

#define FIRST_HOST 10                  // host number n has the address FIRST_HOST + n

static int run(struct err *e, const char *const argv[])
{
	struct proc_opts o = {.timeout_ms = 20000};
	return proc_check(argv, &o, NULL, e);
}
#define IP(e, ...) run(e, (const char *[]){"ip", __VA_ARGS__, NULL})

static uint32_t base_of(const struct cluster *c)
{
	struct cidr range;
	return cidr_parse(c->host_cidr, &range) ? 0 : range.base;
}

void hostnet_host(const char *root, const struct cluster *c, unsigned number, struct hostnet_host *h)
{
	h->number = number;
	snprintf(h->root, sizeof(h->root), "%.100s/hosts/%u", root, number);
	cluster_tag(h->root, h->tag);
	snprintf(h->name, sizeof(h->name), "%s-%u", c->node_name, number);
	snprintf(h->netns, sizeof(h->netns), "bhn-%.7s-%u", c->tag, number);
	cidr_addr_text(base_of(c) + FIRST_HOST + number, h->address);
}

int hostnet_server_address(const struct cluster *c, char out[CIDR_TEXT])
{
	cidr_addr_text(base_of(c) + 1, out);
	return base_of(c) ? 0 : -EINVAL;
}

static int make_bridge(const struct cluster *c, const char *bridge, struct err *e)
{
	char addr[CIDR_TEXT], with[CIDR_TEXT + 4];
	hostnet_server_address(c, addr);
	snprintf(with, sizeof(with), "%s/24", addr);
	int rc = IP(NULL, "link", "show", bridge) ? IP(e, "link", "add", bridge, "type", "bridge") : 0;
	if (!rc)
		rc = IP(e, "address", "replace", with, "dev", bridge);
	return rc ? rc : IP(e, "link", "set", bridge, "up");
}

/* One end of a pair on the bridge, the other as eth0 in the namespace. */
static int make_host(const struct cluster *c, const struct hostnet_host *h, const char *bridge, struct err *e)
{
	char link[16], peer[16], with[CIDR_TEXT + 4], gateway[CIDR_TEXT], path[64];
	snprintf(link, sizeof(link), "bhv%.6s%u", c->tag, h->number);
	snprintf(peer, sizeof(peer), "bhp%.6s%u", c->tag, h->number);
	snprintf(with, sizeof(with), "%s/24", h->address);
	snprintf(path, sizeof(path), "/run/netns/%s", h->netns);
	hostnet_server_address(c, gateway);
	if (!access(path, F_OK) && !IP(NULL, "link", "show", link) && !IP(NULL, "-n", h->netns, "link", "show", "eth0"))
		return 0;
	IP(NULL, "link", "delete", link);
	IP(NULL, "netns", "delete", h->netns);
	int rc = IP(e, "netns", "add", h->netns);
	if (!rc)
		rc = IP(e, "link", "add", link, "type", "veth", "peer", "name", peer);
	if (!rc)
		rc = IP(e, "link", "set", peer, "netns", h->netns, "name", "eth0");
	if (!rc)
		rc = IP(e, "link", "set", link, "master", bridge, "up");
	if (!rc)
		rc = IP(e, "-n", h->netns, "link", "set", "lo", "up");
	if (!rc)
		rc = IP(e, "-n", h->netns, "address", "add", with, "dev", "eth0");
	if (!rc)
		rc = IP(e, "-n", h->netns, "link", "set", "eth0", "up");
	return rc ? rc : IP(e, "-n", h->netns, "route", "add", "default", "via", gateway);
}

static int nft(const char *script, struct err *e)
{
	struct proc_opts o = {.input = script, .input_len = strlen(script), .timeout_ms = 20000};
	return proc_check((const char *[]){"nft", "-f", "-", NULL}, &o, NULL, e);
}

static int masquerade(const struct cluster *c, const char *bridge, struct err *e)
{
	own_buf struct buf s = BUF_INIT;
	if (buf_printf(&s, "table ip %s\ndelete table ip %s\ntable ip %s {\n\tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat;\n"
		       "\t\tip saddr %s oifname != \"%s\" masquerade\n\t}\n}\n", bridge, bridge, bridge, c->host_cidr, bridge))
		return err_sys(e, ENOMEM, "network of the hosts");
	return nft(s.data, e);
}

static int forward(struct err *e)
{
	static const char path[] = "/proc/sys/net/ipv4/ip_forward";
	own_buf struct buf now = BUF_INIT;
	if (!file_read(path, 16, &now, NULL) && now.data && now.data[0] == '1')
		return 0;
	FILE *f = fopen(path, "we");
	bool bad = !f || fputs("1\n", f) < 0;
	if (f && fclose(f))
		bad = true;
	return bad ? err_sys(e, errno, "turn on IPv4 forwarding") : 0;
}

int hostnet_make(const char *root, const struct cluster *c, struct err *e)
{
	char bridge[16];
	snprintf(bridge, sizeof(bridge), "bhn-%.7s", c->tag);
	int rc = base_of(c) ? make_bridge(c, bridge, e) : err_set(e, EINVAL, "cluster.json: \"%s\" is no range of hosts", c->host_cidr);
	for (unsigned n = 1; n <= c->hosts && !rc; n++) {
		struct hostnet_host h;
		hostnet_host(root, c, n, &h);
		rc = make_host(c, &h, bridge, e);
	}
	if (!rc)
		rc = masquerade(c, bridge, e);
	return rc ? rc : forward(e);
}

void hostnet_remove(const struct cluster *c)
{
	char bridge[16], script[64], name[32];
	snprintf(bridge, sizeof(bridge), "bhn-%.7s", c->tag);
	for (unsigned n = 1; n <= c->hosts; n++) {
		snprintf(name, sizeof(name), "bhv%.6s%u", c->tag, n);
		IP(NULL, "link", "delete", name);
		snprintf(name, sizeof(name), "bhn-%.7s-%u", c->tag, n);
		IP(NULL, "netns", "delete", name);
	}
	IP(NULL, "link", "delete", bridge);
	snprintf(script, sizeof(script), "table ip %s\ndelete table ip %s\n", bridge, bridge);
	nft(script, NULL);
}
