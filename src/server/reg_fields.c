// SPDX-License-Identifier: Apache-2.0
#include "server/reg_fields.h"

#include "base/jpath.h"
#include "base/own.h"
#include "k8s/schema.h"
#include "server/status.h"

void reg_fields_forget(struct reg_write *w)
{
	if (!w->unknown)
		return;
	if (!w->unknown_given)
		w->unknown_given = json_array_size(w->unknown) + 1;
	while (json_array_size(w->unknown) >= w->unknown_given)
		json_array_remove(w->unknown, json_array_size(w->unknown) - 1);
}

/* Fields that a definition has lost since stand in what is stored: who did not write them is not told of them. */
static void drop_old_unknown(struct reg_write *w, const json_t *cur)
{
	own_json json_t *copy = json_deep_copy(cur), *old = json_array();
	json_t *text, *have;
	size_t i, j;

	if (!copy || !old || k8s_decode(w->kind, copy, old, NULL))
		return;
	json_array_foreach(old, i, text)
		json_array_foreach(w->unknown, j, have)
			if (json_equal(text, have)) {
				json_array_remove(w->unknown, j);
				break;
			}
}

json_t *reg_fields_decode(struct reg_write *w, json_t *obj, const json_t *cur)
{
	struct err e = ERR_INIT;

	if (k8s_decode(w->kind, obj, w->fields == REG_FIELDS_IGNORE ? NULL : w->unknown, &e))
		return status_bad_request("%s", e.text);
	if (cur && w->kind->custom && json_array_size(w->unknown))
		drop_old_unknown(w, cur);
	if (w->fields == REG_FIELDS_STRICT && json_array_size(w->unknown)) {
		k8s_strict_error(jpath_str(obj, "apiVersion", ""), w->kind->kind, w->unknown, &e);
		return status_bad_request("%s", e.text);
	}
	return NULL;
}

void reg_fields_warn(struct reg_write *w, const json_t *obj)
{
	own_json json_t *texts = w->kind->warn && w->unknown ? json_array() : NULL;

	if (!texts)
		return;
	w->kind->warn(obj, texts);
	json_array_extend(w->unknown, texts);
}
