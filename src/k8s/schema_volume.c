// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Volumes: volume sources, claims, persistent volumes.
#include "schema_macros.h"

SCHEMA(core_AWSElasticBlockStoreVolumeSource, "io.k8s.api.core.v1.AWSElasticBlockStoreVolumeSource",
	S("fsType"), I32("partition"), B("readOnly"), S("volumeID", REQUIRED))

SCHEMA(core_AzureDiskVolumeSource, "io.k8s.api.core.v1.AzureDiskVolumeSource",
	SP("cachingMode"), S("diskName", REQUIRED), S("diskURI", REQUIRED), SP("fsType"), SP("kind"), BP("readOnly"))

SCHEMA(core_AzureFilePersistentVolumeSource, "io.k8s.api.core.v1.AzureFilePersistentVolumeSource",
	B("readOnly"), S("secretName", REQUIRED), SP("secretNamespace"), S("shareName", REQUIRED))

SCHEMA(core_AzureFileVolumeSource, "io.k8s.api.core.v1.AzureFileVolumeSource",
	B("readOnly"), S("secretName", REQUIRED), S("shareName", REQUIRED))

SCHEMA(core_CSIPersistentVolumeSource, "io.k8s.api.core.v1.CSIPersistentVolumeSource",
	O("controllerExpandSecretRef", core_SecretReference), O("controllerPublishSecretRef", core_SecretReference),
	S("driver", REQUIRED), S("fsType"), O("nodeExpandSecretRef", core_SecretReference),
	O("nodePublishSecretRef", core_SecretReference), O("nodeStageSecretRef", core_SecretReference),
	B("readOnly"), M("volumeAttributes", STRING), S("volumeHandle", REQUIRED))

SCHEMA(core_CSIVolumeSource, "io.k8s.api.core.v1.CSIVolumeSource",
	S("driver", REQUIRED), SP("fsType"), O("nodePublishSecretRef", core_LocalObjectReference), BP("readOnly"),
	M("volumeAttributes", STRING))

SCHEMA(core_CephFSPersistentVolumeSource, "io.k8s.api.core.v1.CephFSPersistentVolumeSource",
	L("monitors", STRING, REQUIRED, ATOMIC), S("path"), B("readOnly"), S("secretFile"),
	O("secretRef", core_SecretReference), S("user"))

SCHEMA(core_CephFSVolumeSource, "io.k8s.api.core.v1.CephFSVolumeSource",
	L("monitors", STRING, REQUIRED, ATOMIC), S("path"), B("readOnly"), S("secretFile"),
	O("secretRef", core_LocalObjectReference), S("user"))

SCHEMA(core_CinderPersistentVolumeSource, "io.k8s.api.core.v1.CinderPersistentVolumeSource",
	S("fsType"), B("readOnly"), O("secretRef", core_SecretReference), S("volumeID", REQUIRED))

SCHEMA(core_CinderVolumeSource, "io.k8s.api.core.v1.CinderVolumeSource",
	S("fsType"), B("readOnly"), O("secretRef", core_LocalObjectReference), S("volumeID", REQUIRED))

SCHEMA(core_ClusterTrustBundleProjection, "io.k8s.api.core.v1.ClusterTrustBundleProjection",
	O("labelSelector", meta_LabelSelector), SP("name"), BP("optional"), S("path", REQUIRED), SP("signerName"))

SCHEMA(core_ConfigMapProjection, "io.k8s.api.core.v1.ConfigMapProjection",
	LO("items", core_KeyToPath, ATOMIC), S("name"), BP("optional"))

SCHEMA(core_ConfigMapVolumeSource, "io.k8s.api.core.v1.ConfigMapVolumeSource",
	I32P("defaultMode"), LO("items", core_KeyToPath, ATOMIC), S("name"), BP("optional"))

SCHEMA(core_DownwardAPIProjection, "io.k8s.api.core.v1.DownwardAPIProjection",
	LO("items", core_DownwardAPIVolumeFile, ATOMIC))

SCHEMA(core_DownwardAPIVolumeSource, "io.k8s.api.core.v1.DownwardAPIVolumeSource",
	I32P("defaultMode"), LO("items", core_DownwardAPIVolumeFile, ATOMIC))

SCHEMA(core_EmptyDirVolumeSource, "io.k8s.api.core.v1.EmptyDirVolumeSource",
	S("medium"), Q("sizeLimit"))

SCHEMA(core_EphemeralVolumeSource, "io.k8s.api.core.v1.EphemeralVolumeSource",
	O("volumeClaimTemplate", core_PersistentVolumeClaimTemplate))

SCHEMA(core_FCVolumeSource, "io.k8s.api.core.v1.FCVolumeSource",
	S("fsType"), I32P("lun"), B("readOnly"), L("targetWWNs", STRING, ATOMIC), L("wwids", STRING, ATOMIC))

SCHEMA(core_FlexPersistentVolumeSource, "io.k8s.api.core.v1.FlexPersistentVolumeSource",
	S("driver", REQUIRED), S("fsType"), M("options", STRING), B("readOnly"),
	O("secretRef", core_SecretReference))

SCHEMA(core_FlexVolumeSource, "io.k8s.api.core.v1.FlexVolumeSource",
	S("driver", REQUIRED), S("fsType"), M("options", STRING), B("readOnly"),
	O("secretRef", core_LocalObjectReference))

SCHEMA(core_FlockerVolumeSource, "io.k8s.api.core.v1.FlockerVolumeSource",
	S("datasetName"), S("datasetUUID"))

SCHEMA(core_GCEPersistentDiskVolumeSource, "io.k8s.api.core.v1.GCEPersistentDiskVolumeSource",
	S("fsType"), I32("partition"), S("pdName", REQUIRED), B("readOnly"))

SCHEMA(core_GitRepoVolumeSource, "io.k8s.api.core.v1.GitRepoVolumeSource",
	S("directory"), S("repository", REQUIRED), S("revision"))

SCHEMA(core_GlusterfsPersistentVolumeSource, "io.k8s.api.core.v1.GlusterfsPersistentVolumeSource",
	S("endpoints", REQUIRED), SP("endpointsNamespace"), S("path", REQUIRED), B("readOnly"))

SCHEMA(core_GlusterfsVolumeSource, "io.k8s.api.core.v1.GlusterfsVolumeSource",
	S("endpoints", REQUIRED), S("path", REQUIRED), B("readOnly"))

SCHEMA(core_HostPathVolumeSource, "io.k8s.api.core.v1.HostPathVolumeSource",
	S("path", REQUIRED), SP("type"))

SCHEMA(core_ISCSIPersistentVolumeSource, "io.k8s.api.core.v1.ISCSIPersistentVolumeSource",
	B("chapAuthDiscovery"), B("chapAuthSession"), S("fsType"), SP("initiatorName"), S("iqn", REQUIRED),
	S("iscsiInterface"), I32("lun", REQUIRED), L("portals", STRING, ATOMIC), B("readOnly"),
	O("secretRef", core_SecretReference), S("targetPortal", REQUIRED))

SCHEMA(core_ISCSIVolumeSource, "io.k8s.api.core.v1.ISCSIVolumeSource",
	B("chapAuthDiscovery"), B("chapAuthSession"), S("fsType"), SP("initiatorName"), S("iqn", REQUIRED),
	S("iscsiInterface"), I32("lun", REQUIRED), L("portals", STRING, ATOMIC), B("readOnly"),
	O("secretRef", core_LocalObjectReference), S("targetPortal", REQUIRED))

SCHEMA(core_ImageVolumeSource, "io.k8s.api.core.v1.ImageVolumeSource",
	S("pullPolicy"), S("reference"))

SCHEMA(core_KeyToPath, "io.k8s.api.core.v1.KeyToPath",
	S("key", REQUIRED), I32P("mode"), S("path", REQUIRED))

SCHEMA(core_LocalVolumeSource, "io.k8s.api.core.v1.LocalVolumeSource",
	SP("fsType"), S("path", REQUIRED))

SCHEMA(core_NFSVolumeSource, "io.k8s.api.core.v1.NFSVolumeSource",
	S("path", REQUIRED), B("readOnly"), S("server", REQUIRED))

SCHEMA(core_PersistentVolume, "io.k8s.api.core.v1.PersistentVolume",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_PersistentVolumeSpec),
	O("status", core_PersistentVolumeStatus))

SCHEMA(core_PersistentVolumeClaim, "io.k8s.api.core.v1.PersistentVolumeClaim",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", core_PersistentVolumeClaimSpec),
	O("status", core_PersistentVolumeClaimStatus))

SCHEMA(core_PersistentVolumeClaimCondition, "io.k8s.api.core.v1.PersistentVolumeClaimCondition",
	TIME("lastProbeTime"), TIME("lastTransitionTime"), S("message"), S("reason"), S("status", REQUIRED),
	S("type", REQUIRED))

SCHEMA(core_PersistentVolumeClaimSpec, "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
	L("accessModes", STRING, ATOMIC), O("dataSource", core_TypedLocalObjectReference),
	O("dataSourceRef", core_TypedObjectReference), O("resources", core_VolumeResourceRequirements),
	O("selector", meta_LabelSelector), SP("storageClassName"), SP("volumeAttributesClassName"), SP("volumeMode"),
	S("volumeName"))

SCHEMA(core_PersistentVolumeClaimStatus, "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
	L("accessModes", STRING, ATOMIC), M("allocatedResourceStatuses", STRING), M("allocatedResources", QUANTITY),
	M("capacity", QUANTITY),
	LO("conditions", core_PersistentVolumeClaimCondition, KEYS("type"), MERGE_BY("type")),
	SP("currentVolumeAttributesClassName"), O("modifyVolumeStatus", core_ModifyVolumeStatus), S("phase"))

SCHEMA(core_PersistentVolumeClaimTemplate, "io.k8s.api.core.v1.PersistentVolumeClaimTemplate",
	O("metadata", meta_ObjectMeta), O("spec", core_PersistentVolumeClaimSpec, REQUIRED))

SCHEMA(core_PersistentVolumeClaimVolumeSource, "io.k8s.api.core.v1.PersistentVolumeClaimVolumeSource",
	S("claimName", REQUIRED), B("readOnly"))

SCHEMA(core_PersistentVolumeSpec, "io.k8s.api.core.v1.PersistentVolumeSpec",
	L("accessModes", STRING, ATOMIC), O("awsElasticBlockStore", core_AWSElasticBlockStoreVolumeSource),
	O("azureDisk", core_AzureDiskVolumeSource), O("azureFile", core_AzureFilePersistentVolumeSource),
	M("capacity", QUANTITY), O("cephfs", core_CephFSPersistentVolumeSource),
	O("cinder", core_CinderPersistentVolumeSource), O("claimRef", core_ObjectReference),
	O("csi", core_CSIPersistentVolumeSource), O("fc", core_FCVolumeSource),
	O("flexVolume", core_FlexPersistentVolumeSource), O("flocker", core_FlockerVolumeSource),
	O("gcePersistentDisk", core_GCEPersistentDiskVolumeSource),
	O("glusterfs", core_GlusterfsPersistentVolumeSource), O("hostPath", core_HostPathVolumeSource),
	O("iscsi", core_ISCSIPersistentVolumeSource), O("local", core_LocalVolumeSource),
	L("mountOptions", STRING, ATOMIC), O("nfs", core_NFSVolumeSource),
	O("nodeAffinity", core_VolumeNodeAffinity), S("persistentVolumeReclaimPolicy"),
	O("photonPersistentDisk", core_PhotonPersistentDiskVolumeSource),
	O("portworxVolume", core_PortworxVolumeSource), O("quobyte", core_QuobyteVolumeSource),
	O("rbd", core_RBDPersistentVolumeSource), O("scaleIO", core_ScaleIOPersistentVolumeSource),
	S("storageClassName"), O("storageos", core_StorageOSPersistentVolumeSource), SP("volumeAttributesClassName"),
	SP("volumeMode"), O("vsphereVolume", core_VsphereVirtualDiskVolumeSource))

SCHEMA(core_PhotonPersistentDiskVolumeSource, "io.k8s.api.core.v1.PhotonPersistentDiskVolumeSource",
	S("fsType"), S("pdID", REQUIRED))

SCHEMA(core_PodCertificateProjection, "io.k8s.api.core.v1.PodCertificateProjection",
	S("certificateChainPath"), S("credentialBundlePath"), S("keyPath"), S("keyType", REQUIRED),
	I32P("maxExpirationSeconds"), S("signerName", REQUIRED), M("userAnnotations", STRING))

SCHEMA(core_PortworxVolumeSource, "io.k8s.api.core.v1.PortworxVolumeSource",
	S("fsType"), B("readOnly"), S("volumeID", REQUIRED))

SCHEMA(core_ProjectedVolumeSource, "io.k8s.api.core.v1.ProjectedVolumeSource",
	I32P("defaultMode"), LO("sources", core_VolumeProjection, ATOMIC))

SCHEMA(core_QuobyteVolumeSource, "io.k8s.api.core.v1.QuobyteVolumeSource",
	S("group"), B("readOnly"), S("registry", REQUIRED), S("tenant"), S("user"), S("volume", REQUIRED))

SCHEMA(core_RBDPersistentVolumeSource, "io.k8s.api.core.v1.RBDPersistentVolumeSource",
	S("fsType"), S("image", REQUIRED), S("keyring"), L("monitors", STRING, REQUIRED, ATOMIC), S("pool"),
	B("readOnly"), O("secretRef", core_SecretReference), S("user"))

SCHEMA(core_RBDVolumeSource, "io.k8s.api.core.v1.RBDVolumeSource",
	S("fsType"), S("image", REQUIRED), S("keyring"), L("monitors", STRING, REQUIRED, ATOMIC), S("pool"),
	B("readOnly"), O("secretRef", core_LocalObjectReference), S("user"))

SCHEMA(core_ScaleIOPersistentVolumeSource, "io.k8s.api.core.v1.ScaleIOPersistentVolumeSource",
	S("fsType"), S("gateway", REQUIRED), S("protectionDomain"), B("readOnly"),
	O("secretRef", core_SecretReference, REQUIRED), B("sslEnabled"), S("storageMode"), S("storagePool"),
	S("system", REQUIRED), S("volumeName"))

SCHEMA(core_ScaleIOVolumeSource, "io.k8s.api.core.v1.ScaleIOVolumeSource",
	S("fsType"), S("gateway", REQUIRED), S("protectionDomain"), B("readOnly"),
	O("secretRef", core_LocalObjectReference, REQUIRED), B("sslEnabled"), S("storageMode"), S("storagePool"),
	S("system", REQUIRED), S("volumeName"))

SCHEMA(core_SecretProjection, "io.k8s.api.core.v1.SecretProjection",
	LO("items", core_KeyToPath, ATOMIC), S("name"), BP("optional"))

SCHEMA(core_SecretVolumeSource, "io.k8s.api.core.v1.SecretVolumeSource",
	I32P("defaultMode"), LO("items", core_KeyToPath, ATOMIC), BP("optional"), S("secretName"))

SCHEMA(core_ServiceAccountTokenProjection, "io.k8s.api.core.v1.ServiceAccountTokenProjection",
	S("audience"), I64P("expirationSeconds"), S("path", REQUIRED))

SCHEMA(core_StorageOSPersistentVolumeSource, "io.k8s.api.core.v1.StorageOSPersistentVolumeSource",
	S("fsType"), B("readOnly"), O("secretRef", core_ObjectReference), S("volumeName"), S("volumeNamespace"))

SCHEMA(core_StorageOSVolumeSource, "io.k8s.api.core.v1.StorageOSVolumeSource",
	S("fsType"), B("readOnly"), O("secretRef", core_LocalObjectReference), S("volumeName"), S("volumeNamespace"))

SCHEMA_ATOMIC(core_TypedLocalObjectReference, "io.k8s.api.core.v1.TypedLocalObjectReference",
	SP("apiGroup"), S("kind", REQUIRED), S("name", REQUIRED))

SCHEMA(core_TypedObjectReference, "io.k8s.api.core.v1.TypedObjectReference",
	SP("apiGroup"), S("kind", REQUIRED), S("name", REQUIRED), SP("namespace"))

SCHEMA(core_Volume, "io.k8s.api.core.v1.Volume",
	O("awsElasticBlockStore", core_AWSElasticBlockStoreVolumeSource), O("azureDisk", core_AzureDiskVolumeSource),
	O("azureFile", core_AzureFileVolumeSource), O("cephfs", core_CephFSVolumeSource),
	O("cinder", core_CinderVolumeSource), O("configMap", core_ConfigMapVolumeSource),
	O("csi", core_CSIVolumeSource), O("downwardAPI", core_DownwardAPIVolumeSource),
	O("emptyDir", core_EmptyDirVolumeSource), O("ephemeral", core_EphemeralVolumeSource),
	O("fc", core_FCVolumeSource), O("flexVolume", core_FlexVolumeSource), O("flocker", core_FlockerVolumeSource),
	O("gcePersistentDisk", core_GCEPersistentDiskVolumeSource), O("gitRepo", core_GitRepoVolumeSource),
	O("glusterfs", core_GlusterfsVolumeSource), O("hostPath", core_HostPathVolumeSource),
	O("image", core_ImageVolumeSource), O("iscsi", core_ISCSIVolumeSource), S("name", REQUIRED),
	O("nfs", core_NFSVolumeSource), O("persistentVolumeClaim", core_PersistentVolumeClaimVolumeSource),
	O("photonPersistentDisk", core_PhotonPersistentDiskVolumeSource),
	O("portworxVolume", core_PortworxVolumeSource), O("projected", core_ProjectedVolumeSource),
	O("quobyte", core_QuobyteVolumeSource), O("rbd", core_RBDVolumeSource),
	O("scaleIO", core_ScaleIOVolumeSource), O("secret", core_SecretVolumeSource),
	O("storageos", core_StorageOSVolumeSource), O("vsphereVolume", core_VsphereVirtualDiskVolumeSource))

SCHEMA(core_VolumeNodeAffinity, "io.k8s.api.core.v1.VolumeNodeAffinity",
	O("required", core_NodeSelector))

SCHEMA(core_VolumeProjection, "io.k8s.api.core.v1.VolumeProjection",
	O("clusterTrustBundle", core_ClusterTrustBundleProjection), O("configMap", core_ConfigMapProjection),
	O("downwardAPI", core_DownwardAPIProjection), O("podCertificate", core_PodCertificateProjection),
	O("secret", core_SecretProjection), O("serviceAccountToken", core_ServiceAccountTokenProjection))

SCHEMA(core_VolumeResourceRequirements, "io.k8s.api.core.v1.VolumeResourceRequirements",
	M("limits", QUANTITY), M("requests", QUANTITY))

SCHEMA(core_VsphereVirtualDiskVolumeSource, "io.k8s.api.core.v1.VsphereVirtualDiskVolumeSource",
	S("fsType"), S("storagePolicyID"), S("storagePolicyName"), S("volumePath", REQUIRED))
