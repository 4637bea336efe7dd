// SPDX-License-Identifier: Apache-2.0
// Printer columns of the core group besides Pod and volumes.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "printers.h"
#include "table.h"

/* ---- Node ---- */

const struct k8s_column k8s_columns_node[] = {
	COLUMN_NAME,
	COLUMN("Status", "Whether the node is ready and takes pods."),
	COLUMN("Roles", "Roles of the node."),
	COLUMN_AGE,
	COLUMN("Version", "Version of the node's agent."),
	COLUMN_WIDE("Internal-IP", "Address inside the cluster."),
	COLUMN_WIDE("External-IP", "Address outside the cluster."),
	COLUMN_WIDE("OS-Image", "Operating system."),
	COLUMN_WIDE("Kernel-Version", "Kernel."),
	COLUMN_WIDE("Container-Runtime", "Container runtime and its version."),
	COLUMN_END,
};

static int cell_node_status(json_t *cells, const json_t *node)
{
	const char *status = "Unknown";
	char text[64];
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(node, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), "Ready"))
			status = !strcmp(jpath_str(c, "status", ""), "True") ? "Ready" : "NotReady";
	snprintf(text, sizeof(text), "%s%s", status, jpath_bool(node, "spec.unschedulable", false) ? ",SchedulingDisabled" : "");
	return k8s_cell(cells, text);
}

static int cell_node_roles(json_t *cells, const json_t *node)
{
	static const char prefix[] = "node-role.kubernetes.io/";
	own_json json_t *roles = json_object();
	struct buf b = BUF_INIT;
	const char *key;
	json_t *value;
	json_object_foreach(jpath_get(node, "metadata.labels"), key, value) {
		const char *role = !strncmp(key, prefix, sizeof(prefix) - 1) ? key + sizeof(prefix) - 1
				 : !strcmp(key, "kubernetes.io/role") ? json_string_value(value) : NULL;
		if (role && *role)
			json_object_set_new(roles, role, json_true());
	}
	own_free char *sorted = json_dumps(roles, JSON_SORT_KEYS | JSON_COMPACT);
	for (const char *c = sorted ? sorted : ""; *c; c++) {   // {"a":true,"b":true}: the words in quotes
		const char *end = *c == '"' ? strchr(c + 1, '"') : NULL;
		if (!end)
			continue;
		buf_printf(&b, "%s%.*s", b.len ? "," : "", (int)(end - c - 1), c + 1);
		c = end;
	}
	return k8s_cell_buf(cells, &b, "<none>");
}

static int cell_node_address(json_t *cells, const json_t *node, const char *type)
{
	size_t i;
	json_t *a;
	json_array_foreach(jpath_get(node, "status.addresses"), i, a)
		if (!strcmp(jpath_str(a, "type", ""), type))
			return k8s_cell(cells, jpath_str(a, "address", ""));
	return k8s_cell(cells, "<none>");
}

int k8s_cells_node(const json_t *node, json_t *cells)
{
	static const struct k8s_cell_path middle[] = {{CELL_AGE, "metadata.creationTimestamp", NULL},
		{CELL_STR, "status.nodeInfo.kubeletVersion", NULL}, {CELL_END, NULL, NULL}};
	static const struct k8s_cell_path wide[] = {{CELL_STR, "status.nodeInfo.osImage", "<unknown>"},
		{CELL_STR, "status.nodeInfo.kernelVersion", "<unknown>"},
		{CELL_STR, "status.nodeInfo.containerRuntimeVersion", "<unknown>"}, {CELL_END, NULL, NULL}};
	int rc = k8s_cell(cells, jpath_str(node, "metadata.name", ""));
	rc = rc ? rc : cell_node_status(cells, node);
	rc = rc ? rc : cell_node_roles(cells, node);
	rc = rc ? rc : k8s_cells_from(cells, node, middle);
	rc = rc ? rc : cell_node_address(cells, node, "InternalIP");
	rc = rc ? rc : cell_node_address(cells, node, "ExternalIP");
	return rc ? rc : k8s_cells_from(cells, node, wide);
}

/* ---- Event ---- */

const struct k8s_column k8s_columns_event[] = {
	COLUMN("Last Seen", "When it last happened."),
	COLUMN("Type", "Normal or Warning."),
	COLUMN("Reason", "Short word for the cause."),
	COLUMN("Object", "What it happened to."),
	COLUMN_WIDE("Subobject", "Part of the object."),
	COLUMN_WIDE("Source", "Who reports it."),
	COLUMN("Message", "What happened."),
	COLUMN_WIDE("First Seen", "When it first happened."),
	{"Count", "string", "", "How often it happened.", 1},
	{"Name", "string", "name", "Name of the object, unique among its kind in a namespace.", 1},
	COLUMN_END,
};

int k8s_cells_event(const json_t *event, json_t *cells)
{
	const char *first = jpath_str(event, "firstTimestamp", jpath_str(event, "eventTime", NULL));
	const char *last = jpath_str(event, "series.lastObservedTime", jpath_str(event, "lastTimestamp", first));
	const char *name = jpath_str(event, "involvedObject.name", ""), *kind = jpath_str(event, "involvedObject.kind", "");
	const char *component = jpath_str(event, "source.component", jpath_str(event, "reportingComponent", ""));
	const char *host = jpath_str(event, "source.host", jpath_str(event, "reportingInstance", "")), *message = jpath_str(event, "message", "");
	long long count = jpath_int(event, "series.count", jpath_int(event, "count", 1));
	struct buf object = BUF_INIT, source = BUF_INIT, text = BUF_INIT;
	for (const char *c = kind; *c; c++)
		buf_printf(&object, "%c", *c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
	buf_printf(&object, "%s%s", *name ? "/" : "", name);
	buf_printf(&source, "%s%s%s", component, *component && *host ? ", " : "", host);
	buf_puts(&text, message + strspn(message, " \t\r\n"));
	while (text.len && strchr(" \t\r\n", text.data[text.len - 1]))
		text.data[--text.len] = '\0';
	int rc = k8s_cell_age(cells, last);
	rc = rc ? rc : k8s_cell(cells, jpath_str(event, "type", ""));
	rc = rc ? rc : k8s_cell(cells, jpath_str(event, "reason", ""));
	rc |= k8s_cell_buf(cells, &object, "");
	rc = rc ? rc : k8s_cell(cells, jpath_str(event, "involvedObject.fieldPath", ""));
	rc |= k8s_cell_buf(cells, &source, "");
	rc |= k8s_cell_buf(cells, &text, "");
	rc = rc ? rc : k8s_cell_age(cells, first);
	rc = rc ? rc : k8s_cell_int(cells, count > 0 ? count : 1);
	return rc ? rc : k8s_cell(cells, jpath_str(event, "metadata.name", ""));
}

/* ---- Service ---- */

const struct k8s_column k8s_columns_service[] = {
	COLUMN_NAME,
	COLUMN("Type", "How the service is reached."),
	COLUMN("Cluster-IP", "Address inside the cluster."),
	COLUMN("External-IP", "Addresses outside the cluster."),
	COLUMN("Port(s)", "Ports, with the node's port behind a colon."),
	COLUMN_AGE,
	COLUMN_WIDE("Selector", "Labels of the pods that serve it."),
	COLUMN_END,
};

static void put_list(struct buf *b, const json_t *list)
{
	size_t i;
	json_t *v;
	json_array_foreach(list, i, v)
		buf_printf(b, "%s%s", b->len ? "," : "", jpath_str(v, "", ""));
}

static int cell_external_ip(json_t *cells, const json_t *svc)
{
	const char *type = jpath_str(svc, "spec.type", "ClusterIP");
	const json_t *ips = jpath_get(svc, "spec.externalIPs");
	struct buf b = BUF_INIT;
	size_t i;
	json_t *ingress;
	if (!strcmp(type, "ExternalName"))
		return k8s_cell(cells, jpath_str(svc, "spec.externalName", ""));
	if (!strcmp(type, "LoadBalancer")) {
		json_array_foreach(jpath_get(svc, "status.loadBalancer.ingress"), i, ingress)
			buf_printf(&b, "%s%s", b.len ? "," : "", jpath_str(ingress, "ip", jpath_str(ingress, "hostname", "")));
		put_list(&b, ips);
		return k8s_cell_buf(cells, &b, "<pending>");
	}
	put_list(&b, ips);
	return k8s_cell_buf(cells, &b, "<none>");
}

static int cell_service_ports(json_t *cells, const json_t *svc)
{
	struct buf b = BUF_INIT;
	size_t i;
	json_t *p;
	json_array_foreach(jpath_get(svc, "spec.ports"), i, p) {
		buf_printf(&b, "%s%lld", i ? "," : "", jpath_int(p, "port", 0));
		if (jpath_int(p, "nodePort", 0))
			buf_printf(&b, ":%lld", jpath_int(p, "nodePort", 0));
		buf_printf(&b, "/%s", jpath_str(p, "protocol", "TCP"));
	}
	return k8s_cell_buf(cells, &b, "<none>");
}

int k8s_cells_service(const json_t *svc, json_t *cells)
{
	static const struct k8s_cell_path first[] = {{CELL_STR, "metadata.name", NULL}, {CELL_STR, "spec.type", "ClusterIP"},
		{CELL_STR, "spec.clusterIP", "<none>"}, {CELL_END, NULL, NULL}};
	int rc = k8s_cells_from(cells, svc, first);
	rc = rc ? rc : cell_external_ip(cells, svc);
	rc = rc ? rc : cell_service_ports(cells, svc);
	rc = rc ? rc : k8s_cell_age(cells, jpath_str(svc, "metadata.creationTimestamp", NULL));
	return rc ? rc : k8s_cell_labels(cells, jpath_get(svc, "spec.selector"));
}

/* ---- Endpoints ---- */

const struct k8s_column k8s_columns_endpoints[] = {
	COLUMN_NAME, COLUMN("Endpoints", "Addresses and ports that serve."), COLUMN_AGE, COLUMN_END};

int k8s_cells_endpoints(const json_t *ep, json_t *cells)
{
	struct buf b = BUF_INIT;
	size_t s, p, a, count = 0;
	json_t *subset, *port, *address;
	json_array_foreach(jpath_get(ep, "subsets"), s, subset) {
		const json_t *ports = jpath_get(subset, "ports");
		if (json_array_size(ports) == 0) {
			json_array_foreach(jpath_get(subset, "addresses"), a, address)
				if (count++ < 3)
					buf_printf(&b, "%s%s", b.len ? "," : "", jpath_str(address, "ip", ""));
			continue;
		}
		json_array_foreach(ports, p, port)
			json_array_foreach(jpath_get(subset, "addresses"), a, address) {
				const char *ip = jpath_str(address, "ip", "");
				bool v6 = strchr(ip, ':') != NULL;
				if (count++ < 3)
					buf_printf(&b, "%s%s%s%s:%lld", b.len ? "," : "", v6 ? "[" : "", ip, v6 ? "]" : "",
						   jpath_int(port, "port", 0));
			}
	}
	if (count > 3)
		buf_printf(&b, " + %zu more...", count - 3);
	int rc = k8s_cell(cells, jpath_str(ep, "metadata.name", ""));
	rc |= k8s_cell_buf(cells, &b, "<none>");
	return rc ? rc : k8s_cell_age(cells, jpath_str(ep, "metadata.creationTimestamp", NULL));
}

/* ---- small ones ---- */

const struct k8s_column k8s_columns_namespace[] = {
	COLUMN_NAME, COLUMN("Status", "Active or Terminating."), COLUMN_AGE, COLUMN_END};

int k8s_cells_namespace(const json_t *ns, json_t *cells)
{
	static const struct k8s_cell_path list[] = {{CELL_STR, "metadata.name", NULL}, {CELL_STR, "status.phase", NULL},
		{CELL_AGE, "metadata.creationTimestamp", NULL}, {CELL_END, NULL, NULL}};
	return k8s_cells_from(cells, ns, list);
}

const struct k8s_column k8s_columns_configmap[] = {COLUMN_NAME, COLUMN("Data", "Number of entries."), COLUMN_AGE, COLUMN_END};

int k8s_cells_configmap(const json_t *cm, json_t *cells)
{
	size_t n = json_object_size(jpath_get(cm, "data")) + json_object_size(jpath_get(cm, "binaryData"));
	int rc = k8s_cell(cells, jpath_str(cm, "metadata.name", ""));
	rc = rc ? rc : k8s_cell_int(cells, (long long)n);
	return rc ? rc : k8s_cell_age(cells, jpath_str(cm, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_secret[] = {
	COLUMN_NAME, COLUMN("Type", "What the secret is for."), COLUMN("Data", "Number of entries."), COLUMN_AGE, COLUMN_END};

int k8s_cells_secret(const json_t *secret, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(secret, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, jpath_str(secret, "type", ""));
	rc = rc ? rc : k8s_cell_int(cells, (long long)json_object_size(jpath_get(secret, "data")));
	return rc ? rc : k8s_cell_age(cells, jpath_str(secret, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_serviceaccount[] = {
	COLUMN_NAME, COLUMN("Secrets", "Number of secrets listed."), COLUMN_AGE, COLUMN_END};

int k8s_cells_serviceaccount(const json_t *sa, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(sa, "metadata.name", ""));
	rc = rc ? rc : k8s_cell_int(cells, (long long)json_array_size(jpath_get(sa, "secrets")));
	return rc ? rc : k8s_cell_age(cells, jpath_str(sa, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_resourcequota[] = {
	COLUMN_NAME, COLUMN("Request", "Used and allowed requests."), COLUMN("Limit", "Used and allowed limits."), COLUMN_AGE,
	COLUMN_END};

int k8s_cells_resourcequota(const json_t *quota, json_t *cells)
{
	const json_t *hard = jpath_get(quota, "status.hard"), *used = jpath_get(quota, "status.used");
	own_free char *sorted = json_dumps(hard ? hard : NULL, JSON_SORT_KEYS);
	own_json json_t *in_order = sorted ? json_loads(sorted, 0, NULL) : NULL;
	struct buf texts[2] = {BUF_INIT, BUF_INIT};
	const char *key;
	json_t *value;
	json_object_foreach(in_order, key, value) {
		struct buf *b = &texts[!strncmp(key, "limits.", 7)];
		buf_printf(b, "%s%s: %s/%s", b->len ? ", " : "", key, jpath_str(json_object_get(used, key), "", "0"),
			   jpath_str(value, "", ""));
	}
	int rc = k8s_cell(cells, jpath_str(quota, "metadata.name", ""));
	rc |= k8s_cell_buf(cells, &texts[0], "");
	rc |= k8s_cell_buf(cells, &texts[1], "");
	return rc ? rc : k8s_cell_age(cells, jpath_str(quota, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_created_at[] = {
	COLUMN_NAME, {"Created At", "date", "", "When the object was created.", 0}, COLUMN_END};

int k8s_cells_created_at(const json_t *obj, json_t *cells)
{
	static const struct k8s_cell_path list[] = {{CELL_STR, "metadata.name", NULL}, {CELL_STR, "metadata.creationTimestamp", "<unknown>"},
		{CELL_END, NULL, NULL}};
	return k8s_cells_from(cells, obj, list);
}

const struct k8s_column k8s_columns_podtemplate[] = {
	COLUMN_NAME, COLUMN("Containers", "Names of the containers in the template."),
	COLUMN("Images", "Images of the containers in the template."), COLUMN("Pod Labels", "Labels of the template."), COLUMN_END};

int k8s_cells_podtemplate(const json_t *t, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(t, "metadata.name", ""));
	rc = rc ? rc : k8s_cell_containers(cells, jpath_get(t, "template.spec"));
	rc = rc ? rc : k8s_cell_images(cells, jpath_get(t, "template.spec"));
	return rc ? rc : k8s_cell_labels(cells, jpath_get(t, "template.metadata.labels"));
}
