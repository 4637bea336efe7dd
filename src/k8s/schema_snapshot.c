// SPDX-License-Identifier: Apache-2.0
// Fields of volume snapshots, which elsewhere are custom resources: they have no binary form.
#include "schema_macros.h"

SCHEMA(snapshot_VolumeSnapshot, "io.k8s.storage.snapshot.v1.VolumeSnapshot",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", snapshot_VolumeSnapshotSpec, REQUIRED),
	O("status", snapshot_VolumeSnapshotStatus))

SCHEMA(snapshot_VolumeSnapshotSpec, "io.k8s.storage.snapshot.v1.VolumeSnapshotSpec",
	O("source", snapshot_VolumeSnapshotSource, REQUIRED), SP("volumeSnapshotClassName"))

SCHEMA(snapshot_VolumeSnapshotSource, "io.k8s.storage.snapshot.v1.VolumeSnapshotSource",
	SP("persistentVolumeClaimName"), SP("volumeSnapshotContentName"))

SCHEMA(snapshot_VolumeSnapshotStatus, "io.k8s.storage.snapshot.v1.VolumeSnapshotStatus",
	SP("boundVolumeSnapshotContentName"), TIME("creationTime"), O("error", snapshot_VolumeSnapshotError), BP("readyToUse"),
	Q("restoreSize"), SP("volumeGroupSnapshotName"))

SCHEMA(snapshot_VolumeSnapshotError, "io.k8s.storage.snapshot.v1.VolumeSnapshotError",
	SP("message"), TIME("time"))

SCHEMA(snapshot_VolumeSnapshotContent, "io.k8s.storage.snapshot.v1.VolumeSnapshotContent",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), O("spec", snapshot_VolumeSnapshotContentSpec, REQUIRED),
	O("status", snapshot_VolumeSnapshotContentStatus))

SCHEMA(snapshot_VolumeSnapshotContentSpec, "io.k8s.storage.snapshot.v1.VolumeSnapshotContentSpec",
	S("deletionPolicy", REQUIRED), S("driver", REQUIRED), O("source", snapshot_VolumeSnapshotContentSource, REQUIRED),
	SP("sourceVolumeMode"), SP("volumeSnapshotClassName"), O("volumeSnapshotRef", core_ObjectReference, REQUIRED))

SCHEMA(snapshot_VolumeSnapshotContentSource, "io.k8s.storage.snapshot.v1.VolumeSnapshotContentSource",
	SP("snapshotHandle"), SP("volumeHandle"))

SCHEMA(snapshot_VolumeSnapshotContentStatus, "io.k8s.storage.snapshot.v1.VolumeSnapshotContentStatus",
	I64P("creationTime"), O("error", snapshot_VolumeSnapshotError), BP("readyToUse"), I64P("restoreSize"),
	SP("snapshotHandle"), SP("volumeGroupSnapshotHandle"))

SCHEMA(snapshot_VolumeSnapshotClass, "io.k8s.storage.snapshot.v1.VolumeSnapshotClass",
	S("apiVersion"), S("deletionPolicy", REQUIRED), S("driver", REQUIRED), S("kind"), O("metadata", meta_ObjectMeta),
	M("parameters", STRING))
