// SPDX-License-Identifier: Apache-2.0
// CNI plug-ins; see netw_cni.h. Source: CNI specification 1.0.0, sections 2 (execution) and 3 (attachments).
#include "netw_cni.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/jpath.h"
#include "base/own.h"
#include "base/proc.h"

#define PLUGIN_TIMEOUT_MS 60000

json_t *cni_default_list(const char *name, const char *pod_cidr, const char *lease_dir)
{
	/* Masquerading is one rule for all pods (netw_rules.c): the bridge plug-in would make a chain per pod. */
	return json_pack("{s:s, s:s, s:["
			 "{s:s, s:s, s:b, s:b, s:b, s:{s:s, s:s, s:[[{s:s}]], s:[{s:s}]}},"
			 "{s:s, s:b, s:{s:b}}, {s:s, s:{s:b}}]}",
			 "cniVersion", "1.0.0", "name", name, "plugins",
			 "type", "bridge", "bridge", name, "isGateway", 1, "ipMasq", 0, "hairpinMode", 1,
			 "ipam", "type", "host-local", "dataDir", lease_dir, "ranges", "subnet", pod_cidr, "routes", "dst", "0.0.0.0/0",
			 "type", "portmap", "snat", 1, "capabilities", "portMappings", 1,
			 "type", "bandwidth", "capabilities", "bandwidth", 1);
}

static bool plain_name(const char *s)
{
	return *s && *s != '.' && !strchr(s, '/') && strlen(s) < 64;
}

int cni_check_list(const json_t *list, struct err *e)
{
	const char *version = jpath_str(list, "cniVersion", "");
	const json_t *plugins = json_object_get(list, "plugins");
	if (strcmp(version, "0.4.0") && strcmp(version, "1.0.0"))
		return err_set(e, EINVAL, "CNI configuration: cniVersion is \"%.40s\"; 0.4.0 and 1.0.0 are understood", version);
	if (!plain_name(jpath_str(list, "name", "")))
		return err_set(e, EINVAL, "CNI configuration: \"name\" is missing or has a slash in it");
	if (!json_array_size(plugins))
		return err_set(e, EINVAL, "CNI configuration: \"plugins\" must be a list of at least one; a single plug-in's file must be "
			       "made a list (.conflist)");
	size_t i;
	json_t *p;
	json_array_foreach(plugins, i, p)
		if (!plain_name(jpath_str(p, "type", "")))
			return err_set(e, EINVAL, "CNI configuration: plugins[%zu] has no \"type\" that names a program", i);
	return 0;
}

int cni_check_plugins(const json_t *list, const char *bin, struct err *e)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(list, "plugins"), i, p) {
		const char *types[] = {jpath_str(p, "type", ""), jpath_str(p, "ipam.type", NULL)};
		for (size_t k = 0; k < 2 && types[k]; k++) {
			own_free char *path = NULL;
			if (!plain_name(types[k]) || asprintf(&path, "%s/%s", bin, types[k]) < 0 || access(path, X_OK))
				return err_set(e, ENOENT, "CNI plug-in \"%s\" is not in %s; Debian has it in containernetworking-plugins",
					       types[k], bin);
		}
	}
	return 0;
}

json_t *cni_runtime(const struct netw_pod_spec *p)
{
	own_json json_t *out = json_object();
	json_t *ports = json_array();
	for (size_t i = 0; i < p->ports_count; i++) {
		const struct netw_port *t = &p->ports[i];
		json_t *port = json_pack("{s:i, s:i, s:s}", "hostPort", t->host_port, "containerPort", t->container_port, "protocol", t->protocol);
		if (*t->host_ip)
			json_object_set_new(port, "hostIP", json_string(t->host_ip));
		json_array_append_new(ports, port);
	}
	if (json_array_size(ports) != p->ports_count || (p->ports_count && json_object_set(out, "portMappings", ports))) {
		json_decref(ports);
		return NULL;
	}
	json_decref(ports);
	json_t *limits = json_object();
	const json_int_t burst = 0x7fffffff;   // bits; no limit of its own
	if (p->ingress_bps)
		json_object_update_new(limits, json_pack("{s:I, s:I}", "ingressRate", (json_int_t)p->ingress_bps, "ingressBurst", burst));
	if (p->egress_bps)
		json_object_update_new(limits, json_pack("{s:I, s:I}", "egressRate", (json_int_t)p->egress_bps, "egressBurst", burst));
	if (json_object_size(limits))
		json_object_set(out, "bandwidth", limits);
	json_decref(limits);
	return out ? json_incref(out) : NULL;
}

/* What of runtime this plug-in's capabilities ask for. New reference. */
static json_t *runtime_for(const json_t *plugin, const json_t *runtime)
{
	json_t *out = json_object();
	const char *key;
	json_t *wanted;
	json_object_foreach(json_object_get(plugin, "capabilities"), key, wanted)
		if (json_is_true(wanted) && json_object_get(runtime, key))
			json_object_set(out, key, json_object_get(runtime, key));
	return out;
}

/* These two do nothing but what their capability tells them: without it, do not run them at all. */
static bool idle(const json_t *plugin, const json_t *runtime)
{
	const char *type = jpath_str(plugin, "type", "");
	return (!strcmp(type, "portmap") || !strcmp(type, "bandwidth")) && !json_object_size(runtime);
}

static char *plugin_input(const struct cni_run *r, const json_t *plugin, const json_t *runtime, const json_t *previous)
{
	own_json json_t *in = json_deep_copy(plugin);
	if (!in || json_object_set(in, "cniVersion", json_object_get(r->list, "cniVersion")) ||
	    json_object_set(in, "name", json_object_get(r->list, "name")) ||
	    (json_object_size(runtime) && json_object_set(in, "runtimeConfig", (json_t *)runtime)) ||
	    (previous && json_object_set(in, "prevResult", (json_t *)previous)))
		return NULL;
	return json_dumps(in, JSON_COMPACT);
}

static int plugin_error(const char *type, const char *command, int code, const struct buf *out, const struct buf *errout, struct err *e)
{
	own_json json_t *why = json_loadb(out->data ? out->data : "", out->len, 0, NULL);
	const char *msg = jpath_str(why, "msg", NULL), *details = jpath_str(why, "details", "");
	char last[200];
	snprintf(last, sizeof(last), "exit code %d: %s", code, errout->data ? errout->data : "no output");
	last[strcspn(last, "\n")] = '\0';
	return err_set(e, EIO, "plugin type=\"%s\" failed (%s): %s%s%s", type, command, msg ? msg : last, *details ? "; " : "", details);
}

/* Run one plug-in. result: new reference (may be NULL: not wanted). */
static int plugin_run(const struct cni_run *r, const json_t *plugin, const char *command, const json_t *previous,
		      json_t **result, struct err *e)
{
	const char *type = jpath_str(plugin, "type", "");
	own_json json_t *runtime = runtime_for(plugin, r->runtime);
	if (idle(plugin, runtime))
		return 0;
	own_free char *input = plugin_input(r, plugin, runtime, previous), *path = NULL;
	char env[6][512];
	int n[] = {snprintf(env[0], 512, "CNI_COMMAND=%s", !strcmp(command, "add") ? "ADD" : "DEL"),
		   snprintf(env[1], 512, "CNI_CONTAINERID=%s", r->container_id), snprintf(env[2], 512, "CNI_NETNS=%s", r->netns),
		   snprintf(env[3], 512, "CNI_IFNAME=%s", r->ifname), snprintf(env[4], 512, "CNI_ARGS=%s", r->args),
		   snprintf(env[5], 512, "CNI_PATH=%s", r->bin)};
	for (size_t i = 0; i < 6; i++)
		if (n[i] >= 512)
			return err_set(e, EINVAL, "plugin type=\"%s\": its environment would be too long", type);
	if (!input || asprintf(&path, "%s/%s", r->bin, type) < 0)
		return err_sys(e, ENOMEM, "plugin type=\"%s\"", type);
	struct proc_opts o = {.env = (const char *[]){env[0], env[1], env[2], env[3], env[4], env[5], NULL},
			      .input = input, .input_len = strlen(input), .timeout_ms = PLUGIN_TIMEOUT_MS};
	own_buf struct buf out = BUF_INIT, errout = BUF_INIT;
	int rc = proc_run((const char *[]){path, NULL}, &o, &out, &errout, e);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return plugin_error(type, command, rc, &out, &errout, e);
	if (!result)
		return 0;
	json_t *got = json_loadb(out.data ? out.data : "", out.len, 0, NULL);
	if (!json_is_object(got)) {
		json_decref(got);
		return err_set(e, EIO, "plugin type=\"%s\" failed (add): it printed no JSON object", type);
	}
	json_decref(*result);
	*result = got;
	return 0;
}

int cni_add(const struct cni_run *r, json_t **result, struct err *e)
{
	own_json json_t *so_far = NULL;
	size_t i;
	json_t *plugin;
	json_array_foreach(json_object_get(r->list, "plugins"), i, plugin) {
		int rc = plugin_run(r, plugin, "add", so_far, &so_far, e);
		if (rc)
			return rc;
	}
	if (!so_far)
		return err_set(e, EIO, "CNI configuration: no plug-in made an interface");
	*result = json_incref(so_far);
	return 0;
}

int cni_del(const struct cni_run *r, const json_t *result, struct err *e)
{
	const json_t *plugins = json_object_get(r->list, "plugins");
	int rc = 0;
	for (size_t i = json_array_size(plugins); i-- > 0; ) {
		int one = plugin_run(r, json_array_get(plugins, i), "delete", result, NULL, e);
		rc = one ? one : rc;
	}
	return rc;
}

/* "10.88.0.5/24" */
static int read_address(const json_t *ip, struct netw_addr *a, struct err *e)
{
	const char *text = jpath_str(ip, "address", ""), *gateway = jpath_str(ip, "gateway", "");
	const char *slash = strchr(text, '/');
	unsigned char raw[16];
	size_t len = slash ? (size_t)(slash - text) : 0;
	char *end = "x";
	unsigned long prefix = slash ? strtoul(slash + 1, &end, 10) : 0;
	if (!len || len >= sizeof(a->address) || *end || end == slash + 1)
		return err_set(e, EINVAL, "CNI result: \"%.60s\" is no address with prefix", text);
	memcpy(a->address, text, len);
	a->address[len] = '\0';
	bool v6 = strchr(a->address, ':');
	if (inet_pton(v6 ? AF_INET6 : AF_INET, a->address, raw) != 1 || prefix > (v6 ? 128 : 32) ||
	    (*gateway && inet_pton(v6 ? AF_INET6 : AF_INET, gateway, raw) != 1))
		return err_set(e, EINVAL, "CNI result: \"%.60s\" via \"%.60s\" is no address with prefix and gateway", text, gateway);
	a->prefix_len = (unsigned)prefix;
	snprintf(a->gateway, sizeof(a->gateway), "%s", gateway);
	return 0;
}

int cni_addresses(const json_t *result, const char *ifname, struct netw_pod *out, struct err *e)
{
	const json_t *interfaces = json_object_get(result, "interfaces");
	struct netw_pod p = *out;
	size_t i;
	json_t *ip;
	p.addrs_count = 0;
	json_array_foreach(json_object_get(result, "ips"), i, ip) {
		long long at = jpath_int(ip, "interface", -1);
		const char *name = at < 0 ? ifname : jpath_str(json_array_get(interfaces, (size_t)at), "name", "");
		if (strcmp(name, ifname))
			continue;
		if (p.addrs_count == sizeof(p.addrs) / sizeof(*p.addrs))
			return err_set(e, EINVAL, "CNI result: more than %zu addresses", p.addrs_count);
		int rc = read_address(ip, &p.addrs[p.addrs_count], e);
		if (rc)
			return rc;
		p.addrs_count++;
	}
	if (!p.addrs_count)
		return err_set(e, EINVAL, "CNI result: no address for %s", ifname);
	*out = p;
	return 0;
}
