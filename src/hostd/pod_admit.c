// SPDX-License-Identifier: Apache-2.0
// What a pod may ask for that no virtual machine can give it: said at once, instead of giving it something else.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "events.h"
#include "pod.h"
#include "pod_containers.h"

#define EXIT_REFUSED 128

/* As a kubelet on a host that has no AppArmor: who asks for a profile does not run without it. */
static bool wants_apparmor(const json_t *pod)
{
	static const char *const lists[] = {"spec.initContainers", "spec.containers"};
	static const char prefix[] = "container.apparmor.security.beta.kubernetes.io/", field[] = "securityContext.appArmorProfile.type";
	bool wants = strcmp(jpath_str(pod, "spec.securityContext.appArmorProfile.type", "Unconfined"), "Unconfined");
	const char *key;
	json_t *v;
	size_t i;
	for (size_t l = 0; l < 2; l++)
		json_array_foreach(jpath_get(pod, lists[l]), i, v)
			wants |= strcmp(jpath_str(v, field, "Unconfined"), "Unconfined") != 0;
	json_object_foreach(jpath_get(pod, "metadata.annotations"), key, v)   // before 1.30
		wants |= !strncmp(key, prefix, strlen(prefix)) && json_is_string(v) && strcmp(json_string_value(v), "unconfined");
	return wants;
}

/* Why it cannot run here, a sentence; NULL: it can. */
static const char *obstacle(const json_t *pod, const char **reason)
{
	static const struct { const char *field, *why; } namespaces[] = {
		{"spec.hostNetwork", "hostNetwork: a pod is a virtual machine and cannot use the node's network; "
				     "hostPort or a Service of type NodePort make it reachable at the node's address"},
		{"spec.hostPID", "hostPID: a pod is a virtual machine and cannot see the node's processes; "
				 "shareProcessNamespace shares those of the pod's containers"},
		{"spec.hostIPC", "hostIPC: a pod is a virtual machine and cannot use the node's shared memory; "
				 "the pod's own containers share theirs"},
	};
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++)
		if (jpath_bool(pod, namespaces[i].field, false)) {
			*reason = "HostNamespaceNotSupported";
			return namespaces[i].why;
		}
	const char *os = jpath_str(pod, "spec.os.name", "linux");
	if (strcmp(os, "linux")) {
		*reason = "PodOSNotSupported";
		return "Failed to admit pod as the OS field doesn't match node OS";
	}
	if (wants_apparmor(pod)) {
		*reason = "AppArmor";
		return "Cannot enforce AppArmor: AppArmor is not enabled on the host";
	}
	return NULL;
}

bool pod_refused(struct pod *p)
{
	const char *reason = NULL, *why = obstacle(p->seen, &reason);
	if (!why)
		return false;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
	free(p->message);
	p->message = strdup(why);
	events_emit(p->host->events, p->seen, NULL, "Warning", reason, "%s", why);
	/* Whoever waits for a container to start (kubectl debug does) learns that it never will. */
	for (size_t i = 0; i < p->containers_count; i++)
		if (p->containers[i].phase == CONTAINER_WAITING)
			container_set_terminated(p, &p->containers[i], EXIT_REFUSED, 0, reason, why, 0, 0);
	return true;
}
