// SPDX-License-Identifier: Apache-2.0
#include "server/controllers/owner.h"

#include <string.h>

#include "base/jpath.h"

json_t *owner_controller(const json_t *obj)
{
	json_t *r;
	size_t i;

	json_array_foreach(jpath_get(obj, "metadata.ownerReferences"), i, r)
		if (jpath_bool(r, "controller", false))
			return r;
	return NULL;
}

json_t *owner_reference(const json_t *owner)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:b,s:b}", "apiVersion", jpath_str(owner, "apiVersion", ""), "kind",
			 jpath_str(owner, "kind", ""), "name", jpath_str(owner, "metadata.name", ""), "uid",
			 jpath_str(owner, "metadata.uid", ""), "controller", 1, "blockOwnerDeletion", 1);
}

void owner_add(json_t *obj, const json_t *owner)
{
	json_t *list = jpath_get(obj, "metadata.ownerReferences");

	if (!json_is_array(list)) {
		if (jpath_set(obj, "metadata.ownerReferences", json_array()))
			return;
		list = jpath_get(obj, "metadata.ownerReferences");
	}
	json_array_append_new(list, owner_reference(owner));
}

bool owner_remove(json_t *obj, const char *uid)
{
	json_t *list = jpath_get(obj, "metadata.ownerReferences"), *r;
	bool found = false;

	for (size_t i = json_array_size(list); i-- > 0;) {
		r = json_array_get(list, i);
		if (!strcmp(jpath_str(r, "uid", ""), uid))
			found = !json_array_remove(list, i);
	}
	if (found && !json_array_size(list))
		json_object_del(json_object_get(obj, "metadata"), "ownerReferences");
	return found;
}
