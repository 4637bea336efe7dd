// SPDX-License-Identifier: Apache-2.0
// Printer columns of metrics.k8s.io: processor and memory as `kubectl top` counts them, and what the VM's memory is: annotations, which the
// server makes of what the node says (src/server/metrics_memory.h).
#include <stdio.h>

#include "base/jpath.h"
#include "printers.h"
#include "quantity.h"
#include "table.h"

#define OF_VM(what) "Memory of the VM: " what
#define COLUMNS_AFTER_NAME \
	COLUMN("CPU", "Thousandths of processors."), COLUMN("Memory", "What containers, or the node, use."), \
	COLUMN("Resident", OF_VM("in the host's memory, its own.")), COLUMN("Shared", OF_VM("in a template's image, with its other clones.")), \
	COLUMN("Compressed", OF_VM("in the compressed store.")), COLUMN("Ballooned", OF_VM("given back through its balloon.")), \
	COLUMN("Window", "What CPU is the average of."), COLUMN_END

const struct k8s_column k8s_columns_podmetrics[] = {COLUMN_NAME, COLUMNS_AFTER_NAME};
const struct k8s_column k8s_columns_nodemetrics[] = {COLUMN_NAME, COLUMNS_AFTER_NAME};

static int cell_bytes(json_t *cells, int64_t bytes)
{
	char text[32];
	snprintf(text, sizeof(text), "%lldMi", (long long)(bytes >> 20));
	return bytes < 0 ? k8s_cell(cells, "<none>") : k8s_cell(cells, text);
}

static int put_cells(json_t *cells, const json_t *obj, int64_t cpu_milli, int64_t memory_bytes)
{
	static const char *const of_vm[] = {"bulkhead.dev/resident", "bulkhead.dev/shared", "bulkhead.dev/compressed", "bulkhead.dev/ballooned"};
	const json_t *annotations = jpath_get(obj, "metadata.annotations");
	char cpu[32];
	snprintf(cpu, sizeof(cpu), "%lldm", (long long)cpu_milli);
	int rc = k8s_cell(cells, jpath_str(obj, "metadata.name", "")) || k8s_cell(cells, cpu) || cell_bytes(cells, memory_bytes);
	for (size_t i = 0; !rc && i < sizeof(of_vm) / sizeof(of_vm[0]); i++)
		rc = cell_bytes(cells, k8s_quantity_value(json_object_get(annotations, of_vm[i]), -1));
	return rc ? -1 : k8s_cell(cells, jpath_str(obj, "window", ""));
}

int k8s_cells_podmetrics(const json_t *obj, json_t *cells)
{
	int64_t cpu = 0, memory = 0;
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(obj, "containers"), i, c) {
		cpu += k8s_quantity_milli(jpath_get(c, "usage.cpu"), 0);
		memory += k8s_quantity_value(jpath_get(c, "usage.memory"), 0);
	}
	return put_cells(cells, obj, cpu, memory);
}

int k8s_cells_nodemetrics(const json_t *obj, json_t *cells)
{
	return put_cells(cells, obj, k8s_quantity_milli(jpath_get(obj, "usage.cpu"), 0), k8s_quantity_value(jpath_get(obj, "usage.memory"), 0));
}
