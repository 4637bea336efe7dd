// SPDX-License-Identifier: Apache-2.0
// Validation of roles, bindings and certificate requests.
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base64.h"
#include "hooks.h"
#include "name_rules.h"
#include "validate.h"

static void check_rules(const json_t *rules, bool namespaced, struct k8s_errors *e)
{
	size_t i;
	json_t *rule;
	json_array_foreach(rules, i, rule) {
		const struct k8s_path *at = PATH_AT(PATH_ROOT("rules"), i);
		const json_t *urls = json_object_get(rule, "nonResourceURLs");
		if (json_array_size(json_object_get(rule, "verbs")) == 0)
			k8s_required(e, PATH(at, "verbs"), "verbs must contain at least one value");
		if (json_array_size(urls)) {
			if (namespaced)
				k8s_invalid(e, PATH(at, "nonResourceURLs"), urls, "namespaced rules cannot apply to non-resource URLs");
			if (json_array_size(json_object_get(rule, "apiGroups")) || json_array_size(json_object_get(rule, "resources")) ||
			    json_array_size(json_object_get(rule, "resourceNames")))
				k8s_invalid(e, PATH(at, "nonResourceURLs"), urls, "rules cannot apply to both regular resources and "
					    "non-resource URLs");
			continue;
		}
		if (json_array_size(json_object_get(rule, "apiGroups")) == 0)
			k8s_required(e, PATH(at, "apiGroups"), "resource rules must supply at least one api group");
		if (json_array_size(json_object_get(rule, "resources")) == 0)
			k8s_required(e, PATH(at, "resources"), "resource rules must supply at least one resource");
	}
}

void k8s_validate_role(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	(void)old;
	check_rules(json_object_get(obj, "rules"), true, e);
}

void k8s_validate_clusterrole(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const json_t *selectors = jpath_get(obj, "aggregationRule.clusterRoleSelectors");
	const struct k8s_path *path = PATH(PATH_ROOT("aggregationRule"), "clusterRoleSelectors");
	size_t i;
	json_t *s;
	(void)old;
	check_rules(json_object_get(obj, "rules"), false, e);
	if (json_object_get(obj, "aggregationRule") && json_array_size(selectors) == 0)
		k8s_required(e, path, "at least one clusterRoleSelector required if aggregationRule is non-nil");
	json_array_foreach(selectors, i, s)
		k8s_check_label_selector(e, PATH_AT(path, i), s);
}

static void check_subject(const struct k8s_path *at, const json_t *s, bool cluster, struct k8s_errors *e)
{
	static const char *const kinds[] = {"Group", "ServiceAccount", "User", NULL};
	static const char *const core[] = {"", NULL}, *const rbac[] = {"rbac.authorization.k8s.io", NULL};
	const char *kind = jpath_str(s, "kind", ""), *name = jpath_str(s, "name", ""), *group = jpath_str(s, "apiGroup", "");
	bool account = !strcmp(kind, "ServiceAccount");
	if (!*name)
		k8s_required(e, PATH(at, "name"), NULL);
	if (!k8s_check_enum(e, PATH(at, "kind"), *kind ? kind : " ", kinds, true))
		return;
	if (account && *name)
		k8s_check_rule(e, PATH(at, "name"), name, k8s_check_dns_subdomain);
	k8s_check_enum(e, PATH(at, "apiGroup"), group, account ? core : rbac, false);
	if (account && cluster && !*jpath_str(s, "namespace", ""))
		k8s_required(e, PATH(at, "namespace"), NULL);
}

static void check_binding(const json_t *obj, const json_t *old, bool cluster, struct k8s_errors *e)
{
	static const char *const groups[] = {"rbac.authorization.k8s.io", NULL};
	static const char *const both[] = {"ClusterRole", "Role", NULL}, *const one[] = {"ClusterRole", NULL};
	const struct k8s_path *path = PATH_ROOT("roleRef");
	const json_t *role = json_object_get(obj, "roleRef");
	const char *kind = jpath_str(role, "kind", ""), *name = jpath_str(role, "name", "");
	size_t i;
	json_t *s;
	k8s_check_enum(e, PATH(path, "apiGroup"), jpath_str(role, "apiGroup", ""), groups, false);
	k8s_check_enum(e, PATH(path, "kind"), *kind ? kind : " ", cluster ? one : both, true);
	if (!*name)
		k8s_required(e, PATH(path, "name"), NULL);
	else
		k8s_check_rule(e, PATH(path, "name"), name, k8s_check_path_segment);
	json_array_foreach(json_object_get(obj, "subjects"), i, s)
		check_subject(PATH_AT(PATH_ROOT("subjects"), i), s, cluster, e);
	if (old && role && !json_equal(role, json_object_get(old, "roleRef")))
		k8s_invalid(e, path, role, "cannot change roleRef");
}

void k8s_validate_rolebinding(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	check_binding(obj, old, false, e);
}

void k8s_validate_clusterrolebinding(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	check_binding(obj, old, true, e);
}

void k8s_validate_csr(const json_t *obj, const json_t *old, struct k8s_errors *e)
{
	const struct k8s_path *path = PATH_ROOT("spec");
	const json_t *spec = json_object_get(obj, "spec"), *seconds = json_object_get(spec, "expirationSeconds");
	const char *signer = jpath_str(spec, "signerName", ""), *request = jpath_str(spec, "request", "");
	size_t len;
	unsigned char *pem = base64_decode(request, strlen(request), &len);
	if (!pem || !strstr((char *)pem, "-----BEGIN CERTIFICATE REQUEST-----"))
		k8s_invalid_str(e, PATH(path, "request"), request, "PEM block type must be CERTIFICATE REQUEST");
	free(pem);
	if (json_array_size(json_object_get(spec, "usages")) == 0)
		k8s_required(e, PATH(path, "usages"), NULL);
	if (!*signer)
		k8s_required(e, PATH(path, "signerName"), NULL);
	else if (!strchr(signer, '/'))
		k8s_invalid_str(e, PATH(path, "signerName"), signer, "must be a fully qualified domain and path of the form "
				"'example.com/signer-name'");
	if (seconds && json_integer_value(seconds) < 600)
		k8s_invalid(e, PATH(path, "expirationSeconds"), seconds, "may not specify a duration less than 600 seconds (10 minutes)");
	if (old)
		k8s_check_immutable(e, path, spec, json_object_get(old, "spec"));
}
