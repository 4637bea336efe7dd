// SPDX-License-Identifier: Apache-2.0
// Drives the pod network from test scripts:
//   netw_tool ROOT TAG CIDR setup UID [HOSTPORT:PORT/PROTO...]   make it, print it, keep nothing open
//   netw_tool ROOT TAG CIDR guest UID [HOSTPORT:PORT/PROTO...]   the same, then play the guest until killed: answers ARP,
//                                                       ICMP echo, and UDP (returns the datagram) on the TAP
//                                                       (with QUEUES in the environment: on a TAP of so many queues)
//   ... lookup UID | teardown UID | sweep [KEEP...] | purge | bench N
#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "hostd/netw.h"

#define VNET_HDR 10   // what a TAP has unless TUNSETVNETHDRSZ says otherwise

static int fail(int rc, const struct err *e)
{
	fprintf(stderr, "%s: %s\n", strerrorname_np(-rc), e->text);
	return 1;
}

static void show(const struct netw_pod *p)
{
	printf("mac=%s\nmtu=%u\n", p->mac, p->mtu);
	for (size_t i = 0; i < p->addrs_count; i++)
		printf("address=%s/%u\ngateway=%s\n", p->addrs[i].address, p->addrs[i].prefix_len, p->addrs[i].gateway);
	fflush(stdout);
}

static uint16_t checksum(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void swap(void *a, void *b, size_t len)
{
	char t[16];
	memcpy(t, a, len);
	memcpy(a, b, len);
	memcpy(b, t, len);
}

/* Turn the frame into its answer; false: nothing to say. */
static bool answer(char *frame, size_t len, const unsigned char mac[6], uint32_t ip)
{
	struct ether_header *eth = (void *)frame;
	struct ether_arp *arp = (void *)(eth + 1);
	struct iphdr *iph = (void *)(eth + 1);
	memcpy(eth->ether_dhost, eth->ether_shost, 6);
	memcpy(eth->ether_shost, mac, 6);
	if (eth->ether_type == htons(ETHERTYPE_ARP) && len >= sizeof(*eth) + sizeof(*arp)) {
		if (arp->arp_op != htons(ARPOP_REQUEST) || memcmp(arp->arp_tpa, &ip, 4))
			return false;
		arp->arp_op = htons(ARPOP_REPLY);
		memcpy(arp->arp_tha, arp->arp_sha, 6);
		swap(arp->arp_spa, arp->arp_tpa, 4);
		memcpy(arp->arp_sha, mac, 6);
		return true;
	}
	if (eth->ether_type != htons(ETHERTYPE_IP) || len < sizeof(*eth) + sizeof(*iph) + 8 || iph->ihl != 5 || iph->daddr != ip)
		return false;
	size_t body = ntohs(iph->tot_len) - sizeof(*iph);
	if (body > len - sizeof(*eth) - sizeof(*iph))
		return false;
	swap(&iph->saddr, &iph->daddr, 4);
	if (iph->protocol == IPPROTO_ICMP) {
		struct icmphdr *icmp = (void *)(iph + 1);
		if (icmp->type != ICMP_ECHO)
			return false;
		icmp->type = ICMP_ECHOREPLY, icmp->checksum = 0;
		icmp->checksum = checksum(icmp, body);
		return true;
	}
	if (iph->protocol == IPPROTO_UDP) {
		struct udphdr *udp = (void *)(iph + 1);
		swap(&udp->source, &udp->dest, 2);
		udp->check = 0;
		return true;
	}
	return false;
}

static int play_guest(const struct netw_pod *p)
{
	char packet[70000];
	unsigned char mac[6];
	uint32_t ip;
	inet_pton(AF_INET, p->addrs[0].address, &ip);
	sscanf(p->mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]);
	struct pollfd w[NETW_QUEUES_MAX] = {{p->tap_fd, POLLIN, 0}};
	for (unsigned i = 0; i < p->queue_fds; i++)
		w[i + 1] = (struct pollfd){p->queue_fd[i], POLLIN, 0};
	for (unsigned turn = 0;; turn++) {
		poll(w, p->queue_fds + 1, -1);
		int fd = w[turn % (p->queue_fds + 1)].fd;
		ssize_t n = read(fd, packet, sizeof(packet));
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return 1;
		if (n < VNET_HDR + (ssize_t)sizeof(struct ether_header) || !answer(packet + VNET_HDR, (size_t)n - VNET_HDR, mac, ip))
			continue;
		memset(packet, 0, VNET_HDR);
		if (write(fd, packet, (size_t)n) < 0)
			return 1;
	}
}

static size_t parse_ports(char **args, int n, struct netw_port *ports)
{
	size_t k = 0;
	for (int i = 0; i < n && k < 16; i++)
		if (sscanf(args[i], "%hu:%hu/%4s", &ports[k].host_port, &ports[k].container_port, ports[k].protocol) == 3)
			k++;
	return k;
}

static int bench(struct netw *n, int times)
{
	struct err e = ERR_INIT;
	uint64_t up = 0, down = 0;
	for (int i = 0; i < times; i++) {
		char uid[32];
		snprintf(uid, sizeof(uid), "bench-%d", i);
		struct netw_pod_spec s = {.uid = uid, .ns = "default", .name = uid};
		struct netw_pod p;
		uint64_t t0 = clock_mono_ns();
		int rc = netw_setup(n, &s, &p, &e);
		if (rc)
			return fail(rc, &e);
		uint64_t t1 = clock_mono_ns();
		close(p.tap_fd);
		if ((rc = netw_teardown(n, uid, &e)))
			return fail(rc, &e);
		up += t1 - t0, down += clock_mono_ns() - t1;
		printf("setup %.1f ms\n", (double)(t1 - t0) / 1e6);
	}
	printf("mean: setup %.1f ms, teardown %.1f ms\n", (double)up / times / 1e6, (double)down / times / 1e6);
	return 0;
}

static int command(struct netw *n, const char *what, char **args, int argc)
{
	struct err e = ERR_INIT;
	struct netw_pod p;
	struct netw_port ports[16] = {0};
	int rc;
	if (!strcmp(what, "purge"))
		return (rc = netw_purge(n, &e)) ? fail(rc, &e) : 0;
	if (!strcmp(what, "sweep"))
		return printf("%d\n", netw_sweep(n, (const char *const *)args, (size_t)argc)) < 0;
	if (argc < 1)
		return 2;
	if (!strcmp(what, "bench"))
		return bench(n, atoi(args[0]));
	if (!strcmp(what, "teardown"))
		return (rc = netw_teardown(n, args[0], &e)) ? fail(rc, &e) : 0;
	if (!strcmp(what, "lookup")) {
		rc = netw_lookup(n, args[0], &p, &e);
	} else {
		struct netw_pod_spec s = {.uid = args[0], .ns = "default", .name = "test", .ports = ports,
					  .ports_count = parse_ports(args + 1, argc - 1, ports)};
		if (getenv("RATE"))
			s.ingress_bps = s.egress_bps = strtoull(getenv("RATE"), NULL, 10);
		if (getenv("QUEUES"))
			s.queues = (unsigned)atoi(getenv("QUEUES"));
		rc = netw_setup(n, &s, &p, &e);
	}
	if (rc)
		return fail(rc, &e);
	show(&p);
	return !strcmp(what, "guest") ? play_guest(&p) : 0;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct netw *n = NULL;
	log_init("netw_tool");
	if (argc < 5)
		return 2;
	struct netw_config c = {.root = argv[1], .tag = argv[2], .pod_cidr = argv[3], .cni_bin = "/usr/lib/cni", .cni_conf = getenv("CNI_CONF")};
	int rc = netw_open(&c, &n, &e);
	if (rc)
		return fail(rc, &e);
	rc = command(n, argv[4], argv + 5, argc - 5);
	netw_close(n);
	return rc;
}
