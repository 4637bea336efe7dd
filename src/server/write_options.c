// SPDX-License-Identifier: Apache-2.0
#include "server/write_options.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/kind.h"
#include "k8s/schema_types.h"
#include "k8s/validate.h"
#include "server/status.h"

#define MANAGER_MAX 128

static json_t *status_of(struct k8s_errors *errors, const char *kind)
{
	const struct k8s_kind k = { .group = "meta.k8s.io", .version = "v1", .kind = kind };
	json_t *s = k8s_errors_count(errors) ? k8s_errors_status(errors, &k, "") : NULL;

	k8s_errors_free(errors);
	return s;
}

static void check_dry_run(struct k8s_errors *errors, const char *value)
{
	if (value && strcmp(value, "All"))
		k8s_errors_add(errors, "FieldValueNotSupported", "dryRun",
			       "Unsupported value: []string{\"%.32s\"}: supported values: \"All\"", value);
}

static void check_manager(struct k8s_errors *errors, const char *manager, bool required)
{
	const struct k8s_path *path = PATH_ROOT("fieldManager");

	if (required && (!manager || !*manager))
		k8s_required(errors, path, "is required for apply patch");
	if (!manager)
		return;
	if (strlen(manager) > MANAGER_MAX)
		k8s_too_long(errors, path, MANAGER_MAX);
	for (const char *p = manager; *p; p++)
		if (iscntrl((unsigned char)*p)) {
			k8s_invalid_str(errors, path, manager, "should only contain printable characters");
			return;
		}
}

json_t *write_options_check(const struct route *r, const char *kind, bool apply)
{
	static const char *const modes[] = { "Ignore", "Strict", "Warn", NULL };
	struct k8s_errors *errors = k8s_errors_new();

	if (!errors)
		return status_errno(-ENOMEM);
	if (route_param(r, "force") && !strcmp(kind, "PatchOptions") && !apply)
		k8s_forbidden(errors, PATH_ROOT("force"), "may not be specified for non-apply patch");
	check_manager(errors, route_param(r, "fieldManager"), apply);
	check_dry_run(errors, route_param(r, "dryRun"));
	k8s_check_enum(errors, PATH_ROOT("fieldValidation"), route_param(r, "fieldValidation"), modes, false);
	return status_of(errors, kind);
}

/* Upstream lists them in this order. */
static void check_policy(struct k8s_errors *errors, const json_t *options)
{
	const char *policy = jpath_str(options, "propagationPolicy", "");

	if (*policy && json_is_boolean(json_object_get(options, "orphanDependents")))
		k8s_invalid_str(errors, PATH_ROOT("propagationPolicy"), policy, "orphanDependents and deletionPropagation cannot be both set");
	if (*policy && strcmp(policy, "Foreground") && strcmp(policy, "Background") && strcmp(policy, "Orphan"))
		k8s_errors_add(errors, "FieldValueNotSupported", "propagationPolicy", "Unsupported value: \"%.32s\": supported values: "
			       "\"Foreground\", \"Background\", \"Orphan\", \"nil\"", policy);
}

json_t *delete_options_check(json_t *options)
{
	const char *kind = jpath_str(options, "kind", "DeleteOptions");
	struct k8s_errors *errors;
	struct err e = ERR_INIT;
	json_t *v;
	size_t i;

	if (strcmp(kind, "DeleteOptions"))
		return status_bad_request("no kind \"%.64s\" can be the options of a deletion: it must be DeleteOptions", kind);
	if (k8s_decode_schema(&k8s_meta_DeleteOptions, "v1", "DeleteOptions", options, NULL, &e))
		return status_bad_request("%s", e.text);
	errors = k8s_errors_new();
	if (!errors)
		return status_errno(-ENOMEM);
	check_policy(errors, options);
	json_array_foreach(json_object_get(options, "dryRun"), i, v)
		check_dry_run(errors, json_string_value(v));
	return status_of(errors, "DeleteOptions");
}

bool options_dry_run(const struct route *r, const json_t *delete_options)
{
	return route_param(r, "dryRun") || json_array_size(json_object_get(delete_options, "dryRun"));
}
