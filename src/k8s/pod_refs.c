// SPDX-License-Identifier: Apache-2.0
// What a pod refers to; see pod_refs.h.
#include "k8s/pod_refs.h"

#include <stdbool.h>
#include <string.h>

static bool refers(const char *key, const json_t *value)
{
	static const char *const keys[] = { "clusterTrustBundle", "configMap", "configMapKeyRef", "configMapRef", "ephemeral", "imagePullSecrets",
		"nodePublishSecretRef", "persistentVolumeClaim", "resourceClaims", "secret", "secretKeyRef", "secretName", "secretRef", "serviceAccount",
		"serviceAccountName", "serviceAccountToken" };

	if (json_is_string(value) && !*json_string_value(value))
		return false;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

const char *k8s_pod_reference(const json_t *part)
{
	const char *key, *found;
	json_t *child;
	size_t i;

	json_array_foreach((json_t *)part, i, child)
		if ((found = k8s_pod_reference(child)))
			return found;
	json_object_foreach((json_t *)part, key, child) {
		if (refers(key, child))
			return key;
		if ((found = k8s_pod_reference(child)))
			return found;
	}
	return NULL;
}
