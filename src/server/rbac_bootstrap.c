// SPDX-License-Identifier: Apache-2.0
#include "server/rbac_bootstrap.h"

#include <string.h>

#include "base/own.h"

#define READ "get list watch"
#define WRITE "create delete deletecollection patch update"

struct rule {
	const char *verbs, *groups, *resources, *paths;   // words; group "core": the one without a name
};

#define RULES_MAX 24

/* Rows that look at things inside a namespace; edit adds to them, admin to that. */
#define VIEW_RULES \
	{ READ, "core", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers " \
	  "replicationcontrollers/scale serviceaccounts services services/status bindings events limitranges namespaces " \
	  "namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status", NULL }, \
	{ READ, "discovery.k8s.io", "endpointslices", NULL }, \
	{ READ, "apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status " \
	  "replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status", NULL }, \
	{ READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", NULL }, \
	{ READ, "batch", "cronjobs cronjobs/status jobs jobs/status", NULL }, \
	{ READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status", NULL }, \
	{ READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies", NULL }, \
	{ READ, "metrics.k8s.io", "pods nodes", NULL }
#define EDIT_RULES \
	{ READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", NULL }, \
	{ "impersonate", "core", "serviceaccounts", NULL }, \
	{ WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy configmaps events persistentvolumeclaims " \
	  "replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy", NULL }, \
	{ "create", "core", "pods/eviction serviceaccounts/token", NULL }, \
	{ WRITE, "apps", "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale " \
	  "statefulsets statefulsets/scale", NULL }, \
	{ WRITE, "autoscaling", "horizontalpodautoscalers", NULL }, \
	{ WRITE, "batch", "cronjobs jobs", NULL }, \
	{ WRITE, "policy", "poddisruptionbudgets", NULL }, \
	{ WRITE, "networking.k8s.io", "ingresses networkpolicies", NULL }, \
	{ READ " " WRITE, "coordination.k8s.io", "leases", NULL }

static const struct role {
	const char *name;
	const char *aggregate;      // also the rules of ClusterRoles with the label .../aggregate-to-THIS
	struct rule rules[RULES_MAX];
} roles[] = {
	{ "cluster-admin", NULL, { { "*", "*", "*", NULL }, { "*", NULL, NULL, "*" } } },
	{ "view", "view", { VIEW_RULES } },
	{ "edit", "edit", { VIEW_RULES, EDIT_RULES } },
	{ "admin", "admin", { VIEW_RULES, EDIT_RULES,
		{ "create", "authorization.k8s.io", "localsubjectaccessreviews", NULL },
		{ READ " " WRITE, "rbac.authorization.k8s.io", "roles rolebindings", NULL } } },
	{ "system:basic-user", NULL, {
		{ "create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", NULL },
		{ "create", "authentication.k8s.io", "selfsubjectreviews", NULL } } },
	{ "system:discovery", NULL, { { "get", NULL, NULL, "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz "
		"/version /version/" } } },
	{ "system:public-info-viewer", NULL, { { "get", NULL, NULL, "/healthz /livez /readyz /version /version/" } } },
	{ "system:monitoring", NULL, { { "get", NULL, NULL, "/healthz /healthz/* /livez /livez/* /metrics /readyz /readyz/*" } } },
	{ "system:service-account-issuer-discovery", NULL, { { "get", NULL, NULL, "/.well-known/openid-configuration "
		"/.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/" } } },
	{ "system:auth-delegator", NULL, { { "create", "authentication.k8s.io", "tokenreviews", NULL },
		{ "create", "authorization.k8s.io", "subjectaccessreviews", NULL } } },
	{ "system:node-bootstrapper", NULL, { { "create " READ, "certificates.k8s.io", "certificatesigningrequests", NULL } } },
	{ "system:certificates.k8s.io:certificatesigningrequests:nodeclient", NULL,
		{ { "create", "certificates.k8s.io", "certificatesigningrequests/nodeclient", NULL } } },
	{ "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", NULL,
		{ { "create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient", NULL } } },
	{ "system:node-proxier", NULL, { { "list watch", "core", "services endpoints", NULL }, { READ, "core", "nodes", NULL },
		{ "list watch", "discovery.k8s.io", "endpointslices", NULL }, { "create patch update", "core events.k8s.io", "events", NULL } } },
	{ "system:kubelet-api-admin", NULL, { { READ, "core", "nodes", NULL }, { "proxy", "core", "nodes", NULL },
		{ "*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats", NULL } } },
};

#define JOINING "system:bootstrappers:kubeadm:default-node-token"   // what kubeadm's tokens have, too

static const struct { const char *role, *group; } bindings[] = {
	{ "cluster-admin", "system:masters" },
	{ "system:basic-user", "system:authenticated" },
	{ "system:discovery", "system:authenticated" },
	{ "system:public-info-viewer", "system:authenticated" },
	{ "system:public-info-viewer", "system:unauthenticated" },
	{ "system:monitoring", "system:monitoring" },
	{ "system:service-account-issuer-discovery", "system:serviceaccounts" },
	{ "system:node-bootstrapper", JOINING },
	{ "system:certificates.k8s.io:certificatesigningrequests:nodeclient", JOINING },
	{ "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes" },
};

#define ROLES (sizeof roles / sizeof *roles)
#define BINDINGS (sizeof bindings / sizeof *bindings)

static json_t *words(const char *text)
{
	own_free char *copy = strdup(text);
	json_t *list = json_array();
	char *save = NULL;

	for (char *w = copy ? strtok_r(copy, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save))
		json_array_append_new(list, json_string(strcmp(w, "core") ? w : ""));
	return list;
}

static json_t *make_rule(const struct rule *r)
{
	json_t *j = json_pack("{s:o}", "verbs", words(r->verbs));

	if (r->groups)
		json_object_set_new(j, "apiGroups", words(r->groups));
	if (r->resources)
		json_object_set_new(j, "resources", words(r->resources));
	if (r->paths)
		json_object_set_new(j, "nonResourceURLs", words(r->paths));
	return j;
}

static json_t *metadata(const char *name)
{
	return json_pack("{s:s,s:{s:s},s:{s:s}}", "name", name, "labels", "kubernetes.io/bootstrapping", "rbac-defaults", "annotations",
			 "rbac.authorization.kubernetes.io/autoupdate", "true");
}

static json_t *make_role(const struct role *r)
{
	json_t *rules = json_array(), *j = json_pack("{s:o,s:o}", "metadata", metadata(r->name), "rules", rules);

	for (size_t i = 0; i < RULES_MAX && r->rules[i].verbs; i++)
		json_array_append_new(rules, make_rule(&r->rules[i]));
	if (r->aggregate) {
		json_t *label = json_pack("{s+:s}", "rbac.authorization.k8s.io/aggregate-to-", r->aggregate, "true");
		json_object_set_new(j, "aggregationRule", json_pack("{s:[{s:o}]}", "clusterRoleSelectors", "matchLabels", label));
	}
	return j;
}

/* One binding for all the groups that have a role; of later rows of a role the same again, which is there already. */
static json_t *make_binding(size_t first)
{
	json_t *subjects = json_array();

	for (size_t i = first; i < BINDINGS; i++)
		if (!strcmp(bindings[i].role, bindings[first].role))
			json_array_append_new(subjects, json_pack("{s:s,s:s,s:s}", "kind", "Group", "apiGroup", "rbac.authorization.k8s.io",
								  "name", bindings[i].group));
	return json_pack("{s:o,s:{s:s,s:s,s:s},s:o}", "metadata", metadata(bindings[first].role), "roleRef", "apiGroup",
			 "rbac.authorization.k8s.io", "kind", "ClusterRole", "name", bindings[first].role, "subjects", subjects);
}

json_t *rbac_bootstrap(size_t i, const char **plural)
{
	*plural = i < ROLES ? "clusterroles" : "clusterrolebindings";
	if (i < ROLES)
		return make_role(&roles[i]);
	return i < ROLES + BINDINGS ? make_binding(i - ROLES) : NULL;
}
