// SPDX-License-Identifier: Apache-2.0
// Firewall and routing; see netw_rules.h. Our own rules are one nft table per cluster, replaced as a whole. Only where
// the host's FORWARD policy is DROP (Docker sets it), two iptables rules let the bridge through: a table of ours could
// not overrule a drop in another.
#include "netw_rules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/own.h"
#include "base/proc.h"

#define FORWARD_SYSCTL "/proc/sys/net/ipv4/ip_forward"

static int nft(const char *script, struct err *e)
{
	struct proc_opts o = {.input = script, .input_len = strlen(script), .timeout_ms = 20000};
	return proc_check((const char *[]){"nft", "-f", "-", NULL}, &o, NULL, e);
}

static int iptables(const char *const argv[], struct buf *out, struct err *e)
{
	struct proc_opts o = {.timeout_ms = 20000};
	return proc_check(argv, &o, out, e);
}

/* Add (or remove) the pair of rules that lets the bridge through a FORWARD chain which drops. */
static void forward_rules(const char *bridge, bool add)
{
	for (int i = 0; i < 2; i++) {
		const char *side = i ? "-o" : "-i";
		const char *check[] = {"iptables", "-w", "-C", "FORWARD", side, bridge, "-j", "ACCEPT", NULL};
		const char *change[] = {"iptables", "-w", add ? "-I" : "-D", "FORWARD", side, bridge, "-j", "ACCEPT", NULL};
		bool there = !iptables(check, NULL, NULL);
		struct err e = ERR_INIT;
		if (there != add && iptables(change, NULL, &e))
			log_warn("net", "FORWARD rules of %s: %s", bridge, e.text);
	}
}

static bool forward_drops(void)
{
	own_buf struct buf rules = BUF_INIT;
	return !iptables((const char *[]){"iptables", "-w", "-S", "FORWARD", NULL}, &rules, NULL) && rules.data &&
	       !strncmp(rules.data, "-P FORWARD DROP", 15);
}

int netw_rules_apply(const char *bridge, const char *pod_cidr, const char *cluster_cidr, struct err *e)
{
	own_buf struct buf script = BUF_INIT;
	if (buf_printf(&script, "table ip %s\ndelete table ip %s\ntable ip %s {\n"
		       "\tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
		       "\t\tip saddr %s ip daddr != { %s, 224.0.0.0/4 } masquerade\n\t}\n}\n",
		       bridge, bridge, bridge, pod_cidr, cluster_cidr))
		return err_sys(e, ENOMEM, "masquerading");
	int rc = nft(script.data, e);
	if (rc) {
		err_wrap(e, "masquerading for %s", pod_cidr);
		return rc;
	}
	if (forward_drops())
		forward_rules(bridge, true);
	return 0;
}

int netw_rules_forwarding(struct err *e)
{
	own_buf struct buf now = BUF_INIT;
	int rc = file_read(FORWARD_SYSCTL, 16, &now, e);
	if (rc || (now.data && now.data[0] == '1'))
		return rc;
	FILE *f = fopen(FORWARD_SYSCTL, "we");
	if (!f || fputs("1\n", f) < 0 || fclose(f))
		return err_sys(e, errno, "turn on IPv4 forwarding (%s)", FORWARD_SYSCTL);
	log_info("net", "turned on IPv4 forwarding (net.ipv4.ip_forward=1): pods need it to reach other hosts");
	return 0;
}

/* The next line of text into line, cut at size. Returns what follows, NULL at the end. */
static const char *next_line(const char *text, char *line, size_t size)
{
	size_t len = strcspn(text, "\n");
	if (!*text)
		return NULL;
	snprintf(line, size, "%.*s", (int)(len < size ? len : size - 1), text);
	return text + len + (text[len] == '\n');
}

char *netw_rules_portmap_cleanup(const char *rules)
{
	static const char *const chains[] = {"CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK"};
	own_buf struct buf out = BUF_INIT, drop = BUF_INIT;
	char line[1024], name[64];
	int rc = buf_puts(&out, "*nat\n");
	for (const char *p = rules; (p = next_line(p, line, sizeof(line))); ) {
		for (size_t i = 0; i < sizeof(chains) / sizeof(*chains); i++) {
			snprintf(name, sizeof(name), "-j %s", chains[i]);
			if (!strncmp(line, "-A CNI-HOSTPORT-DNAT ", 21))
				return NULL;   // a pod of somebody has a port
			if (!strncmp(line, "-A ", 3) && strncmp(line, "-A CNI-", 7) && strstr(line, name))
				rc |= buf_printf(&out, "-D %s\n", line + 3);
			snprintf(name, sizeof(name), "-N %s", chains[i]);
			if (!strcmp(line, name))   // portmap's DNAT chain is empty; -X refuses if that has changed meanwhile
				rc |= buf_printf(&drop, "%s%s%s-X %s\n", i ? "-F " : "", i ? chains[i] : "", i ? "\n" : "", chains[i]);
		}
	}
	if (rc || !drop.len || buf_printf(&out, "%sCOMMIT\n", drop.data))
		return NULL;
	return buf_take(&out);
}

/* An empty nat table that only iptables' base chains are in: as if it had never been used. */
static void drop_empty_table(const char *program, const char *family)
{
	own_buf struct buf rules = BUF_INIT;
	if (iptables((const char *[]){program, "-w", "-t", "nat", "-S", NULL}, &rules, NULL) || !rules.data)
		return;
	char line[64];
	for (const char *p = rules.data; (p = next_line(p, line, sizeof(line))); )
		if (strncmp(line, "-P ", 3) || !strstr(line, " ACCEPT"))
			return;
	char script[64];
	snprintf(script, sizeof(script), "table %s nat\ndelete table %s nat\n", family, family);
	nft(script, NULL);
}

static void portmap_cleanup(void)
{
	own_buf struct buf rules = BUF_INIT;
	struct err e = ERR_INIT;
	if (iptables((const char *[]){"iptables", "-w", "-t", "nat", "-S", NULL}, &rules, NULL) || !rules.data)
		return;
	own_free char *lines = netw_rules_portmap_cleanup(rules.data);
	if (!lines)
		return;
	struct proc_opts o = {.input = lines, .input_len = strlen(lines), .timeout_ms = 20000};
	if (proc_check((const char *[]){"iptables-restore", "-w", "--noflush", NULL}, &o, NULL, &e))
		log_warn("net", "chains of CNI portmap stay behind: %s", e.text);
	drop_empty_table("iptables", "ip");
	drop_empty_table("ip6tables", "ip6");
}

int netw_rules_remove(const char *bridge, struct err *e)
{
	char script[100];
	snprintf(script, sizeof(script), "table ip %s\ndelete table ip %s\n", bridge, bridge);
	int rc = nft(script, e);
	if (forward_drops())
		forward_rules(bridge, false);
	portmap_cleanup();
	return rc;
}
