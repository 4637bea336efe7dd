// SPDX-License-Identifier: Apache-2.0
// Fields of API types; see schema.h. Group metrics.k8s.io.
#include "schema_macros.h"

SCHEMA(metrics_ContainerMetrics, "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics",
	S("name", REQUIRED), M("usage", QUANTITY, REQUIRED))

SCHEMA(metrics_NodeMetrics, "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics",
	S("apiVersion"), S("kind"), O("metadata", meta_ObjectMeta), TIME("timestamp", REQUIRED), M("usage", QUANTITY, REQUIRED),
	S("window", REQUIRED))

SCHEMA(metrics_PodMetrics, "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
	S("apiVersion"), LO("containers", metrics_ContainerMetrics, REQUIRED), S("kind"), O("metadata", meta_ObjectMeta),
	TIME("timestamp", REQUIRED), S("window", REQUIRED))
