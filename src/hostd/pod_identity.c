// SPDX-License-Identifier: Apache-2.0
// What makes a booted guest this pod: host name, addresses, resolver, hosts file, clock, entropy, sysctls. Sent to the agent
// in one request that can be repeated.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "pod.h"

static char *host_resolv_conf(void)
{
	static const char *const paths[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
	struct buf text = BUF_INIT;
	for (size_t i = 0; i < 2; i++) {
		buf_fini(&text);
		if (!file_read(paths[i], 65536, &text, NULL) && text.data && !strstr(text.data, "nameserver 127."))
			break;
	}
	return buf_take(&text);
}

static void append_list(struct buf *b, const char *word, const json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)list, i, v)
		buf_printf(b, "%s %s\n", word, json_string_value(v) ? json_string_value(v) : "");
}

static char *resolv_conf(const struct pod *p)
{
	const char *policy = jpath_str(p->seen, "spec.dnsPolicy", "ClusterFirst");
	struct buf b = BUF_INIT;
	if (!strncmp(policy, "ClusterFirst", 12) && p->host->cluster_dns)
		buf_printf(&b, "search %s.svc.%s svc.%s %s\nnameserver %s\noptions ndots:5\n", p->ns, p->host->cluster_domain,
			   p->host->cluster_domain, p->host->cluster_domain, p->host->cluster_dns);
	else if (strcmp(policy, "None")) {
		own_free char *host = host_resolv_conf();
		buf_puts(&b, host ? host : "");
		if (b.len && b.data[b.len - 1] != '\n')
			buf_puts(&b, "\n");
	}
	const json_t *config = jpath_get(p->seen, "spec.dnsConfig");
	append_list(&b, "nameserver", jpath_get(config, "nameservers"));
	size_t i;
	json_t *v;
	if (json_array_size(jpath_get(config, "searches"))) {
		buf_puts(&b, "search");
		json_array_foreach(jpath_get(config, "searches"), i, v)
			buf_printf(&b, " %s", json_string_value(v) ? json_string_value(v) : "");
		buf_puts(&b, "\n");
	}
	json_array_foreach(jpath_get(config, "options"), i, v) {
		const char *value = jpath_str(v, "value", NULL);
		buf_printf(&b, "options %s%s%s\n", jpath_str(v, "name", ""), value ? ":" : "", value ? value : "");
	}
	return buf_take(&b);
}

static void names_of(const struct pod *p, char host[64], char domain[300])
{
	const char *hostname = jpath_str(p->seen, "spec.hostname", p->name), *sub = jpath_str(p->seen, "spec.subdomain", NULL);
	snprintf(host, 64, "%.63s", hostname);
	for (size_t n = strlen(host); n && (host[n - 1] == '-' || host[n - 1] == '.'); n--)
		host[n - 1] = '\0';
	domain[0] = '\0';
	if (sub)
		snprintf(domain, 300, "%.63s.%.63s.svc.%.128s", sub, p->ns, p->host->cluster_domain);
}

int pod_hostname(const struct pod *p, char out[65], struct err *e)
{
	char host[64], domain[300];
	names_of(p, host, domain);
	if (!*domain || !jpath_bool(p->seen, "spec.setHostnameAsFQDN", false)) {
		snprintf(out, 65, "%s", host);
		return 0;
	}
	int len = snprintf(out, 65, "%s.%s", host, domain);
	if (len > 64)
		return err_set(e, EINVAL, "failed to construct FQDN from pod hostname and cluster domain, FQDN %s.%s is too long (64 characters is "
					  "the max, %d characters requested)", host, domain, len);
	return 0;
}

static char *hosts_file(const struct pod *p, const char *host, const char *domain)
{
	struct buf b = BUF_INIT;
	buf_puts(&b, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
		     "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
	for (size_t i = 0; i < p->net.addrs_count; i++) {
		if (*domain)
			buf_printf(&b, "%s\t%s.%s\t%s\n", p->net.addrs[i].address, host, domain, host);
		else
			buf_printf(&b, "%s\t%s\n", p->net.addrs[i].address, host);
	}
	size_t i, k;
	json_t *alias, *name;
	json_array_foreach(jpath_get(p->seen, "spec.hostAliases"), i, alias) {
		if (!i)
			buf_puts(&b, "\n# Entries added by HostAliases.\n");
		buf_puts(&b, jpath_str(alias, "ip", ""));
		json_array_foreach(jpath_get(alias, "hostnames"), k, name)
			buf_printf(&b, "\t%s", json_string_value(name) ? json_string_value(name) : "");
		buf_puts(&b, "\n");
	}
	return buf_take(&b);
}

int pod_configure(struct pod *p, struct err *e)
{
	char host[64], domain[300], hostname[65];
	uint8_t entropy[64];
	names_of(p, host, domain);
	int rc = pod_hostname(p, hostname, e);
	if (rc)
		return rc;
	own_free char *resolv = resolv_conf(p), *hosts = hosts_file(p, host, domain);
	if (!resolv || !hosts || getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return err_sys(e, ENOMEM, "configure pod");
	Bulkhead__Agent__Address addr[4], *addr_p[4];
	Bulkhead__Agent__Route route[4], *route_p[4];
	Bulkhead__Agent__Interface eth0 = BULKHEAD__AGENT__INTERFACE__INIT, *interfaces[] = {&eth0};
	eth0.name = "eth0";
	eth0.mac = p->net.mac;
	eth0.mtu = p->net.mtu;
	eth0.addresses = addr_p;
	eth0.routes = route_p;
	for (size_t i = 0; i < p->net.addrs_count; i++) {
		bulkhead__agent__address__init(addr_p[i] = &addr[i]);
		addr[i].address = p->net.addrs[i].address;
		addr[i].prefix_len = p->net.addrs[i].prefix_len;
		eth0.n_addresses++;
		if (!p->net.addrs[i].gateway[0])
			continue;
		size_t r = eth0.n_routes++;
		bulkhead__agent__route__init(route_p[r] = &route[r]);
		route[r].gateway = p->net.addrs[i].gateway;
	}
	Bulkhead__Agent__ConfigurePod cp = BULKHEAD__AGENT__CONFIGURE_POD__INIT;
	cp.pod_uid = p->uid;
	cp.hostname = hostname;
	cp.domainname = domain;
	cp.n_interfaces = p->have_net ? 1 : 0;
	cp.interfaces = interfaces;
	cp.resolv_conf = resolv;
	cp.hosts = hosts;
	cp.clock_real_ns = clock_real_ns();
	cp.entropy.data = entropy;
	cp.entropy.len = sizeof(entropy);
	cp.scratch_serial = POD_SCRATCH_SERIAL;
	cp.share_process_namespace = jpath_bool(p->seen, "spec.shareProcessNamespace", false);
	json_t *list = jpath_get(p->seen, "spec.securityContext.sysctls"), *v;
	Bulkhead__Agent__Sysctl sysctl[32], *sysctl_p[32];
	size_t i;
	json_array_foreach(list, i, v) {
		if (i == 32)
			return err_set(e, EINVAL, "a pod can set 32 sysctls at most");
		bulkhead__agent__sysctl__init(sysctl_p[i] = &sysctl[i]);
		sysctl[i].name = (char *)jpath_str(v, "name", "");
		sysctl[i].value = (char *)jpath_str(v, "value", "");
		cp.n_sysctls = i + 1;
	}
	cp.sysctls = sysctl_p;
	Bulkhead__Agent__Request rq = BULKHEAD__AGENT__REQUEST__INIT;
	rq.what_case = BULKHEAD__AGENT__REQUEST__WHAT_CONFIGURE_POD;
	rq.configure_pod = &cp;
	rc = agent_request(p->agent, &rq, AGENT_ANSWER_MS, NULL, e);
	explicit_bzero(entropy, sizeof(entropy));
	return rc;
}
