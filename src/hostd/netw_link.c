// SPDX-License-Identifier: Apache-2.0
// Links; see netw_link.h. The joint is an ingress qdisc on both ends, with one filter that matches everything and
// redirects it to the other end: no bridge, no address, no queue in between.
#include "netw_link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"

#define TAP_NAME "tap0"

/* A netlink request being written. Every attribute below is of fixed size and fits. */
struct request {
	struct nlmsghdr head;
	char room[1024];
};

static void *put(struct request *r, const void *data, size_t len)
{
	void *at = (char *)r + NLMSG_ALIGN(r->head.nlmsg_len);
	memcpy(at, data, len);
	r->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->head.nlmsg_len) + len);
	return at;
}

static struct rtattr *attribute(struct request *r, unsigned short type, const void *data, size_t len)
{
	struct rtattr a = {.rta_len = (unsigned short)RTA_LENGTH(len), .rta_type = type};
	struct rtattr *at = put(r, &a, sizeof(a));
	if (len)
		put(r, data, len);
	return at;
}

static void end_nest(struct request *r, struct rtattr *nest)
{
	nest->rta_len = (unsigned short)((char *)r + NLMSG_ALIGN(r->head.nlmsg_len) - (char *)nest);
}

/* Send r and wait for its acknowledgement. 0 or -errno. */
static int send_request(struct request *r)
{
	own_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct { struct nlmsghdr head; struct nlmsgerr err; char rest[2048]; } reply;
	r->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (fd < 0 || send(fd, r, r->head.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t n = recv(fd, &reply, sizeof(reply), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(reply.head) + sizeof(reply.err) || reply.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return reply.err.error;
}

static int ingress_qdisc(int ifindex, bool add)
{
	struct request r = {.head = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = add ? RTM_NEWQDISC : RTM_DELQDISC,
				     .nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0}};
	struct tcmsg t = {.tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex, .tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0),
			  .tcm_parent = TC_H_INGRESS};
	put(&r, &t, sizeof(t));
	attribute(&r, TCA_KIND, "ingress", sizeof("ingress"));
	return send_request(&r);
}

/* tc filter add dev FROM parent ffff: protocol all prio 1 u32 match u8 0 0 action mirred egress redirect dev TO */
static int redirect_filter(int from, int to)
{
	struct request r = {.head = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = RTM_NEWTFILTER, .nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL}};
	struct tcmsg t = {.tcm_family = AF_UNSPEC, .tcm_ifindex = from, .tcm_parent = TC_H_MAKE(TC_H_INGRESS, 0),
			  .tcm_info = TC_H_MAKE(1u << 16, htons(ETH_P_ALL))};
	struct tc_u32_sel match = {.flags = TC_U32_TERMINAL, .nkeys = 1};
	struct tc_u32_key everything = {0};   // mask 0
	struct tc_mirred redirect = {.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to};
	put(&r, &t, sizeof(t));
	attribute(&r, TCA_KIND, "u32", sizeof("u32"));
	struct rtattr *options = attribute(&r, TCA_OPTIONS, NULL, 0);
	struct rtattr *selector = attribute(&r, TCA_U32_SEL, &match, sizeof(match));
	put(&r, &everything, sizeof(everything));   // follows the selector in the same attribute
	end_nest(&r, selector);
	struct rtattr *actions = attribute(&r, TCA_U32_ACT, NULL, 0), *first = attribute(&r, 1, NULL, 0);
	attribute(&r, TCA_ACT_KIND, "mirred", sizeof("mirred"));
	struct rtattr *parameters = attribute(&r, TCA_ACT_OPTIONS, NULL, 0);
	attribute(&r, TCA_MIRRED_PARMS, &redirect, sizeof(redirect));
	end_nest(&r, parameters);
	end_nest(&r, first);
	end_nest(&r, actions);
	end_nest(&r, options);
	return send_request(&r);
}

static int redirect(const char *from, const char *to, struct err *e)
{
	int a = (int)if_nametoindex(from), b = (int)if_nametoindex(to);
	if (!a || !b)
		return err_sys(e, errno, "find %s and %s", from, to);
	int rc = ingress_qdisc(a, false);   // of an earlier TAP
	if (rc && rc != -EINVAL && rc != -ENOENT)
		return err_sys(e, -rc, "remove the ingress qdisc of %s", from);
	rc = ingress_qdisc(a, true);
	if (!rc)
		rc = redirect_filter(a, b);
	return rc ? err_sys(e, -rc, "redirect %s to %s", from, to) : 0;
}

static int link_ioctl(unsigned long what, const char *ifname, struct ifreq *rq)
{
	own_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(rq->ifr_name, sizeof(rq->ifr_name), "%s", ifname);
	return fd < 0 || ioctl(fd, what, rq) ? -errno : 0;
}

int netw_link_up(const char *ifname, struct err *e)
{
	struct ifreq rq = {0};
	int rc = link_ioctl(SIOCGIFFLAGS, ifname, &rq);
	rq.ifr_flags |= IFF_UP;
	if (!rc)
		rc = link_ioctl(SIOCSIFFLAGS, ifname, &rq);
	return rc ? err_sys(e, -rc, "set %s up", ifname) : 0;
}

int netw_link_delete(const char *ifname, struct err *e)
{
	struct request r = {.head = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = RTM_DELLINK}};
	struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(ifname)};
	if (!link.ifi_index)
		return 0;
	put(&r, &link, sizeof(link));
	int rc = send_request(&r);
	return rc && rc != -ENODEV ? err_sys(e, -rc, "delete %s", ifname) : 0;
}

/* Setting the address 0.0.0.0 removes one IPv4 address; the plug-ins may have set several. */
static int drop_addresses(const char *ifname, struct err *e)
{
	int rc = 0;
	char path[100];
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", ifname);
	own_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1\n", 2) != 2)
		return err_sys(e, errno, "remove the IPv6 addresses of %s", ifname);
	for (int i = 0; i < 16 && !rc; i++) {
		struct ifreq rq = {0};
		rc = link_ioctl(SIOCGIFADDR, ifname, &rq);
		if (rc)
			return rc == -EADDRNOTAVAIL ? 0 : err_sys(e, -rc, "read the address of %s", ifname);
		struct sockaddr_in *none = (struct sockaddr_in *)&rq.ifr_addr;
		none->sin_family = AF_INET;
		none->sin_addr.s_addr = 0;
		rc = link_ioctl(SIOCSIFADDR, ifname, &rq);
	}
	return rc ? err_sys(e, -rc, "remove the address of %s", ifname) : err_set(e, E2BIG, "%s has too many addresses", ifname);
}

/* how: IFF_MULTI_QUEUE, and for the first queue IFF_TUN_EXCL: a TAP that is there is held by somebody, -EBUSY. */
static int open_tap(int how, struct err *e)
{
	own_fd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno, "open /dev/net/tun");
	struct ifreq rq = {.ifr_name = TAP_NAME, .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | how)};
	if (ioctl(fd, TUNSETIFF, &rq))
		return err_sys(e, errno, "create the TAP device of a pod");
	return take_fd(fd);
}

void netw_close_taps(struct netw_pod *p)
{
	if (p->tap_fd >= 0)
		close(take_fd(p->tap_fd));
	while (p->queue_fds)
		close(p->queue_fd[--p->queue_fds]);
}

int netw_link_join(const char *ifname, struct netw_nic *out, struct err *e)
{
	struct ifreq mac = {0}, mtu = {0};
	int rc = link_ioctl(SIOCGIFHWADDR, ifname, &mac);
	if (!rc)
		rc = link_ioctl(SIOCGIFMTU, ifname, &mtu);
	if (rc)
		return err_sys(e, -rc, "read MAC and MTU of %s", ifname);
	int several = out->queues > 1 ? IFF_MULTI_QUEUE : 0;
	own_fd int tap = open_tap(several | IFF_TUN_EXCL, e);
	if (tap < 0)
		return tap;
	rc = link_ioctl(SIOCSIFMTU, TAP_NAME, &mtu);
	if (rc)
		return err_sys(e, -rc, "set the MTU of %s", TAP_NAME);
	if ((rc = netw_link_up(TAP_NAME, e)) || (rc = drop_addresses(ifname, e)) ||
	    (rc = redirect(ifname, TAP_NAME, e)) || (rc = redirect(TAP_NAME, ifname, e)))
		return rc;
	struct netw_pod more = {.tap_fd = -1};
	while (more.queue_fds + 1 < out->queues) {
		int fd = open_tap(several, e);
		if (fd < 0) {
			netw_close_taps(&more);
			return fd;
		}
		more.queue_fd[more.queue_fds++] = fd;
	}
	const unsigned char *m = (unsigned char *)mac.ifr_hwaddr.sa_data;
	*out = (struct netw_nic){.queues = out->queues, .queue_fds = more.queue_fds, .mtu = (unsigned)mtu.ifr_mtu, .vnet_hdr = true, .tap_fd = take_fd(tap)};
	memcpy(out->queue_fd, more.queue_fd, sizeof(out->queue_fd));
	snprintf(out->mac, sizeof(out->mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	return 0;
}
