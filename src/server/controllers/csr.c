// SPDX-License-Identifier: Apache-2.0
// CertificateSigningRequests: those of nodes are approved when the one who asks may have the certificate, approved ones are
// signed, old ones removed. What people must approve waits for them.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "server/auth.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/server_lease.h"
#include "server/csr.h"
#include "server/map.h"
#include "server/meta.h"
#include "server/registry.h"

#define DONE_KEEP_NS (3600 * NS_PER_S)
#define PENDING_KEEP_NS (86400 * NS_PER_S)
#define CLEAN_NS (600 * NS_PER_S)

struct csrs {
	struct server *srv;
	struct map look;
	uint64_t clean_ns;             // when to look for old ones
};

static const struct k8s_kind *kind(void)
{
	return k8s_kind_find("certificates.k8s.io", "v1", "certificatesigningrequests");
}

static void csr_changed(void *unit, int type, struct obj *o)
{
	struct csrs *c = unit;
	struct obj_name n = obj_name(o);
	char name[256];

	snprintf(name, sizeof name, "%.*s", (int)n.name_len, n.name);
	if (type == EVENT_DELETED)
		map_remove(&c->look, name);
	else
		map_put(&c->look, name, c);
}

static bool has_condition(const json_t *csr, const char *type)
{
	json_t *v;
	size_t i;

	json_array_foreach(jpath_get(csr, "status.conditions"), i, v)
		if (!strcmp(jpath_str(v, "type", ""), type))
			return true;
	return false;
}

/* --- approving --- */

static struct identity *requestor(const json_t *csr)
{
	const char *groups[64] = { NULL };
	json_t *g;
	size_t i, n = 0;

	json_array_foreach(jpath_get(csr, "spec.groups"), i, g)
		if (n < 63 && json_is_string(g))
			groups[n++] = json_string_value(g);
	return identity_exact(jpath_str(csr, "spec.username", ""), jpath_str(csr, "spec.uid", ""), groups);
}

/* A node's client certificate: for itself, if it is a node; for any node, if it is one who may let nodes in. */
static bool may_have_client(struct server *srv, const json_t *csr, const struct csr_info *i)
{
	bool itself = !strcmp(jpath_str(csr, "spec.username", ""), i->name);
	struct auth_ask ask = { .verb = "create", .group = "certificates.k8s.io", .resource = "certificatesigningrequests", .subresource =
				itself ? "selfnodeclient" : "nodeclient", .ns = "", .name = "" };
	struct identity *who = requestor(csr);
	bool yes = who && auth_allowed(srv, who, &ask);

	if (who && !yes && itself) {
		ask.subresource = "nodeclient";
		yes = auth_allowed(srv, who, &ask);
	}
	identity_free(who);
	return yes;
}

/* Does a Node say that this is one of its addresses? */
static bool node_says(const json_t *node, const char *address)
{
	json_t *a;
	size_t i;

	json_array_foreach(jpath_get(node, "status.addresses"), i, a)
		if (!strcmp(jpath_str(a, "address", ""), address))
			return true;
	return false;
}

static bool of_another(struct server *srv, const char *node, const char *address)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;
	bool found = false;

	if (store_list(srv->store, reg_prefix(k8s_kind_find("", "v1", "nodes"), NULL, prefix), NULL, 0, 0, &l))
		return true;
	for (size_t i = 0; i < l.count && !found; i++) {
		own_json json_t *j = strstr(obj_text(l.objs[i]), address) ? obj_json(l.objs[i]) : NULL;
		found = j && strcmp(jpath_str(j, "metadata.name", ""), node) && node_says(j, address);
	}
	store_list_fini(&l);
	return found;
}

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n >= k && !strcasecmp(name + n - k, end);
}

/* Clients look at names without regard to case, and take a "*" for any. */
static bool name_of_the_cluster(const char *name)
{
	size_t n = strlen(name);

	return !n || strchr(name, '*') || name[n - 1] == '.' || !strcasecmp(name, "kubernetes") || !strncasecmp(name, "kubernetes.", 11) ||
	       ends_in(name, "localhost") || ends_in(name, ".svc") || ends_in(name, ".local");
}

static bool is_host_of(const char *endpoint, const char *address)
{
	size_t n = strlen(address);

	return endpoint && !strncmp(endpoint, address, n) && endpoint[n] == ':';
}

/* Names and addresses by which the cluster itself is reached, whatever a node says about its own. */
static bool of_the_cluster(struct server *srv, const char *node, const char *address)
{
	uint64_t next = UINT64_MAX;
	uint32_t a;
	json_t *other;
	size_t i;

	if (name_of_the_cluster(address) || !strncmp(address, "::", 2))
		return true;
	if (cidr_addr(address, &a) && (a >> 24 == 127 || !a || cidr_has(&srv->service_range, a)))
		return true;
	if (!strcmp(node, srv->node_name))   // its address is this server's
		return false;
	own_json json_t *servers = server_lease_endpoints(srv, clock_real_ns(), &next);
	json_array_foreach(servers, i, other)
		if (is_host_of(json_string_value(other), address))
			return true;
	return !strcmp(address, srv->advertise) || is_host_of(srv->endpoint, address);
}

/* A node's serving certificate: for its own names and addresses, none of which is another node's or this server's. */
static bool may_have_serving(struct server *srv, const json_t *csr, const struct csr_info *i)
{
	const char *node = i->name + strlen("system:node:");
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(srv->store, reg_key(k8s_kind_find("", "v1", "nodes"), "", node, key));
	own_json json_t *obj = o ? obj_json(o) : NULL;
	json_t *san;
	size_t n;

	if (!obj || strcmp(jpath_str(csr, "spec.username", ""), i->name))
		return false;
	json_array_foreach(i->sans, n, san) {
		const char *text = json_string_value(san);
		uint32_t a;
		bool own_name = !strcmp(text, node) && !cidr_addr(text, &a) && !strchr(text, ':');   // never an address
		if (of_the_cluster(srv, node, text))
			return false;
		if (!own_name && (!node_says(obj, text) || of_another(srv, node, text)))
			return false;
	}
	return true;
}

struct condition { const char *type, *reason, *message; };

static bool add_condition(json_t *csr, void *user)
{
	struct condition *c = user;
	char now[40];

	if (has_condition(csr, c->type) || has_condition(csr, "Denied"))
		return false;
	if (!json_is_array(jpath_get(csr, "status.conditions")))
		jpath_set(csr, "status.conditions", json_array());
	meta_now(now);
	json_array_append_new(jpath_get(csr, "status.conditions"), json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "type", c->type, "status", "True",
		"reason", c->reason, "message", c->message, "lastUpdateTime", now, "lastTransitionTime", now));
	return true;
}

static int set_condition(struct csrs *c, const char *name, const char *type, const char *reason, const char *message)
{
	struct condition what = { type, reason, message };
	int r = change_object(c->srv, kind(), "", name, "status", add_condition, &what, NULL);

	return r == -ENOENT ? 0 : r;
}

static int approve(struct csrs *c, const char *name, const json_t *csr)
{
	const char *signer = jpath_str(csr, "spec.signerName", "");
	bool client = !strcmp(signer, CSR_NODE_CLIENT), serving = !strcmp(signer, CSR_NODE_SERVING), yes;
	struct csr_info i;

	if ((!client && !serving) || csr_read(csr, &i, NULL))
		return 0;
	yes = !csr_check(csr, &i, NULL) && (client ? may_have_client(c->srv, csr, &i) : may_have_serving(c->srv, csr, &i));
	csr_info_fini(&i);
	if (!yes)
		return 0;
	log_info("certificates", "approved request=%s signer=%s user=%s", name, signer, jpath_str(csr, "spec.username", ""));
	return set_condition(c, name, "Approved", "AutoApproved", client ? "Auto approving kubelet client certificate after "
			     "SubjectAccessReview." : "Auto approving kubelet serving certificate for the node's own addresses.");
}

/* --- signing --- */

static bool set_certificate(json_t *csr, void *user)
{
	if (*jpath_str(csr, "status.certificate", ""))
		return false;
	jpath_set(csr, "status.certificate", json_string(user));
	return true;
}

static int sign(struct csrs *c, const char *name, const json_t *csr)
{
	own_free char *pem = NULL;
	struct err e = ERR_INIT;
	int r = csr_sign(c->srv->root, csr, &pem, &e);

	if (r == -ENOENT)
		return 0;              // somebody else's to sign
	if (r == -EINVAL)
		return set_condition(c, name, "Failed", "SignerValidationFailure", e.text);
	if (r) {
		log_limited(LOG_LEVEL_WARN, "certificates", "request=%s: %s", name, e.text);
		return r;
	}
	own_free char *text = base64_encode(pem, strlen(pem));
	r = text ? change_object(c->srv, kind(), "", name, "status", set_certificate, text, &e) : -ENOMEM;
	return r == -ENOENT ? 0 : r;
}

static int look_at(struct csrs *c, const char *name)
{
	char key[REG_KEY_MAX];
	own_obj struct obj *o = store_get(c->srv->store, reg_key(kind(), "", name, key));
	own_json json_t *csr = o ? obj_json(o) : NULL;

	if (!csr || has_condition(csr, "Denied") || has_condition(csr, "Failed") || *jpath_str(csr, "status.certificate", ""))
		return 0;
	return has_condition(csr, "Approved") ? sign(c, name, csr) : approve(c, name, csr);
}

/* --- old ones --- */

static void clean(struct csrs *c)
{
	uint64_t now = clock_real_ns(), made;
	char prefix[REG_KEY_MAX];
	struct store_list l;

	if (store_list(c->srv->store, reg_prefix(kind(), NULL, prefix), NULL, 0, 0, &l))
		return;
	for (size_t i = 0; i < l.count; i++) {
		own_json json_t *csr = obj_json(l.objs[i]);
		bool done = has_condition(csr, "Denied") || has_condition(csr, "Failed") || *jpath_str(csr, "status.certificate", "");
		if (!clock_parse(jpath_str(csr, "metadata.creationTimestamp", ""), &made) &&
		    now > made + (done ? DONE_KEEP_NS : PENDING_KEEP_NS))
			delete_object(c->srv, kind(), "", jpath_str(csr, "metadata.name", ""), jpath_str(csr, "metadata.uid", ""), -1, NULL);
	}
	store_list_fini(&l);
}

static uint64_t work(void *unit, uint64_t now)
{
	struct csrs *c = unit;
	struct map todo = c->look;
	const char *name;
	size_t pos = 0;

	c->look = (struct map)MAP_INIT;
	while (map_next(&todo, &pos, &name))
		if (look_at(c, name))
			map_put(&c->look, name, c);
	map_fini(&todo, NULL);
	if (now >= c->clean_ns) {
		clean(c);
		c->clean_ns = now + CLEAN_NS;
	}
	return c->look.count ? now + NS_PER_S : c->clean_ns;
}

static int csrs_open(struct server *srv, void **unit, struct err *e)
{
	struct csrs *c = calloc(1, sizeof *c);

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->srv = srv;
	*unit = c;
	return 0;
}

static void csrs_close(void *unit)
{
	struct csrs *c = unit;

	map_fini(&c->look, NULL);
	free(c);
}

static const struct unit_source sources[] = {
	{ "certificates.k8s.io", "v1", "certificatesigningrequests", csr_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops csr_unit = { .name = "certificates", .sources = sources, .open = csrs_open, .work = work, .close = csrs_close };
