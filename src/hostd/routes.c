// SPDX-License-Identifier: Apache-2.0
// What was made is written to ROOT/net/routes before it is made, one a line, so that it can be removed by whoever comes
// next. A host that cannot be reached directly (behind a router) gets no route here: the router must know the way.
#include "routes.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cidr.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "base/proc.h"
#include "k8s/client.h"
#include "netw.h"

struct routes {
	const struct host *host;
	char *pod_cidr;
	struct k8s_informer *informer;
	json_t *nodes;                 // name -> {cidr, via}; the informer's thread alone uses it
	json_t *made;                  // cidr -> via
};

static int ip_route(const char *verb, const char *cidr, const char *via, struct err *e)
{
	struct proc_opts o = {.timeout_ms = 10000};
	const char *argv[] = {"ip", "route", verb, cidr, "via", via, NULL};
	return proc_check(argv, &o, NULL, e);
}

static void path_of(const char *root, char out[4096])
{
	snprintf(out, 4096, "%s/net/routes", root);
}

static int remember(const struct routes *r, const json_t *routes)
{
	own_buf struct buf text = BUF_INIT;
	char path[4096];
	const char *cidr;
	json_t *via;
	int rc = buf_puts(&text, "");
	json_object_foreach((json_t *)routes, cidr, via)
		rc |= buf_printf(&text, "%s %s\n", cidr, json_string_value(via));
	path_of(r->host->root, path);
	return rc ? -ENOMEM : file_write_atomic(path, text.data ? text.data : "", text.len, 0644, NULL);
}

/* Exactly these from now on. */
static void set_routes(struct routes *r, json_t *want)
{
	own_json json_t *both = json_deep_copy(r->made);
	struct err e = ERR_INIT;
	const char *cidr;
	json_t *via;
	json_object_foreach(want, cidr, via)
		if (!json_object_get(both, cidr))
			json_object_set(both, cidr, via);
	remember(r, both);
	json_object_foreach(r->made, cidr, via)
		if (!json_object_get(want, cidr) && ip_route("del", cidr, json_string_value(via), &e))
			log_warn("routes", "%s: %s", cidr, e.text);
	json_object_foreach(want, cidr, via)
		if (!json_equal(json_object_get(r->made, cidr), via) && ip_route("replace", cidr, json_string_value(via), &e))
			log_warn("routes", "pods of %s cannot be reached through %s: %s", cidr, json_string_value(via), e.text);
	json_decref(r->made);
	r->made = json_incref(want);
	remember(r, want);
}

static void apply(struct routes *r)
{
	own_json json_t *want = json_object();
	own_buf struct buf all = BUF_INIT;
	const char *name;
	json_t *n;
	struct err e = ERR_INIT;
	buf_puts(&all, r->pod_cidr);
	json_object_foreach(r->nodes, name, n) {
		const char *cidr = jpath_str(n, "cidr", "");
		if (!strcmp(name, r->host->node_name) || !strcmp(cidr, r->pod_cidr))
			continue;
		buf_printf(&all, ", %s", cidr);
		if (strcmp(jpath_str(n, "via", ""), r->host->node_addr))
			json_object_set_new(want, cidr, json_string(jpath_str(n, "via", "")));
	}
	if (!json_equal(want, r->made))
		set_routes(r, want);
	if (netw_set_cluster(r->host->net, all.data, &e))
		log_warn("routes", "%s", e.text);
}

static void note(struct routes *r, const json_t *node)
{
	const char *name = jpath_str(node, "metadata.name", ""), *cidr = jpath_str(node, "spec.podCIDR", ""), *via = "";
	struct cidr c;
	uint32_t addr;
	size_t i;
	json_t *a;
	json_array_foreach(jpath_get(node, "status.addresses"), i, a)
		if (!strcmp(jpath_str(a, "type", ""), "InternalIP") && cidr_addr(jpath_str(a, "address", ""), &addr)) {
			via = jpath_str(a, "address", "");
			break;
		}
	if (cidr_parse(cidr, &c) || c.prefix < 8 || !*via)
		json_object_del(r->nodes, name);
	else
		json_object_set_new(r->nodes, name, json_pack("{s:s, s:s}", "cidr", cidr, "via", via));
}

static void on_sync(void *user, json_t *items)
{
	struct routes *r = user;
	size_t i;
	json_t *node;
	json_object_clear(r->nodes);
	json_array_foreach(items, i, node)
		note(r, node);
	apply(r);
}

static void on_event(void *user, const char *type, json_t *node)
{
	struct routes *r = user;
	own_json json_t *before = json_deep_copy(r->nodes);
	if (!strcmp(type, "DELETED"))
		json_object_del(r->nodes, jpath_str(node, "metadata.name", ""));
	else
		note(r, node);
	if (!json_equal(before, r->nodes))
		apply(r);
}

static const struct k8s_informer_ops informer_ops = {.on_sync = on_sync, .on_event = on_event};

/* What an earlier process has made. */
static json_t *load(const char *root)
{
	own_buf struct buf text = BUF_INIT;
	json_t *made = json_object();
	char path[4096], cidr[64], via[64];
	int used;
	path_of(root, path);
	if (file_read(path, 1 << 20, &text, NULL) || !text.data)
		return made;
	for (const char *p = text.data; sscanf(p, "%63s %63s%n", cidr, via, &used) == 2; p += used)
		json_object_set_new(made, cidr, json_string(via));
	return made;
}

int routes_start(const struct host *h, const char *pod_cidr, struct routes **out, struct err *e)
{
	struct routes *r = calloc(1, sizeof(*r));
	if (!r)
		return err_sys(e, ENOMEM, "routes");
	r->host = h;
	r->pod_cidr = strdup(pod_cidr);
	r->nodes = json_object();
	r->made = load(h->root);
	int rc = r->pod_cidr && r->nodes && r->made ? k8s_informer_start(h->api, "/api/v1/nodes", &informer_ops, r, &r->informer, e) :
						      err_sys(e, ENOMEM, "routes");
	if (rc) {
		routes_stop(r);
		return rc;
	}
	*out = r;
	return 0;
}

void routes_stop(struct routes *r)
{
	if (!r)
		return;
	k8s_informer_stop(r->informer);
	free(r->pod_cidr);
	json_decref(r->nodes);
	json_decref(r->made);
	free(r);
}

int routes_remove(const char *root, struct err *e)
{
	own_json json_t *made = load(root);
	const char *cidr;
	json_t *via;
	(void)e;
	json_object_foreach(made, cidr, via)
		ip_route("del", cidr, json_string_value(via), NULL);   // gone already is fine
	return 0;
}
