// SPDX-License-Identifier: Apache-2.0
#include "server/write_options.h"

#include <errno.h>
#include <stdint.h>
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

/* The character at text, and its length; what is no UTF-8 is a character that stands for it. */
static size_t utf8_next(const char *text, uint32_t *c)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t len = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;

	*c = len == 1 ? *p : *p & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			len = 0;
		*c = *c << 6 | (p[i] & 0x3f);
	}
	if (len)
		return len;
	*c = 0xfffd;
	return 1;
}

/* Controls, spaces other than the usual one, marks without a shape and what is private or no character are not. */
static bool is_printable(uint32_t c)
{
	static const uint32_t not[][2] = {
		{ 0x00, 0x1f }, { 0x7f, 0xa0 }, { 0xad, 0xad }, { 0x600, 0x605 }, { 0x61c, 0x61c }, { 0x6dd, 0x6dd }, { 0x70f, 0x70f },
		{ 0x1680, 0x1680 }, { 0x180e, 0x180e }, { 0x2000, 0x200f }, { 0x2028, 0x202f }, { 0x205f, 0x206f }, { 0x3000, 0x3000 },
		{ 0xd800, 0xf8ff }, { 0xfdd0, 0xfdef }, { 0xfeff, 0xfeff }, { 0xfff0, 0xfffb }, { 0xfffe, 0xffff }, { 0xe0000, 0xe00ff },
		{ 0xf0000, UINT32_MAX },
	};

	for (size_t i = 0; i < sizeof not / sizeof *not; i++)
		if (c >= not[i][0] && c <= not[i][1])
			return false;
	return true;
}

static void check_manager(struct k8s_errors *errors, const char *manager, bool required)
{
	const struct k8s_path *path = PATH_ROOT("fieldManager");
	uint32_t c;
	size_t len;

	if (required && (!manager || !*manager))
		k8s_required(errors, path, "is required for apply patch");
	if (!manager)
		return;
	if (strlen(manager) > MANAGER_MAX) {   // its characters would make a sentence each, with all of it in each
		k8s_too_long(errors, path, MANAGER_MAX);
		return;
	}
	for (const char *p = manager; *p; p += len) {
		len = utf8_next(p, &c);
		if (is_printable(c))
			continue;
		k8s_invalid_str(errors, path, manager, "invalid character U+%04X (at position %zu)", c, (size_t)(p - manager));
	}
}

json_t *write_options_check(const struct route *r, const char *kind, bool apply)
{
	static const char *const modes[] = { "", "Ignore", "Strict", "Warn", NULL };
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
