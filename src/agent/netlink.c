// SPDX-License-Identifier: Apache-2.0
// rtnetlink; see netlink.h. One request at a time, each acknowledged by the kernel.
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"

struct request {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		struct rtmsg route;
	};
	char attrs[256];
};

struct ip { int family; unsigned bits; uint8_t bytes[16]; };

static int parse_ip(const char *text, struct ip *ip, struct err *e)
{
	if (inet_pton(AF_INET, text, ip->bytes) == 1)
		ip->family = AF_INET, ip->bits = 32;
	else if (inet_pton(AF_INET6, text, ip->bytes) == 1)
		ip->family = AF_INET6, ip->bits = 128;
	else
		return err_set(e, EINVAL, "'%s' is not an IP address", text);
	return 0;
}

static int parse_mac(const char *text, uint8_t mac[6], struct err *e)
{
	unsigned b[6];
	char rest;
	if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", b, b + 1, b + 2, b + 3, b + 4, b + 5, &rest) != 6)
		return err_set(e, EINVAL, "'%s' is not a MAC address", text);
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	if (mac[0] & 1)
		return err_set(e, EINVAL, "MAC address %s is a multicast address", text);
	return 0;
}

static void request_init(struct request *r, uint16_t type, uint16_t flags, size_t body)
{
	memset(r, 0, sizeof(*r));
	r->head = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(body), .nlmsg_type = type,
				    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags, .nlmsg_seq = 1};
}

static void attr(struct request *r, uint16_t type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len));
	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
}

/* 0 or -errno as the kernel answered. */
static int transact(int fd, const struct request *r)
{
	char reply[4096];
	if (send(fd, r, r->head.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t n = recv(fd, reply, sizeof(reply), 0);
	if (n < 0)
		return -errno;
	const struct nlmsghdr *h = (const struct nlmsghdr *)reply;
	if (!NLMSG_OK(h, (size_t)n) || h->nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static bool has_mac(const char *name, const uint8_t mac[6])
{
	struct ifreq ifr = {0};
	own_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return fd >= 0 && !ioctl(fd, SIOCGIFHWADDR, &ifr) && ifr.ifr_hwaddr.sa_family == ARPHRD_ETHER &&
	       !memcmp(ifr.ifr_hwaddr.sa_data, mac, 6);
}

static int find_interface(const char *name, const uint8_t mac[6], struct err *e)
{
	struct if_nameindex *all = if_nameindex();
	int same_mac = 0, same_name = 0, only = 0, count = 0;
	if (!all)
		return err_sys(e, errno, "list the network interfaces");
	for (struct if_nameindex *i = all; i->if_name; i++) {
		if (!strcmp(i->if_name, "lo"))
			continue;
		if (has_mac(i->if_name, mac))
			same_mac = (int)i->if_index;
		if (!strcmp(i->if_name, name))
			same_name = (int)i->if_index;
		only = (int)i->if_index;
		count++;
	}
	if_freenameindex(all);
	int index = same_mac ? same_mac : same_name ? same_name : count == 1 ? only : 0;
	return index ? index : err_set(e, ENODEV, "the VM has no network interface '%s'", name);
}

static int set_link(int fd, int index, const Bulkhead__Agent__Interface *i, const uint8_t mac[6], struct err *e)
{
	struct request r;
	char now[IF_NAMESIZE] = "";
	bool rename = !if_indextoname((unsigned)index, now) || strcmp(now, i->name);
	bool move = !has_mac(now, mac);
	request_init(&r, RTM_NEWLINK, 0, sizeof(r.link));
	r.link.ifi_index = index;
	if (rename || move) {   // neither may change while the interface is up
		r.link.ifi_change = IFF_UP;
		transact(fd, &r);
	}
	if (rename)
		attr(&r, IFLA_IFNAME, i->name, strlen(i->name) + 1);
	if (move)
		attr(&r, IFLA_ADDRESS, mac, 6);
	if (i->mtu)
		attr(&r, IFLA_MTU, &i->mtu, sizeof(i->mtu));
	r.link.ifi_flags = r.link.ifi_change = IFF_UP;
	int rc = transact(fd, &r);
	return rc ? err_sys(e, -rc, "set up interface %s", i->name) : 0;
}

static int add_address(int fd, int index, const Bulkhead__Agent__Address *a, struct err *e)
{
	struct request r;
	struct ip ip;
	int rc = parse_ip(a->address, &ip, e);
	if (rc)
		return rc;
	if (a->prefix_len > ip.bits)
		return err_set(e, EINVAL, "prefix length %u of %s is above %u", a->prefix_len, a->address, ip.bits);
	request_init(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(r.addr));
	r.addr = (struct ifaddrmsg){.ifa_family = (uint8_t)ip.family, .ifa_prefixlen = (uint8_t)a->prefix_len,
				    .ifa_index = (unsigned)index, .ifa_flags = ip.family == AF_INET6 ? IFA_F_NODAD : 0};
	attr(&r, IFA_LOCAL, ip.bytes, ip.bits / 8);
	attr(&r, IFA_ADDRESS, ip.bytes, ip.bits / 8);
	rc = transact(fd, &r);
	return rc ? err_sys(e, -rc, "add address %s/%u", a->address, a->prefix_len) : 0;
}

static int add_route(int fd, int index, const Bulkhead__Agent__Route *route, struct err *e)
{
	struct request r;
	struct ip to = {0}, via = {0};
	bool any = !*route->destination;
	int rc = any ? 0 : parse_ip(route->destination, &to, e);
	if (!rc && *route->gateway)
		rc = parse_ip(route->gateway, &via, e);
	if (rc)
		return rc;
	int family = any ? via.family : to.family;
	if (!family || (!any && via.family && via.family != to.family) || (!any && route->prefix_len > to.bits))
		return err_set(e, EINVAL, "route to '%s/%u' by '%s' makes no sense", route->destination, route->prefix_len,
			       route->gateway);
	request_init(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(r.route));
	r.route = (struct rtmsg){.rtm_family = (uint8_t)family, .rtm_dst_len = any ? 0 : (uint8_t)route->prefix_len,
				 .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST,
				 .rtm_scope = via.family ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK};
	if (!any)
		attr(&r, RTA_DST, to.bytes, to.bits / 8);
	if (via.family)
		attr(&r, RTA_GATEWAY, via.bytes, via.bits / 8);
	attr(&r, RTA_OIF, &index, sizeof(index));
	rc = transact(fd, &r);
	return rc ? err_sys(e, -rc, "add route to '%s/%u' by '%s'", route->destination, route->prefix_len, route->gateway) : 0;
}

int netlink_set_interface(const Bulkhead__Agent__Interface *i, struct err *e)
{
	uint8_t mac[6];
	if (!*i->name || strlen(i->name) >= IF_NAMESIZE || strchr(i->name, '/'))
		return err_set(e, EINVAL, "'%s' is not an interface name", i->name);
	int rc = parse_mac(i->mac, mac, e);
	if (rc)
		return rc;
	own_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return err_sys(e, errno, "open a netlink socket");
	int index = find_interface(i->name, mac, e);
	if (index < 0)
		return index;
	rc = set_link(fd, index, i, mac, e);
	for (size_t n = 0; !rc && n < i->n_addresses; n++)
		rc = add_address(fd, index, i->addresses[n], e);
	for (size_t n = 0; !rc && n < i->n_routes; n++)
		rc = add_route(fd, index, i->routes[n], e);
	return rc;
}
