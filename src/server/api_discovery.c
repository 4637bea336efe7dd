// SPDX-License-Identifier: Apache-2.0
// What there is: /version, /api, /apis, one list per group and version, and the aggregated form, all from the table of kinds.
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/api.h"

#define GIT_VERSION "v1.32.0+bulkhead"

static const char *const all_verbs[] = { "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch", NULL };

static json_t *strings(const char *const *list)
{
	json_t *a = json_array();

	for (; list && *list; list++)
		json_array_append_new(a, json_string(*list));
	return a;
}

static json_t *version_info(void)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "major", "1", "minor", "32", "gitVersion", GIT_VERSION,
			 "gitCommit", "", "gitTreeState", "clean", "buildDate", "1970-01-01T00:00:00Z", "goVersion", "", "compiler",
			 "gcc", "platform", "linux/amd64");
}

/* The first row of each (group, version) stands for it, in the order of the table. */
static bool is_first_of_version(const struct k8s_kind *const *rows, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (!strcmp(rows[j]->group, rows[i]->group) && !strcmp(rows[j]->version, rows[i]->version))
			return false;
	return true;
}

static bool is_first_of_group(const struct k8s_kind *const *rows, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (!strcmp(rows[j]->group, rows[i]->group))
			return false;
	return true;
}

static json_t *group_version(const struct k8s_kind *k)
{
	char gv[256];

	snprintf(gv, sizeof gv, "%s/%s", k->group, k->version);
	return json_pack("{s:s,s:s}", "groupVersion", gv, "version", k->version);
}

static json_t *group_entry(const struct k8s_kind *const *rows, size_t n, size_t first)
{
	json_t *versions = json_array();

	for (size_t i = first; i < n; i++)
		if (!strcmp(rows[i]->group, rows[first]->group) && is_first_of_version(rows, i))
			json_array_append_new(versions, group_version(rows[i]));
	return json_pack("{s:s,s:o,s:o}", "name", rows[first]->group, "versions", versions, "preferredVersion",
			 group_version(rows[first]));
}

static json_t *group_list(void)
{
	size_t n;
	own_free const struct k8s_kind **rows = k8s_kinds_now(&n);
	json_t *groups = json_array();

	for (size_t i = 0; i < n; i++)
		if (*rows[i]->group && is_first_of_group(rows, i))
			json_array_append_new(groups, group_entry(rows, n, i));
	return json_pack("{s:s,s:s,s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", groups);
}

/* --- resources of one version --- */

static json_t *resource_entry(const struct k8s_kind *k)
{
	json_t *e = json_pack("{s:s,s:s,s:b,s:s,s:o}", "name", k->plural, "singularName", k->singular, "namespaced", k->namespaced,
			      "kind", k->kind, "verbs", strings(k->verbs ? k->verbs : all_verbs));

	if (k->short_names)
		json_object_set_new(e, "shortNames", strings(k->short_names));
	if (k->categories)
		json_object_set_new(e, "categories", strings(k->categories));
	return e;
}

static json_t *subresource_entry(const struct k8s_kind *k, const char *sub)
{
	const struct k8s_subresource *s = k8s_subresource_find(sub);
	char name[256];
	json_t *e;

	snprintf(name, sizeof name, "%s/%s", k->plural, sub);
	e = json_pack("{s:s,s:s,s:b,s:s,s:o}", "name", name, "singularName", "", "namespaced", k->namespaced, "kind",
		      s && s->kind ? s->kind : k->kind, "verbs", strings(s ? s->verbs : NULL));
	if (s && s->group) {
		json_object_set_new(e, "group", json_string(s->group));
		json_object_set_new(e, "version", json_string(s->version));
	}
	return e;
}

static json_t *resource_list(const char *group, const char *version)
{
	size_t n, found = 0;
	own_free const struct k8s_kind **rows = k8s_kinds_now(&n);
	json_t *list = json_array();
	char gv[256];

	for (size_t i = 0; i < n; i++) {
		const struct k8s_kind *k = rows[i];
		if (strcmp(k->group, group) || strcmp(k->version, version))
			continue;
		found++;
		json_array_append_new(list, resource_entry(k));
		for (const char *const *s = k->subresources; s && *s; s++)
			json_array_append_new(list, subresource_entry(k, *s));
	}
	if (!found) {
		json_decref(list);
		return NULL;
	}
	snprintf(gv, sizeof gv, *group ? "%s/%s" : "%s%s", group, version);
	return json_pack("{s:s,s:s,s:s,s:o}", "kind", "APIResourceList", "apiVersion", "v1", "groupVersion", gv, "resources", list);
}

/* --- aggregated discovery, apidiscovery.k8s.io/v2 --- */

static json_t *kind_ref(const char *group, const char *version, const char *kind)
{
	return json_pack("{s:s,s:s,s:s}", "group", group, "version", version, "kind", kind);
}

static json_t *aggregated_subresources(const struct k8s_kind *k)
{
	json_t *list = json_array();

	for (const char *const *name = k->subresources; name && *name; name++) {
		const struct k8s_subresource *s = k8s_subresource_find(*name);
		json_array_append_new(list, json_pack("{s:s,s:o,s:o}", "subresource", *name, "responseKind",
						      kind_ref(s && s->group ? s->group : k->group, s && s->version ? s->version : k->version,
							       s && s->kind ? s->kind : k->kind),
						      "verbs", strings(s ? s->verbs : NULL)));
	}
	return list;
}

static json_t *aggregated_resource(const struct k8s_kind *k)
{
	json_t *e = json_pack("{s:s,s:o,s:s,s:s,s:o}", "resource", k->plural, "responseKind", kind_ref(k->group, k->version, k->kind),
			      "scope", k->namespaced ? "Namespaced" : "Cluster", "singularResource", k->singular, "verbs",
			      strings(k->verbs ? k->verbs : all_verbs));

	if (k->short_names)
		json_object_set_new(e, "shortNames", strings(k->short_names));
	if (k->categories)
		json_object_set_new(e, "categories", strings(k->categories));
	if (k->subresources)
		json_object_set_new(e, "subresources", aggregated_subresources(k));
	return e;
}

static json_t *aggregated_version(const struct k8s_kind *const *rows, size_t n, size_t first)
{
	json_t *resources = json_array();

	for (size_t i = first; i < n; i++)
		if (!strcmp(rows[i]->group, rows[first]->group) && !strcmp(rows[i]->version, rows[first]->version))
			json_array_append_new(resources, aggregated_resource(rows[i]));
	return json_pack("{s:s,s:o,s:s}", "version", rows[first]->version, "resources", resources, "freshness", "Current");
}

static json_t *aggregated(bool core, const char *version)
{
	size_t n;
	own_free const struct k8s_kind **rows = k8s_kinds_now(&n);
	json_t *items = json_array();
	char api_version[64];

	for (size_t i = 0; i < n; i++) {
		json_t *versions;
		if (!*rows[i]->group != core || !is_first_of_group(rows, i))
			continue;
		versions = json_array();
		for (size_t j = i; j < n; j++)
			if (!strcmp(rows[j]->group, rows[i]->group) && is_first_of_version(rows, j))
				json_array_append_new(versions, aggregated_version(rows, n, j));
		json_array_append_new(items, json_pack("{s:{s:s,s:n},s:o}", "metadata", "name", rows[i]->group, "creationTimestamp",
						       "versions", versions));
		if (!*rows[i]->group)
			json_object_del(json_object_get(json_array_get(items, 0), "metadata"), "name");
	}
	snprintf(api_version, sizeof api_version, "apidiscovery.k8s.io/%s", version);
	return json_pack("{s:s,s:s,s:{},s:o}", "kind", "APIGroupDiscoveryList", "apiVersion", api_version, "metadata", "items", items);
}

/* Reply with the aggregated form if the client asks for it first. */
static bool try_aggregated(struct request *r, bool core)
{
	static const char *const versions[] = { "v2", "v2beta1" };
	char type[128], param[32];

	for (int i = 0; i < 2; i++) {
		snprintf(param, sizeof param, "v=%s", versions[i]);
		if (!accept_names(request_header(r, "Accept"), "application/json", "as=APIGroupDiscoveryList") ||
		    !accept_names(request_header(r, "Accept"), "application/json", param))
			continue;
		snprintf(type, sizeof type, "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", versions[i]);
		reply_json(r, 200, aggregated(core, versions[i]));
		if (r->response) {
			MHD_del_response_header(r->response, "Content-Type", "application/json");
			MHD_add_response_header(r->response, "Content-Type", type);
			MHD_add_response_header(r->response, "Vary", "Accept");
		}
		return true;
	}
	return false;
}

static json_t *one_group(const char *name)
{
	size_t n;
	own_free const struct k8s_kind **rows = k8s_kinds_now(&n);

	for (size_t i = 0; i < n; i++)
		if (*name && !strcmp(rows[i]->group, name)) {
			json_t *g = group_entry(rows, n, i);
			json_object_set_new(g, "kind", json_string("APIGroup"));
			json_object_set_new(g, "apiVersion", json_string("v1"));
			return g;
		}
	return NULL;
}

static json_t *core_versions(const struct server *srv)
{
	char address[300];

	snprintf(address, sizeof address, strchr(srv->advertise, ':') ? "[%s]:%d" : "%s:%d", srv->advertise, srv->port);
	return json_pack("{s:s,s:[s],s:[{s:s,s:s}]}", "kind", "APIVersions", "versions", "v1", "serverAddressByClientCIDRs", "clientCIDR",
			 "0.0.0.0/0", "serverAddress", address);
}

static json_t *root_paths(void)
{
	size_t n;
	own_free const struct k8s_kind **rows = k8s_kinds_now(&n);
	json_t *paths = json_pack("[s,s,s]", "/api", "/api/v1", "/apis");
	char path[300];

	for (size_t i = 0; i < n; i++) {
		if (*rows[i]->group && is_first_of_group(rows, i)) {
			snprintf(path, sizeof path, "/apis/%s", rows[i]->group);
			json_array_append_new(paths, json_string(path));
		}
		if (*rows[i]->group && is_first_of_version(rows, i)) {
			snprintf(path, sizeof path, "/apis/%s/%s", rows[i]->group, rows[i]->version);
			json_array_append_new(paths, json_string(path));
		}
	}
	for (const char *const *p = (const char *const[]){ "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz",
							   "/version", NULL }; *p; p++)
		json_array_append_new(paths, json_string(*p));
	return json_pack("{s:o}", "paths", paths);
}

bool api_discovery(struct request *r)
{
	char path[512], group[256], version[64], tail;
	json_t *j = NULL;
	size_t n;

	snprintf(path, sizeof path, "%s", r->route.path);
	for (n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	if (strcmp(r->route.method, "GET") && strcmp(r->route.method, "HEAD"))
		return false;
	if ((!strcmp(path, "/api") && try_aggregated(r, true)) || (!strcmp(path, "/apis") && try_aggregated(r, false)))
		return true;
	if (!strcmp(path, "/"))
		j = root_paths();
	else if (!strcmp(path, "/version"))
		j = version_info();
	else if (!strcmp(path, "/api"))
		j = core_versions(r->srv);
	else if (!strcmp(path, "/apis"))
		j = group_list();
	else if (sscanf(path, "/api/%63[^/]%c", version, &tail) == 1)
		j = resource_list("", version);
	else if (sscanf(path, "/apis/%255[^/]/%63[^/]%c", group, version, &tail) == 2)
		j = resource_list(group, version);
	else if (sscanf(path, "/apis/%255[^/]%c", group, &tail) == 1)
		j = one_group(group);
	if (j)
		reply_json(r, 200, j);
	return j != NULL;
}
