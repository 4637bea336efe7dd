// SPDX-License-Identifier: Apache-2.0
#include "server/list_options.h"

#include <string.h>

#include "k8s/kind.h"
#include "k8s/validate.h"

static const struct k8s_kind options_kind = { .group = "meta.k8s.io", .version = "v1", .kind = "ListOptions" };

static const char *param(const struct route *r, const char *name)
{
	const char *value = route_param(r, name);

	return value ? value : "";
}

static json_t *status_of(struct k8s_errors *errors)
{
	json_t *s = k8s_errors_count(errors) ? k8s_errors_status(errors, &options_kind, "") : NULL;

	k8s_errors_free(errors);
	return s;
}

static void check_continue(const struct route *r, struct k8s_errors *errors)
{
	if (*param(r, "continue"))
		k8s_forbidden(errors, PATH_ROOT("resourceVersionMatch"), "resourceVersionMatch is forbidden when continue is provided");
}

json_t *list_options_check(const struct route *r)
{
	static const char *const matches[] = { "Exact", "NotOlderThan", NULL };
	const struct k8s_path *path = PATH_ROOT("resourceVersionMatch");
	const char *match = param(r, "resourceVersionMatch"), *rv = param(r, "resourceVersion");
	struct k8s_errors *errors = k8s_errors_new();

	if (*match) {
		if (!*rv)
			k8s_forbidden(errors, path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
		check_continue(r, errors);
		k8s_check_enum(errors, path, match, matches, false);
		if (!strcmp(match, "Exact") && !strcmp(rv, "0"))
			k8s_forbidden(errors, path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	}
	if (*param(r, "sendInitialEvents"))
		k8s_forbidden(errors, PATH_ROOT("sendInitialEvents"), "sendInitialEvents is forbidden for list");
	return status_of(errors);
}

json_t *watch_options_check(const struct route *r)
{
	static const char *const matches[] = { "NotOlderThan", NULL };
	const struct k8s_path *path = PATH_ROOT("resourceVersionMatch");
	const char *match = param(r, "resourceVersionMatch");
	bool initial = *param(r, "sendInitialEvents") != '\0';
	struct k8s_errors *errors = k8s_errors_new();

	if (initial && strcmp(match, "NotOlderThan"))
		k8s_forbidden(errors, path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (*match) {
		if (!initial)
			k8s_forbidden(errors, path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
		k8s_check_enum(errors, path, match, matches, false);
		check_continue(r, errors);
	}
	return status_of(errors);
}
