// SPDX-License-Identifier: Apache-2.0
// The table is by type, without group and version: where two groups have a type of one name, it means the same in both.
#include "descriptions.h"

#include <stddef.h>
#include <string.h>

struct field { const char *name, *text; };
struct type { const char *name, *text; const struct field *fields; size_t count; };

/* Of fields that mean the same wherever they are; a type may say more. */
static const struct field common[] = {
	{"apiVersion", "Group and version of the API that this object is written in."},
	{"kind", "What sort of object this is."},
	{"metadata", "Name, labels and what else all objects have."},
	{"spec", "What is wanted."},
	{"status", "What is, as far as it is known; kept by the system."},
	{"selector", "Which objects, by their labels."},
	{"conditions", "What has been found true or false, and since when."},
	{"observedGeneration", "The generation of the spec that the status speaks of."},
	{"lastTransitionTime", "When the status of this condition last changed."},
	{"lastUpdateTime", "When this was last looked at."},
	{"reason", "A word for programs that says why."},
	{"message", "A sentence for people that says why."},
	{"items", "The objects."},
};

static const struct field of_ObjectMeta[] = {
	{"name", "Unique among objects of the kind in the namespace; cannot be changed."},
	{"namespace", "The part of the cluster it lives in; \"default\" if none is named."},
	{"generateName", "Beginning of a name whose end the server makes up, when no name is given."},
	{"labels", "Keys and values to find objects by."},
	{"annotations", "Keys and values for tools; nothing is found by them."},
	{"uid", "Unlike any other object's, past or present; set by the server."},
	{"resourceVersion", "Changes with every change; send it back to be refused when somebody was faster."},
	{"generation", "Counts the changes of the spec."},
	{"creationTimestamp", "When it was made; set by the server."},
	{"deletionTimestamp", "When it will be gone at the latest, once its deletion was asked for."},
	{"deletionGracePeriodSeconds", "How long it has to end in good order."},
	{"finalizers", "Who has to agree before the object goes; it stays until the list is empty."},
	{"ownerReferences", "Objects that it belongs to; when all are gone, so is it."},
	{"managedFields", "Who has set which fields, for server-side apply."},
	{"selfLink", "No longer used."},
};

static const struct field of_OwnerReference[] = {
	{"controller", "This owner manages the object; one owner at most does."},
	{"blockOwnerDeletion", "The owner is not gone before this object, when it is deleted in the foreground."},
	{"name", "Name of the owner."},
	{"uid", "Its uid; another object of the same name is another owner."},
};

static const struct field of_LabelSelector[] = {
	{"matchLabels", "Labels that must be there with these values."},
	{"matchExpressions", "Demands that cannot be said with a value."},
};

static const struct field of_LabelSelectorRequirement[] = {
	{"key", "The label."},
	{"operator", "In, NotIn, Exists or DoesNotExist."},
	{"values", "For In and NotIn: the values."},
};

static const struct field of_PodSpec[] = {
	{"containers", "What runs; at least one."},
	{"initContainers", "Run to their end, one after the other, before the containers start; with restartPolicy Always they go on beside them."},
	{"ephemeralContainers", "Added to a running pod to look into it; see kubectl debug."},
	{"volumes", "Storage that containers can mount."},
	{"restartPolicy", "What becomes of a container that ended: Always (default), OnFailure or Never."},
	{"terminationGracePeriodSeconds", "Seconds between the request to stop and the kill; 30 if not said."},
	{"activeDeadlineSeconds", "Seconds after its start when the pod is stopped as failed."},
	{"dnsPolicy", "Where names are looked up: ClusterFirst, ClusterFirstWithHostNet, Default or None."},
	{"dnsConfig", "Name servers and search domains beside those of dnsPolicy."},
	{"nodeSelector", "Labels that the node must have."},
	{"nodeName", "The node it runs on; set by the scheduler, unless you choose."},
	{"serviceAccountName", "In whose name the pod talks to the API."},
	{"serviceAccount", "Older name of serviceAccountName."},
	{"automountServiceAccountToken", "Whether containers find a token of the service account."},
	{"hostNetwork", "Use the node's network instead of an own one."},
	{"hostPID", "Share the node's processes."},
	{"hostIPC", "Share the node's shared memory."},
	{"hostUsers", "False: users of the pod are others than those of the node."},
	{"shareProcessNamespace", "Containers of the pod see each other's processes."},
	{"securityContext", "Users, groups and rights for all containers."},
	{"imagePullSecrets", "Secrets with what registries ask for."},
	{"hostname", "The pod's host name; its own name if not said."},
	{"subdomain", "Makes the full name HOSTNAME.SUBDOMAIN.NAMESPACE.svc of the cluster's domain."},
	{"setHostnameAsFQDN", "Use the full name as host name."},
	{"affinity", "Where to run, in relation to labels of nodes and to other pods."},
	{"tolerations", "Taints of nodes that do not keep the pod away."},
	{"schedulerName", "Who chooses the node; default-scheduler if not said."},
	{"hostAliases", "Lines for /etc/hosts."},
	{"priorityClassName", "How important the pod is, by the name of a PriorityClass."},
	{"priority", "The same as a number; set from the class."},
	{"preemptionPolicy", "Whether it may push out pods that are less important: PreemptLowerPriority or Never."},
	{"readinessGates", "More conditions that must be true before the pod is ready."},
	{"runtimeClassName", "How to run it, by the name of a RuntimeClass."},
	{"enableServiceLinks", "Whether containers get variables that name the Services."},
	{"overhead", "What it takes beside its containers; set from the RuntimeClass."},
	{"topologySpreadConstraints", "How pods of a kind are to be spread over zones or nodes."},
	{"os", "The system that its containers need."},
	{"resources", "What the pod as a whole asks for."},
	{"schedulingGates", "While there is one, no node is chosen."},
	{"resourceClaims", "Devices that containers can use."},
};

static const struct field of_PodStatus[] = {
	{"phase", "Pending, Running, Succeeded, Failed or Unknown."},
	{"hostIP", "Address of the node."},
	{"podIP", "Address of the pod."},
	{"podIPs", "All of its addresses."},
	{"hostIPs", "All addresses of the node."},
	{"startTime", "When the node took it on."},
	{"qosClass", "Guaranteed, Burstable or BestEffort, by its requests and limits."},
	{"containerStatuses", "How each container is."},
	{"initContainerStatuses", "How each init container is."},
	{"ephemeralContainerStatuses", "How each ephemeral container is."},
	{"nominatedNodeName", "Where room is being made for it."},
};

static const struct field of_Container[] = {
	{"name", "Unique in the pod."},
	{"image", "What to run, such as registry.example/name:tag."},
	{"imagePullPolicy", "Always, IfNotPresent or Never; by default Always for the tag latest."},
	{"command", "The program, instead of the image's ENTRYPOINT."},
	{"args", "Its arguments, instead of the image's CMD."},
	{"workingDir", "Folder it starts in."},
	{"ports", "Ports it listens on; for people and for Services that name them."},
	{"env", "Environment variables."},
	{"envFrom", "Environment variables from all keys of ConfigMaps and Secrets."},
	{"resources", "What it needs (requests) and may take (limits)."},
	{"volumeMounts", "Where it sees the pod's volumes."},
	{"volumeDevices", "Volumes it sees as block devices."},
	{"livenessProbe", "When this fails, the container is started again."},
	{"readinessProbe", "While this fails, Services do not lead here."},
	{"startupProbe", "Until this succeeds, the other probes wait."},
	{"lifecycle", "What to do after the start and before the end."},
	{"securityContext", "User and rights of this container."},
	{"stdin", "Keep its standard input open."},
	{"stdinOnce", "Close it when the first client has gone."},
	{"tty", "Give it a terminal; needs stdin."},
	{"terminationMessagePath", "File with the last words of the container."},
	{"terminationMessagePolicy", "File, or FallbackToLogsOnError to use the end of the log."},
	{"restartPolicy", "Of an init container: Always makes it run beside the others."},
	{"resizePolicy", "Whether a change of resources needs a restart."},
};

static const struct field of_ContainerPort[] = {
	{"containerPort", "The port."},
	{"name", "What Services can call it."},
	{"protocol", "TCP, UDP or SCTP."},
	{"hostPort", "A port of the node that leads here."},
	{"hostIP", "The node's address for hostPort."},
};

static const struct field of_EnvVar[] = {
	{"name", "Its name."},
	{"value", "Its value; $(NAME) stands for an earlier variable."},
	{"valueFrom", "Where the value comes from."},
};

static const struct field of_EnvVarSource[] = {
	{"configMapKeyRef", "A key of a ConfigMap."},
	{"secretKeyRef", "A key of a Secret."},
	{"fieldRef", "A field of the pod."},
	{"resourceFieldRef", "A request or a limit of a container."},
};

static const struct field of_EnvFromSource[] = {
	{"configMapRef", "A ConfigMap."},
	{"secretRef", "A Secret."},
	{"prefix", "Put in front of each key."},
};

static const struct field of_ResourceRequirements[] = {
	{"requests", "What is set aside; the scheduler counts it."},
	{"limits", "What cannot be exceeded."},
	{"claims", "Devices of the pod's resourceClaims that are used here."},
};

static const struct field of_Probe[] = {
	{"exec", "A command; its exit code is the answer."},
	{"httpGet", "A request; a code from 200 to 399 is a yes."},
	{"tcpSocket", "A connection that can be made is a yes."},
	{"grpc", "The gRPC health service is asked."},
	{"initialDelaySeconds", "Seconds between the start and the first question."},
	{"periodSeconds", "Seconds between questions; 10 if not said."},
	{"timeoutSeconds", "Seconds to wait for an answer; 1 if not said."},
	{"successThreshold", "So many yes in a row make a yes."},
	{"failureThreshold", "So many no in a row make a no; 3 if not said."},
	{"terminationGracePeriodSeconds", "Seconds to end after a failed liveness or startup probe."},
};

static const struct field of_Lifecycle[] = {
	{"postStart", "Done right after the start."},
	{"preStop", "Done before the container is asked to end."},
	{"stopSignal", "The signal that asks it to end."},
};

static const struct field of_SecurityContext[] = {
	{"runAsUser", "Number of the user."},
	{"runAsGroup", "Number of the group."},
	{"runAsNonRoot", "Refuse to run as user 0."},
	{"privileged", "All rights; here, over the pod's own virtual machine."},
	{"readOnlyRootFilesystem", "The image cannot be written."},
	{"allowPrivilegeEscalation", "Whether programs can gain rights, as by set-user-id."},
	{"capabilities", "Rights of root to add or to drop."},
	{"seccompProfile", "Which system calls can be made."},
	{"seLinuxOptions", "SELinux labels."},
	{"procMount", "How /proc is shown."},
	{"appArmorProfile", "AppArmor profile."},
};

static const struct field of_PodSecurityContext[] = {
	{"runAsUser", "Number of the user."},
	{"runAsGroup", "Number of the group."},
	{"runAsNonRoot", "Refuse to run as user 0."},
	{"fsGroup", "Group that volumes belong to."},
	{"fsGroupChangePolicy", "Always, or OnRootMismatch to leave a volume that belongs to it already."},
	{"supplementalGroups", "More groups of the first process."},
	{"sysctls", "Kernel settings of the pod."},
	{"seccompProfile", "Which system calls can be made."},
};

static const struct field of_Capabilities[] = {
	{"add", "Rights to give."},
	{"drop", "Rights to take away; ALL for all."},
};

static const struct field of_Volume[] = {
	{"name", "What volumeMounts call it."},
	{"emptyDir", "An empty folder that lives as long as the pod."},
	{"configMap", "A ConfigMap, each key a file."},
	{"secret", "A Secret, each key a file, in memory."},
	{"downwardAPI", "Fields of the pod as files."},
	{"projected", "Several of these in one folder."},
	{"persistentVolumeClaim", "A claim in the same namespace."},
	{"hostPath", "A file or folder of the node."},
	{"ephemeral", "A claim made for this pod, gone with it."},
	{"csi", "A volume of a CSI driver, made for this pod."},
	{"image", "The contents of an OCI image, read-only."},
	{"nfs", "An export of an NFS server."},
};

static const struct field of_VolumeMount[] = {
	{"name", "Name of the volume."},
	{"mountPath", "Where it is seen."},
	{"subPath", "Only this file or folder of it."},
	{"subPathExpr", "The same, with $(NAME) of environment variables."},
	{"readOnly", "It cannot be written here."},
	{"mountPropagation", "Whether mounts made below are seen by others."},
	{"recursiveReadOnly", "Whether mounts below are read-only too."},
};

static const struct field of_EmptyDirVolumeSource[] = {
	{"medium", "Memory keeps it in memory; nothing said: on disk."},
	{"sizeLimit", "Above this the pod is evicted."},
};

static const struct field of_Affinity[] = {
	{"nodeAffinity", "By labels of nodes."},
	{"podAffinity", "Near certain pods."},
	{"podAntiAffinity", "Away from certain pods."},
};

static const struct field of_Toleration[] = {
	{"key", "The taint; nothing: all."},
	{"operator", "Exists or Equal."},
	{"value", "For Equal: the value."},
	{"effect", "NoSchedule, PreferNoSchedule or NoExecute; nothing: all."},
	{"tolerationSeconds", "For NoExecute: how long to stay."},
};

static const struct field of_Taint[] = {
	{"key", "Its name."},
	{"value", "Its value."},
	{"effect", "NoSchedule, PreferNoSchedule or NoExecute."},
	{"timeAdded", "When it was added."},
};

static const struct field of_TopologySpreadConstraint[] = {
	{"maxSkew", "By how much the numbers in two places may differ."},
	{"topologyKey", "The node's label that says what a place is."},
	{"whenUnsatisfiable", "DoNotSchedule or ScheduleAnyway."},
	{"labelSelector", "Which pods are counted."},
	{"minDomains", "In how many places at least."},
};

static const struct field of_ServiceSpec[] = {
	{"selector", "Labels of the pods."},
	{"ports", "Its ports and where they lead."},
	{"type", "ClusterIP, NodePort, LoadBalancer or ExternalName."},
	{"clusterIP", "Its address; None for names alone, without an address."},
	{"clusterIPs", "The same, one for each family."},
	{"externalName", "For ExternalName: the name that it stands for."},
	{"externalIPs", "Addresses of nodes at which it is reached too."},
	{"sessionAffinity", "ClientIP sends a client to the same pod again; None does not."},
	{"externalTrafficPolicy", "Local keeps what comes from outside on the node it came to."},
	{"internalTrafficPolicy", "Local keeps what comes from pods on their node."},
	{"publishNotReadyAddresses", "Lead to pods that are not ready, too."},
	{"ipFamilies", "IPv4, IPv6."},
	{"ipFamilyPolicy", "How many families it has."},
	{"healthCheckNodePort", "Port at which a load balancer asks whether pods are here."},
	{"loadBalancerClass", "Who makes the load balancer."},
};

static const struct field of_ServicePort[] = {
	{"name", "Its name; needed when there are several."},
	{"port", "The port of the Service."},
	{"targetPort", "Port of the pods, a number or a name."},
	{"nodePort", "Port of every node, for NodePort and LoadBalancer."},
	{"protocol", "TCP, UDP or SCTP."},
	{"appProtocol", "What is spoken there."},
};

static const struct field of_NodeSpec[] = {
	{"unschedulable", "No new pods; see kubectl cordon."},
	{"taints", "Keep pods away that do not tolerate them."},
	{"podCIDR", "Addresses of its pods."},
	{"podCIDRs", "The same, one for each family."},
	{"providerID", "Its name with whoever provides it."},
};

static const struct field of_NodeStatus[] = {
	{"capacity", "What it has."},
	{"allocatable", "What of it pods can have."},
	{"addresses", "How it is reached."},
	{"nodeInfo", "Its system and versions."},
	{"images", "Images that are there."},
	{"daemonEndpoints", "Port of its kubelet."},
	{"volumesAttached", "Volumes attached to it."},
	{"volumesInUse", "Volumes mounted on it."},
	{"phase", "No longer used."},
};

static const struct field of_ConfigMap[] = {
	{"data", "Keys and texts."},
	{"binaryData", "Keys and bytes in base64."},
	{"immutable", "True: it can only be deleted."},
};

static const struct field of_Secret[] = {
	{"data", "Keys and bytes in base64."},
	{"stringData", "Keys and texts; kept in data, never shown."},
	{"type", "What it is for, such as Opaque or kubernetes.io/tls."},
	{"immutable", "True: it can only be deleted."},
};

static const struct field of_ServiceAccount[] = {
	{"secrets", "Secrets that its pods may mount."},
	{"imagePullSecrets", "Secrets for registries that its pods get."},
	{"automountServiceAccountToken", "Whether its pods find a token."},
};

static const struct field of_Event[] = {
	{"involvedObject", "The object."},
	{"regarding", "The object."},
	{"type", "Normal or Warning."},
	{"count", "How often."},
	{"firstTimestamp", "When first."},
	{"lastTimestamp", "When last."},
	{"note", "A sentence for people."},
};

static const struct field of_PersistentVolumeClaimSpec[] = {
	{"accessModes", "ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod."},
	{"resources", "How much."},
	{"storageClassName", "Of which StorageClass; \"\" for none."},
	{"volumeName", "The volume that was found."},
	{"volumeMode", "Filesystem or Block."},
	{"selector", "Labels that the volume must have."},
	{"dataSource", "A snapshot or claim whose contents it begins with."},
	{"dataSourceRef", "The same, for any kind of object."},
};

static const struct field of_PersistentVolumeSpec[] = {
	{"capacity", "How much."},
	{"accessModes", "How it can be used."},
	{"persistentVolumeReclaimPolicy", "What becomes of it without its claim: Retain or Delete."},
	{"storageClassName", "The StorageClass it is of."},
	{"claimRef", "The claim it belongs to."},
	{"nodeAffinity", "From which nodes it can be reached."},
	{"volumeMode", "Filesystem or Block."},
	{"mountOptions", "Options for mount."},
	{"csi", "A volume of a CSI driver."},
	{"hostPath", "A folder of the node; for trials."},
	{"local", "A disk or folder of one node."},
	{"nfs", "An export of an NFS server."},
};

static const struct field of_StorageClass[] = {
	{"provisioner", "Who makes volumes of this class."},
	{"parameters", "What it is told."},
	{"reclaimPolicy", "What becomes of volumes without a claim: Delete or Retain."},
	{"volumeBindingMode", "Immediate, or WaitForFirstConsumer to wait for a pod."},
	{"allowVolumeExpansion", "Whether claims can grow."},
	{"mountOptions", "Options for mount."},
	{"allowedTopologies", "Where volumes can be."},
};

static const struct field of_DeploymentSpec[] = {
	{"replicas", "How many; 1 if not said."},
	{"selector", "Labels of its pods; must match the template's."},
	{"template", "What its pods look like."},
	{"strategy", "How old pods are replaced."},
	{"minReadySeconds", "Seconds a pod must be ready before it counts."},
	{"revisionHistoryLimit", "How many old templates to keep for undo; 10 if not said."},
	{"paused", "Do not roll out changes of the template."},
	{"progressDeadlineSeconds", "Seconds without progress after which it is said to be stuck; 600 if not said."},
};

static const struct field of_DeploymentStrategy[] = {
	{"type", "RollingUpdate, or Recreate to stop the old ones first."},
	{"rollingUpdate", "For RollingUpdate: how many at a time."},
};

static const struct field of_RollingUpdateDeployment[] = {
	{"maxUnavailable", "How many may be missing; a number or percent."},
	{"maxSurge", "How many there may be in addition; a number or percent."},
};

static const struct field of_ReplicaSetSpec[] = {
	{"replicas", "How many; 1 if not said."},
	{"selector", "Labels of its pods; must match the template's."},
	{"template", "What its pods look like."},
	{"minReadySeconds", "Seconds a pod must be ready before it counts."},
};

static const struct field of_StatefulSetSpec[] = {
	{"replicas", "How many; 1 if not said."},
	{"selector", "Labels of its pods; must match the template's."},
	{"template", "What its pods look like."},
	{"serviceName", "The Service that gives its pods names."},
	{"volumeClaimTemplates", "Claims that each pod gets for itself."},
	{"podManagementPolicy", "OrderedReady (one after the other) or Parallel."},
	{"updateStrategy", "How old pods are replaced."},
	{"revisionHistoryLimit", "How many old templates to keep."},
	{"minReadySeconds", "Seconds a pod must be ready before it counts."},
	{"ordinals", "The first pod's number."},
	{"persistentVolumeClaimRetentionPolicy", "What becomes of claims."},
};

static const struct field of_DaemonSetSpec[] = {
	{"selector", "Labels of its pods; must match the template's."},
	{"template", "What its pods look like; its node selector and affinity say on which nodes."},
	{"updateStrategy", "How old pods are replaced: RollingUpdate or OnDelete."},
	{"minReadySeconds", "Seconds a pod must be ready before it counts."},
	{"revisionHistoryLimit", "How many old templates to keep."},
};

static const struct field of_JobSpec[] = {
	{"template", "What its pods look like."},
	{"completions", "How many must succeed; without it any one success is enough."},
	{"parallelism", "How many run at the same time; 1 if not said."},
	{"completionMode", "NonIndexed, or Indexed to give each pod a number."},
	{"backoffLimit", "How many failures to take; 6 if not said."},
	{"backoffLimitPerIndex", "How many failures of each number to take."},
	{"maxFailedIndexes", "How many numbers may fail."},
	{"activeDeadlineSeconds", "Seconds after which it is stopped."},
	{"ttlSecondsAfterFinished", "Seconds after its end when it is deleted."},
	{"suspend", "True: its pods are stopped, and no new ones made."},
	{"podFailurePolicy", "What failures mean, by exit code or condition of the pod."},
	{"successPolicy", "Which numbers are enough."},
	{"podReplacementPolicy", "Whether a new pod waits until the old one is over (Failed) or not (TerminatingOrFailed)."},
	{"selector", "Labels of its pods; leave it to the server."},
	{"manualSelector", "True: the selector is yours."},
	{"managedBy", "Who else takes care of it."},
};

static const struct field of_CronJobSpec[] = {
	{"schedule", "Minute, hour, day, month, weekday; or @hourly and the like."},
	{"timeZone", "Whose time it is, such as Europe/Berlin; UTC if not said."},
	{"jobTemplate", "What the Jobs look like."},
	{"concurrencyPolicy", "While one runs: Allow, Forbid or Replace."},
	{"startingDeadlineSeconds", "How late a Job may be started; later it is left out."},
	{"suspend", "True: no new Jobs."},
	{"successfulJobsHistoryLimit", "How many that succeeded to keep; 3 if not said."},
	{"failedJobsHistoryLimit", "How many that failed to keep; 1 if not said."},
};

static const struct field of_HorizontalPodAutoscalerSpec[] = {
	{"scaleTargetRef", "What is scaled; anything with a scale."},
	{"minReplicas", "Never fewer; 1 if not said."},
	{"maxReplicas", "Never more."},
	{"metrics", "What is measured, and the wanted values."},
	{"behavior", "How fast it goes up and down."},
	{"targetCPUUtilizationPercentage", "Wanted use of the processors, in percent of the requests."},
};

static const struct field of_PodDisruptionBudgetSpec[] = {
	{"selector", "Labels of the pods."},
	{"minAvailable", "How many must stay; a number or percent."},
	{"maxUnavailable", "How many may be missing; a number or percent."},
	{"unhealthyPodEvictionPolicy", "Whether pods that are not ready may always be evicted."},
};

static const struct field of_NetworkPolicySpec[] = {
	{"podSelector", "The pods it is for; {} for all of the namespace."},
	{"policyTypes", "Ingress, Egress or both."},
	{"ingress", "Who may connect to them; everything else is refused."},
	{"egress", "Where they may connect to; everything else is refused."},
};

static const struct field of_IngressSpec[] = {
	{"rules", "Hosts and paths."},
	{"defaultBackend", "Where the rest leads."},
	{"tls", "Certificates by host."},
	{"ingressClassName", "Who serves it."},
};

static const struct field of_Role[] = {
	{"rules", "What may be done."},
};

static const struct field of_ClusterRole[] = {
	{"rules", "What may be done."},
	{"aggregationRule", "Other ClusterRoles whose rules it has."},
};

static const struct field of_RoleBinding[] = {
	{"subjects", "Who gets them."},
	{"roleRef", "The Role or ClusterRole; cannot be changed."},
};

static const struct field of_ClusterRoleBinding[] = {
	{"subjects", "Who gets them."},
	{"roleRef", "The ClusterRole; cannot be changed."},
};

static const struct field of_PolicyRule[] = {
	{"verbs", "get, list, watch, create, update, patch, delete and others; * for all."},
	{"apiGroups", "Groups of the resources; \"\" for the core."},
	{"resources", "Resources, as pods or pods/log; * for all."},
	{"resourceNames", "Only objects of these names."},
	{"nonResourceURLs", "Paths that are no resources, as /metrics."},
};

static const struct field of_Subject[] = {
	{"kind", "User, Group or ServiceAccount."},
	{"name", "Name of the user, group or account."},
	{"namespace", "Of a ServiceAccount."},
};

static const struct field of_ResourceQuotaSpec[] = {
	{"hard", "The most of each resource or count of objects."},
	{"scopes", "Only pods of these sorts are counted."},
	{"scopeSelector", "The same, with operators."},
};

static const struct field of_LimitRangeItem[] = {
	{"type", "Container, Pod or PersistentVolumeClaim."},
	{"default", "Limit of who says none."},
	{"defaultRequest", "Request of who says none."},
	{"max", "The most."},
	{"min", "The least."},
	{"maxLimitRequestRatio", "How far the limit may be above the request."},
};

static const struct field of_PriorityClass[] = {
	{"value", "The number; higher is more important."},
	{"globalDefault", "For pods that name no class."},
	{"preemptionPolicy", "Whether its pods may push out others."},
	{"description", "For people: what it is for."},
};

static const struct field of_RuntimeClass[] = {
	{"handler", "What nodes call it."},
	{"overhead", "What a pod takes beside its containers."},
	{"scheduling", "Nodes that offer it."},
};

static const struct field of_Endpoints[] = {
	{"subsets", "Addresses and their ports."},
};

static const struct field of_EndpointSlice[] = {
	{"addressType", "IPv4, IPv6 or FQDN."},
	{"endpoints", "The addresses."},
	{"ports", "Their ports."},
};

static const struct field of_LeaseSpec[] = {
	{"holderIdentity", "Who."},
	{"leaseDurationSeconds", "How long it is held without being renewed."},
	{"acquireTime", "Since when."},
	{"renewTime", "When last renewed."},
	{"leaseTransitions", "How often it has changed hands."},
};

static const struct field of_CertificateSigningRequestSpec[] = {
	{"request", "The request, PEM in base64."},
	{"signerName", "Who is to sign."},
	{"usages", "What the certificate is to be used for."},
	{"expirationSeconds", "How long it is to be valid."},
};

static const struct field of_CustomResourceDefinitionSpec[] = {
	{"group", "Group of its API."},
	{"names", "What its objects are called."},
	{"scope", "Namespaced or Cluster."},
	{"versions", "Its versions, each with a schema."},
	{"conversion", "How versions become each other."},
	{"preserveUnknownFields", "No longer used; false."},
};

static const struct field of_ControllerRevision[] = {
	{"data", "The state."},
	{"revision", "Its number."},
};

static const struct field of_Binding[] = {
	{"target", "The node."},
};

static const struct field of_NodeMetrics[] = {
	{"usage", "Processors and memory."},
};

static const struct field of_PodMetrics[] = {
	{"containers", "What each uses."},
};

#define OF(type) of_##type, sizeof(of_##type) / sizeof(struct field)

static const struct type types[] = {
	{"ObjectMeta", "What every object has: its name, where it is, labels, and notes of the system.", OF(ObjectMeta)},
	{"OwnerReference", "An object that another one belongs to.", OF(OwnerReference)},
	{"LabelSelector", "Objects with certain labels; all that is said must hold.", OF(LabelSelector)},
	{"LabelSelectorRequirement", "A demand on one label.", OF(LabelSelectorRequirement)},
	{"Pod", "Containers that run together on one node, here in a virtual machine of their own.", NULL, 0},
	{"PodSpec", "What a pod is to run, where, and how.", OF(PodSpec)},
	{"PodTemplateSpec", "What pods made from this look like.", NULL, 0},
	{"PodStatus", "What a node has said of its pod.", OF(PodStatus)},
	{"Container", "One program of a pod, from an image.", OF(Container)},
	{"ContainerPort", "A port that a container listens on.", OF(ContainerPort)},
	{"EnvVar", "An environment variable.", OF(EnvVar)},
	{"EnvVarSource", "Where the value of a variable comes from.", OF(EnvVarSource)},
	{"EnvFromSource", "Variables from all keys of an object.", OF(EnvFromSource)},
	{"ResourceRequirements", "What is needed and what may be taken.", OF(ResourceRequirements)},
	{"Probe", "A question put to a container again and again.", OF(Probe)},
	{"Lifecycle", "What to do at turns of a container's life.", OF(Lifecycle)},
	{"SecurityContext", "User and rights of a container.", OF(SecurityContext)},
	{"PodSecurityContext", "Users, groups and rights for all containers of a pod.", OF(PodSecurityContext)},
	{"Capabilities", "Rights of root.", OF(Capabilities)},
	{"Volume", "Storage that a pod's containers can mount; one of the sources.", OF(Volume)},
	{"VolumeMount", "Where a container sees a volume.", OF(VolumeMount)},
	{"EmptyDirVolumeSource", "An empty folder.", OF(EmptyDirVolumeSource)},
	{"Affinity", "Where a pod is to run.", OF(Affinity)},
	{"Toleration", "A taint that does not keep the pod away.", OF(Toleration)},
	{"Taint", "Keeps pods away that do not tolerate it.", OF(Taint)},
	{"TopologySpreadConstraint", "How evenly pods are spread.", OF(TopologySpreadConstraint)},
	{"Service", "A name and an address that lead to pods.", NULL, 0},
	{"ServiceSpec", "Which pods a Service leads to, and how it is reached.", OF(ServiceSpec)},
	{"ServicePort", "A port of a Service.", OF(ServicePort)},
	{"Namespace", "A part of the cluster with its own names, rights and quotas.", NULL, 0},
	{"Node", "A machine that runs pods.", NULL, 0},
	{"NodeSpec", "What is set for a node.", OF(NodeSpec)},
	{"NodeStatus", "What a node has said of itself.", OF(NodeStatus)},
	{"ConfigMap", "Settings that pods can read.", OF(ConfigMap)},
	{"Secret", "Data that not everybody may see.", OF(Secret)},
	{"ServiceAccount", "Whose name pods use towards the API.", OF(ServiceAccount)},
	{"Event", "What happened to an object.", OF(Event)},
	{"PersistentVolume", "A piece of storage of the cluster.", NULL, 0},
	{"PersistentVolumeClaim", "A wish for storage.", NULL, 0},
	{"PersistentVolumeClaimSpec", "What storage is wished for.", OF(PersistentVolumeClaimSpec)},
	{"PersistentVolumeSpec", "A piece of storage.", OF(PersistentVolumeSpec)},
	{"StorageClass", "A kind of storage and who makes it.", OF(StorageClass)},
	{"Deployment", "Keeps pods of one template running and replaces them step by step when it changes.", NULL, 0},
	{"DeploymentSpec", "How many pods, of which template, and how they are replaced.", OF(DeploymentSpec)},
	{"DeploymentStrategy", "How old pods are replaced.", OF(DeploymentStrategy)},
	{"RollingUpdateDeployment", "How many pods are replaced at a time.", OF(RollingUpdateDeployment)},
	{"ReplicaSet", "Keeps a number of pods of one template running.", NULL, 0},
	{"ReplicaSetSpec", "How many pods, of which template.", OF(ReplicaSetSpec)},
	{"StatefulSet", "Keeps pods running that have names, numbers and claims of their own.", NULL, 0},
	{"StatefulSetSpec", "How many pods, of which template, with which claims.", OF(StatefulSetSpec)},
	{"DaemonSet", "Keeps one pod on each node.", NULL, 0},
	{"DaemonSetSpec", "What runs on each node.", OF(DaemonSetSpec)},
	{"Job", "Runs pods until enough have succeeded.", NULL, 0},
	{"JobSpec", "What to run, how often, and when to give up.", OF(JobSpec)},
	{"CronJob", "Makes Jobs at set times.", NULL, 0},
	{"CronJobSpec", "When to make which Jobs.", OF(CronJobSpec)},
	{"HorizontalPodAutoscaler", "Sets the replicas of a workload by the load of its pods.", NULL, 0},
	{"HorizontalPodAutoscalerSpec", "What is scaled, between which numbers, by what.", OF(HorizontalPodAutoscalerSpec)},
	{"PodDisruptionBudget", "How many of some pods may be evicted at a time.", NULL, 0},
	{"PodDisruptionBudgetSpec", "Which pods, and how many must stay.", OF(PodDisruptionBudgetSpec)},
	{"NetworkPolicy", "Who may talk to some pods, and to whom they may talk.", NULL, 0},
	{"NetworkPolicySpec", "Which pods, and what is allowed.", OF(NetworkPolicySpec)},
	{"Ingress", "How requests from outside reach Services, by host and path.", NULL, 0},
	{"IngressSpec", "Hosts, paths and where they lead.", OF(IngressSpec)},
	{"Role", "Rights within a namespace.", OF(Role)},
	{"ClusterRole", "Rights, for bindings to give.", OF(ClusterRole)},
	{"RoleBinding", "Gives the rights of a role within a namespace.", OF(RoleBinding)},
	{"ClusterRoleBinding", "Gives the rights of a ClusterRole everywhere.", OF(ClusterRoleBinding)},
	{"PolicyRule", "What may be done to what.", OF(PolicyRule)},
	{"Subject", "Who gets rights.", OF(Subject)},
	{"ResourceQuota", "How much a namespace may use.", NULL, 0},
	{"ResourceQuotaSpec", "How much may be used.", OF(ResourceQuotaSpec)},
	{"LimitRange", "Defaults and bounds for what containers ask for.", NULL, 0},
	{"LimitRangeItem", "Defaults and bounds of one sort.", OF(LimitRangeItem)},
	{"PriorityClass", "How important pods are.", OF(PriorityClass)},
	{"RuntimeClass", "A way to run pods.", OF(RuntimeClass)},
	{"Endpoints", "Addresses behind a Service.", OF(Endpoints)},
	{"EndpointSlice", "Addresses behind a Service, a part of them.", OF(EndpointSlice)},
	{"Lease", "Who holds something at the moment, and since when.", NULL, 0},
	{"LeaseSpec", "Who holds it.", OF(LeaseSpec)},
	{"CertificateSigningRequest", "A wish for a certificate.", NULL, 0},
	{"CertificateSigningRequestSpec", "What is to be signed, and by whom.", OF(CertificateSigningRequestSpec)},
	{"CustomResourceDefinition", "A kind of objects that this cluster has in addition.", NULL, 0},
	{"CustomResourceDefinitionSpec", "Names, scope and versions of a kind.", OF(CustomResourceDefinitionSpec)},
	{"PodTemplate", "A pod to copy.", NULL, 0},
	{"ReplicationController", "Keeps a number of pods running; older than ReplicaSets.", NULL, 0},
	{"ControllerRevision", "A state of a workload, kept to go back to.", OF(ControllerRevision)},
	{"CSINode", "CSI drivers of a node.", NULL, 0},
	{"CSIDriver", "A CSI driver of the cluster.", NULL, 0},
	{"VolumeAttachment", "A volume that is to be attached to a node.", NULL, 0},
	{"IngressClass", "Who serves Ingresses.", NULL, 0},
	{"TokenReview", "Asks whose token this is.", NULL, 0},
	{"SubjectAccessReview", "Asks whether somebody may do something.", NULL, 0},
	{"SelfSubjectAccessReview", "Asks whether you may do something.", NULL, 0},
	{"SelfSubjectRulesReview", "Asks what you may do.", NULL, 0},
	{"LocalSubjectAccessReview", "Asks whether somebody may do something in a namespace.", NULL, 0},
	{"SelfSubjectReview", "Asks who you are.", NULL, 0},
	{"CSIStorageCapacity", "How much room a CSI driver has somewhere.", NULL, 0},
	{"VolumeSnapshot", "The state of a claim at a moment.", NULL, 0},
	{"VolumeSnapshotContent", "What holds a snapshot.", NULL, 0},
	{"VolumeSnapshotClass", "A kind of snapshots and who makes them.", NULL, 0},
	{"Binding", "Says on which node a pod is to run.", OF(Binding)},
	{"Eviction", "Asks that a pod be ended, if disruption budgets allow it.", NULL, 0},
	{"TokenRequest", "Asks for a token of a service account.", NULL, 0},
	{"ComponentStatus", "How a part of the system is.", NULL, 0},
	{"NodeMetrics", "What a node uses now.", OF(NodeMetrics)},
	{"PodMetrics", "What a pod's containers use now.", OF(PodMetrics)},
};

static const char *find(const struct field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(fields[i].name, name))
			return fields[i].text;
	return NULL;
}

const char *k8s_description(const char *type, const char *field)
{
	const char *dot = strrchr(type, '.'), *name = dot ? dot + 1 : type, *text = NULL;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (strcmp(types[i].name, name))
			continue;
		text = field ? find(types[i].fields, types[i].count, field) : types[i].text;
		break;
	}
	return text || !field ? text : find(common, sizeof(common) / sizeof(*common), field);
}
