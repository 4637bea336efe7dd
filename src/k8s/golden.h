// SPDX-License-Identifier: Apache-2.0
// Golden pairs for tests of kinds: an object in, its defaulted form or the exact message out. Single quotes in the texts
// stand for double ones ("\u0027" for a real single quote inside JSON).
#ifndef BH_K8S_GOLDEN_H
#define BH_K8S_GOLDEN_H

#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "kind.h"
#include "schema.h"

static inline json_t *golden_parse(const char *text)
{
	own_free char *copy = strdup(text);
	json_error_t where;
	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json_t *j = json_loads(copy, JSON_DECODE_ANY, &where);
	if (!j)
		fail_msg("%s at %d: %s", where.text, where.position, text);
	return j;
}

static inline const struct k8s_kind *golden_kind(const char *name)   // "Pod", "apps/v1 Deployment"
{
	char version[64] = "v1";
	const char *space = strchr(name, ' ');
	if (space)
		snprintf(version, sizeof(version), "%.*s", (int)(space - name), name);
	const struct k8s_kind *k = k8s_kind_by_name(version, space ? space + 1 : name);
	if (!k)
		fail_msg("no kind %s", name);
	return k;
}

/* What the server does with a body: decode, default, validate. Returns the object; message: "" or the Status message's
 * part behind "is invalid: ". */
static inline json_t *golden_run(const char *kind, const char *in, const char *old, char *message, size_t size)
{
	const struct k8s_kind *k = golden_kind(kind);
	json_t *obj = golden_parse(in), *before = old ? golden_parse(old) : NULL;
	struct err e = ERR_INIT;
	struct k8s_errors *errors = k8s_errors_new();
	*message = '\0';
	if (k8s_decode(k, obj, NULL, &e) || (before && k8s_decode(k, before, NULL, &e)))
		fail_msg("%s", e.text);
	if (k->set_defaults) {
		k->set_defaults(obj);
		if (before)
			k->set_defaults(before);
	}
	if (k->validate)
		k->validate(obj, before, errors);
	if (k8s_errors_count(errors)) {
		json_t *status = k8s_errors_status(errors, k, "x");
		const char *text = strstr(jpath_str(status, "message", ""), "is invalid: ");
		snprintf(message, size, "%s", text ? text + 12 : "?");
		json_decref(status);
	}
	k8s_errors_free(errors);
	json_decref(before);
	return obj;
}

static inline void golden_message(const char *kind, const char *in, const char *old, const char *want)
{
	char message[8192];
	json_decref(golden_run(kind, in, old, message, sizeof(message)));
	if (strcmp(message, want))
		fail_msg("%s\n  in   %s\n  got  %s\n  want %s", kind, in, message, want);
}

static inline void golden_defaults(const char *kind, const char *in, const char *want)
{
	char message[8192];
	json_t *obj = golden_run(kind, in, NULL, message, sizeof(message)), *w = golden_parse(want);
	if (!json_equal(obj, w) || *message) {
		own_free char *text = json_dumps(obj, JSON_SORT_KEYS);
		fail_msg("%s %s\n  got  %s\n  want %s", kind, message, text, want);
	}
	json_decref(obj);
	json_decref(w);
}

#endif
