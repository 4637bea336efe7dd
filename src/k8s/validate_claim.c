// SPDX-License-Identifier: Apache-2.0
// Validation of volume claims' specs, alone and inside pods and StatefulSets.
#include <string.h>

#include "base/jpath.h"
#include "hooks.h"
#include "name_rules.h"
#include "quantity.h"
#include "validate.h"

void k8s_validate_volume_claim_spec(const struct k8s_path *path, const json_t *spec, struct k8s_errors *e)
{
	static const char *const modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
	static const char *const volume_modes[] = {"Block", "Filesystem", NULL};
	const json_t *access = json_object_get(spec, "accessModes"), *size = jpath_get(spec, "resources.requests.storage");
	const struct k8s_path *requests = PATH(PATH(path, "resources"), "requests");
	bool once_pod = false;
	size_t i;
	json_t *mode;
	k8s_check_label_selector(e, PATH(path, "selector"), json_object_get(spec, "selector"));
	if (json_array_size(access) == 0)
		k8s_required(e, PATH(path, "accessModes"), "at least 1 access mode is required");
	json_array_foreach(access, i, mode) {
		once_pod |= !strcmp(jpath_str(mode, "", ""), "ReadWriteOncePod");
		k8s_check_enum(e, PATH(path, "accessModes"), jpath_str(mode, "", ""), modes, true);
	}
	if (once_pod && json_array_size(access) > 1)
		k8s_forbidden(e, PATH(path, "accessModes"), "may not use ReadWriteOncePod with other access modes");
	if (!size)
		k8s_required(e, PATH_KEY(requests, "storage"), NULL);
	else if (k8s_quantity_milli(size, 0) <= 0)
		k8s_invalid(e, PATH_KEY(requests, "storage"), size, "must be greater than zero");
	if (*jpath_str(spec, "storageClassName", ""))
		k8s_check_rule(e, PATH(path, "storageClassName"), jpath_str(spec, "storageClassName", ""), k8s_check_dns_subdomain);
	k8s_check_enum(e, PATH(path, "volumeMode"), jpath_str(spec, "volumeMode", ""), volume_modes, false);
}
