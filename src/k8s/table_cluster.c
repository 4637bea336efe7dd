// SPDX-License-Identifier: Apache-2.0
// Printer columns of storage, network, access and the other small groups.
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "printers.h"
#include "table.h"

#define NAME {CELL_STR, "metadata.name", NULL}
#define AGE {CELL_AGE, "metadata.creationTimestamp", NULL}
#define END {CELL_END, NULL, NULL}

/* ---- volumes ---- */

const struct k8s_column k8s_columns_persistentvolume[] = {
	COLUMN_NAME, COLUMN("Capacity", "Size."), COLUMN("Access Modes", "How it can be mounted."),
	COLUMN("Reclaim Policy", "What happens when its claim goes."), COLUMN("Status", "Whether it is bound."),
	COLUMN("Claim", "Claim it is bound to."), COLUMN("StorageClass", "Class it belongs to."),
	COLUMN("VolumeAttributesClass", "Attributes class."), COLUMN("Reason", "Why it is in this state."), COLUMN_AGE,
	COLUMN_WIDE("VolumeMode", "Filesystem or Block."), COLUMN_END};

const struct k8s_column k8s_columns_persistentvolumeclaim[] = {
	COLUMN_NAME, COLUMN("Status", "Whether it is bound."), COLUMN("Volume", "Volume it is bound to."), COLUMN("Capacity", "Size."),
	COLUMN("Access Modes", "How it can be mounted."), COLUMN("StorageClass", "Class it asks for."),
	COLUMN("VolumeAttributesClass", "Attributes class."), COLUMN_AGE, COLUMN_WIDE("VolumeMode", "Filesystem or Block."), COLUMN_END};

static int cell_access_modes(json_t *cells, const json_t *modes)
{
	static const char *const names[][2] = {{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"},
		{"ReadWriteOncePod", "RWOP"}};
	struct buf b = BUF_INIT;
	size_t i;
	json_t *mode;
	for (size_t n = 0; n < 4; n++)
		json_array_foreach(modes, i, mode)
			if (!strcmp(jpath_str(mode, "", ""), names[n][0])) {
				buf_printf(&b, "%s%s", b.len ? "," : "", names[n][1]);
				break;
			}
	return k8s_cell_buf(cells, &b, "");
}

static const char *phase(const json_t *obj)
{
	return jpath_get(obj, "metadata.deletionTimestamp") ? "Terminating" : jpath_str(obj, "status.phase", "");
}

static const char *storage_class(const json_t *obj)
{
	const json_t *annotations = jpath_get(obj, "metadata.annotations");
	const char *beta = json_string_value(json_object_get(annotations, "volume.beta.kubernetes.io/storage-class"));
	return beta ? beta : jpath_str(obj, "spec.storageClassName", "");
}

int k8s_cells_persistentvolume(const json_t *pv, json_t *cells)
{
	static const struct k8s_cell_path last[] = {{CELL_STR, "spec.volumeAttributesClassName", "<unset>"},
		{CELL_STR, "status.reason", NULL}, AGE, {CELL_STR, "spec.volumeMode", "<unset>"}, END};
	char claim[600] = "";
	if (jpath_get(pv, "spec.claimRef"))
		snprintf(claim, sizeof(claim), "%s/%s", jpath_str(pv, "spec.claimRef.namespace", ""),
			 jpath_str(pv, "spec.claimRef.name", ""));
	int rc = k8s_cell(cells, jpath_str(pv, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, jpath_str(pv, "spec.capacity.storage", ""));
	rc = rc ? rc : cell_access_modes(cells, jpath_get(pv, "spec.accessModes"));
	rc = rc ? rc : k8s_cell(cells, jpath_str(pv, "spec.persistentVolumeReclaimPolicy", ""));
	rc = rc ? rc : k8s_cell(cells, phase(pv));
	rc = rc ? rc : k8s_cell(cells, claim);
	rc = rc ? rc : k8s_cell(cells, storage_class(pv));
	return rc ? rc : k8s_cells_from(cells, pv, last);
}

int k8s_cells_persistentvolumeclaim(const json_t *pvc, json_t *cells)
{
	static const struct k8s_cell_path last[] = {{CELL_STR, "spec.volumeAttributesClassName", "<unset>"}, AGE,
		{CELL_STR, "spec.volumeMode", "<unset>"}, END};
	bool bound = jpath_str(pvc, "spec.volumeName", NULL) != NULL;
	int rc = k8s_cell(cells, jpath_str(pvc, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, phase(pvc));
	rc = rc ? rc : k8s_cell(cells, jpath_str(pvc, "spec.volumeName", ""));
	rc = rc ? rc : k8s_cell(cells, bound ? jpath_str(pvc, "status.capacity.storage", "") : "");
	rc = rc ? rc : cell_access_modes(cells, bound ? jpath_get(pvc, "status.accessModes") : NULL);
	rc = rc ? rc : k8s_cell(cells, storage_class(pvc));
	return rc ? rc : k8s_cells_from(cells, pvc, last);
}

const struct k8s_column k8s_columns_storageclass[] = {
	COLUMN_NAME, COLUMN("Provisioner", "Who makes the volumes."), COLUMN("ReclaimPolicy", "What happens when a claim goes."),
	COLUMN("VolumeBindingMode", "When a volume is bound."), COLUMN("AllowVolumeExpansion", "Whether volumes can grow."), COLUMN_AGE,
	COLUMN_END};

int k8s_cells_storageclass(const json_t *sc, json_t *cells)
{
	static const struct k8s_cell_path rest[] = {{CELL_STR, "provisioner", NULL}, {CELL_STR, "reclaimPolicy", "Delete"},
		{CELL_STR, "volumeBindingMode", "Immediate"}, {CELL_BOOL, "allowVolumeExpansion", NULL}, AGE, END};
	static const char *const marks[] = {"storageclass.kubernetes.io/is-default-class",
		"storageclass.beta.kubernetes.io/is-default-class"};
	const json_t *annotations = jpath_get(sc, "metadata.annotations");
	bool is_default = false;
	char name[300];
	for (int i = 0; i < 2; i++)
		is_default |= !strcmp(jpath_str(json_object_get(annotations, marks[i]), "", ""), "true");
	snprintf(name, sizeof(name), "%s%s", jpath_str(sc, "metadata.name", ""), is_default ? " (default)" : "");
	int rc = k8s_cell(cells, name);
	return rc ? rc : k8s_cells_from(cells, sc, rest);
}

const struct k8s_column k8s_columns_volumeattachment[] = {
	COLUMN_NAME, COLUMN("Attacher", "Driver that attaches."), COLUMN("PV", "Volume."), COLUMN("Node", "Node it is attached to."),
	{"Attached", "boolean", "", "Whether it is attached.", 0}, COLUMN_AGE, COLUMN_END};

int k8s_cells_volumeattachment(const json_t *va, json_t *cells)
{
	static const struct k8s_cell_path list[] = {NAME, {CELL_STR, "spec.attacher", NULL}, {CELL_STR, "spec.source.persistentVolumeName", NULL},
		{CELL_STR, "spec.nodeName", NULL}, {CELL_BOOL, "status.attached", NULL}, AGE, END};
	return k8s_cells_from(cells, va, list);
}

const struct k8s_column k8s_columns_volumesnapshot[] = {
	COLUMN_NAME, {"ReadyToUse", "boolean", "", "Whether volumes can be made from it.", 0}, COLUMN("SourcePVC", "Claim it was taken of."),
	COLUMN("SourceSnapshotContent", "Content it stands for."), COLUMN("RestoreSize", "Least size of a volume made from it."),
	COLUMN("SnapshotClass", "Class it belongs to."), COLUMN("SnapshotContent", "Content it is bound to."),
	{"CreationTime", "date", "", "When it was taken.", 0}, COLUMN_AGE, COLUMN_END};

int k8s_cells_volumesnapshot(const json_t *vs, json_t *cells)
{
	static const struct k8s_cell_path list[] = {NAME, {CELL_BOOL, "status.readyToUse", NULL},
		{CELL_STR, "spec.source.persistentVolumeClaimName", NULL}, {CELL_STR, "spec.source.volumeSnapshotContentName", NULL},
		{CELL_STR, "status.restoreSize", NULL}, {CELL_STR, "spec.volumeSnapshotClassName", NULL},
		{CELL_STR, "status.boundVolumeSnapshotContentName", NULL}, {CELL_AGE, "status.creationTime", NULL}, AGE, END};
	return k8s_cells_from(cells, vs, list);
}

const struct k8s_column k8s_columns_volumesnapshotclass[] = {
	COLUMN_NAME, COLUMN("Driver", "Who takes the snapshots."), COLUMN("DeletionPolicy", "What happens when a snapshot goes."), COLUMN_AGE,
	COLUMN_END};

int k8s_cells_volumesnapshotclass(const json_t *vsc, json_t *cells)
{
	static const struct k8s_cell_path list[] = {NAME, {CELL_STR, "driver", NULL}, {CELL_STR, "deletionPolicy", NULL}, AGE, END};
	return k8s_cells_from(cells, vsc, list);
}

const struct k8s_column k8s_columns_volumesnapshotcontent[] = {
	COLUMN_NAME, {"ReadyToUse", "boolean", "", "Whether volumes can be made from it.", 0}, COLUMN_INT("RestoreSize", "Bytes."),
	COLUMN("DeletionPolicy", "What happens when its snapshot goes."), COLUMN("Driver", "Who took it."),
	COLUMN("VolumeSnapshotClass", "Class it belongs to."), COLUMN("VolumeSnapshot", "Snapshot it is bound to."),
	COLUMN("VolumeSnapshotNamespace", "Namespace of that."), COLUMN_AGE, COLUMN_END};

int k8s_cells_volumesnapshotcontent(const json_t *content, json_t *cells)
{
	static const struct k8s_cell_path list[] = {NAME, {CELL_BOOL, "status.readyToUse", NULL}, {CELL_INT, "status.restoreSize", NULL},
		{CELL_STR, "spec.deletionPolicy", NULL}, {CELL_STR, "spec.driver", NULL}, {CELL_STR, "spec.volumeSnapshotClassName", NULL},
		{CELL_STR, "spec.volumeSnapshotRef.name", NULL}, {CELL_STR, "spec.volumeSnapshotRef.namespace", NULL}, AGE, END};
	return k8s_cells_from(cells, content, list);
}

const struct k8s_column k8s_columns_csinode[] = {COLUMN_NAME, COLUMN_INT("Drivers", "Number of drivers."), COLUMN_AGE, COLUMN_END};

int k8s_cells_csinode(const json_t *n, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(n, "metadata.name", ""));
	rc = rc ? rc : k8s_cell_int(cells, (long long)json_array_size(jpath_get(n, "spec.drivers")));
	return rc ? rc : k8s_cell_age(cells, jpath_str(n, "metadata.creationTimestamp", NULL));
}

/* ---- network ---- */

const struct k8s_column k8s_columns_ingress[] = {
	COLUMN_NAME, COLUMN("Class", "Class of its controller."), COLUMN("Hosts", "Hosts served."), COLUMN("Address", "Where it is reached."),
	COLUMN("Ports", "Ports served."), COLUMN_AGE, COLUMN_END};

int k8s_cells_ingress(const json_t *ing, json_t *cells)
{
	struct buf hosts = BUF_INIT, address = BUF_INIT;
	size_t i, more = 0;
	json_t *rule, *lb;
	json_array_foreach(jpath_get(ing, "spec.rules"), i, rule) {
		const char *host = jpath_str(rule, "host", "");
		if (i < 3)
			buf_printf(&hosts, "%s%s", hosts.len ? "," : "", *host ? host : "*");
		else
			more++;
	}
	if (more)
		buf_printf(&hosts, " + %zu more...", more);
	json_array_foreach(jpath_get(ing, "status.loadBalancer.ingress"), i, lb)
		buf_printf(&address, "%s%s", address.len ? "," : "", jpath_str(lb, "ip", jpath_str(lb, "hostname", "")));
	int rc = k8s_cell(cells, jpath_str(ing, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, jpath_str(ing, "spec.ingressClassName", "<none>"));
	rc |= k8s_cell_buf(cells, &hosts, "*");
	rc |= k8s_cell_buf(cells, &address, "");
	rc = rc ? rc : k8s_cell(cells, json_array_size(jpath_get(ing, "spec.tls")) ? "80, 443" : "80");
	return rc ? rc : k8s_cell_age(cells, jpath_str(ing, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_ingressclass[] = {
	COLUMN_NAME, COLUMN("Controller", "Who serves the class."), COLUMN("Parameters", "Object with more settings."), COLUMN_AGE,
	COLUMN_END};

int k8s_cells_ingressclass(const json_t *ic, json_t *cells)
{
	const json_t *p = jpath_get(ic, "spec.parameters");
	const char *group = jpath_str(p, "apiGroup", "");
	char text[600] = "<none>";
	if (p)
		snprintf(text, sizeof(text), "%s%s%s/%s", jpath_str(p, "kind", ""), *group ? "." : "", group, jpath_str(p, "name", ""));
	int rc = k8s_cell(cells, jpath_str(ic, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, jpath_str(ic, "spec.controller", ""));
	rc = rc ? rc : k8s_cell(cells, text);
	return rc ? rc : k8s_cell_age(cells, jpath_str(ic, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_networkpolicy[] = {
	COLUMN_NAME, COLUMN("Pod-Selector", "Pods it is about."), COLUMN_AGE, COLUMN_END};

int k8s_cells_networkpolicy(const json_t *np, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(np, "metadata.name", ""));
	rc = rc ? rc : k8s_cell_selector(cells, jpath_get(np, "spec.podSelector"));
	return rc ? rc : k8s_cell_age(cells, jpath_str(np, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_endpointslice[] = {
	COLUMN_NAME, COLUMN("AddressType", "IPv4, IPv6 or FQDN."), COLUMN("Ports", "Ports."), COLUMN("Endpoints", "Addresses."), COLUMN_AGE,
	COLUMN_END};

int k8s_cells_endpointslice(const json_t *es, json_t *cells)
{
	struct buf ports = BUF_INIT, addresses = BUF_INIT;
	size_t i, a, count = 0;
	json_t *item, *address;
	json_array_foreach(jpath_get(es, "ports"), i, item) {
		const json_t *port = jpath_get(item, "port");
		if (i < 3 && port)
			buf_printf(&ports, "%s%lld", i ? "," : "", (long long)json_integer_value(port));
		else if (i < 3)
			buf_printf(&ports, "%s*", i ? "," : "");
	}
	if (i > 3)
		buf_printf(&ports, " + %zu more...", i - 3);
	json_array_foreach(jpath_get(es, "endpoints"), i, item)
		json_array_foreach(jpath_get(item, "addresses"), a, address)
			if (count++ < 3)
				buf_printf(&addresses, "%s%s", addresses.len ? "," : "", jpath_str(address, "", ""));
	if (count > 3)
		buf_printf(&addresses, " + %zu more...", count - 3);
	int rc = k8s_cell(cells, jpath_str(es, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, jpath_str(es, "addressType", ""));
	rc |= k8s_cell_buf(cells, &ports, "<unset>");
	rc |= k8s_cell_buf(cells, &addresses, "<unset>");
	return rc ? rc : k8s_cell_age(cells, jpath_str(es, "metadata.creationTimestamp", NULL));
}

/* ---- access ---- */

const struct k8s_column k8s_columns_rolebinding[] = {
	COLUMN_NAME, COLUMN("Role", "What is granted."), COLUMN_AGE, COLUMN_WIDE("Users", "Users it is granted to."),
	COLUMN_WIDE("Groups", "Groups it is granted to."), COLUMN_WIDE("ServiceAccounts", "Service accounts it is granted to."), COLUMN_END};

static int cell_subjects(json_t *cells, const json_t *binding, const char *kind)
{
	struct buf b = BUF_INIT;
	size_t i;
	json_t *s;
	bool account = !strcmp(kind, "ServiceAccount");
	json_array_foreach(jpath_get(binding, "subjects"), i, s)
		if (!strcmp(jpath_str(s, "kind", ""), kind))
			buf_printf(&b, "%s%s%s%s", b.len ? ", " : "", account ? jpath_str(s, "namespace", "") : "", account ? "/" : "",
				   jpath_str(s, "name", ""));
	return k8s_cell_buf(cells, &b, "");
}

int k8s_cells_rolebinding(const json_t *b, json_t *cells)
{
	char role[600];
	snprintf(role, sizeof(role), "%s/%s", jpath_str(b, "roleRef.kind", ""), jpath_str(b, "roleRef.name", ""));
	int rc = k8s_cell(cells, jpath_str(b, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, role);
	rc = rc ? rc : k8s_cell_age(cells, jpath_str(b, "metadata.creationTimestamp", NULL));
	rc = rc ? rc : cell_subjects(cells, b, "User");
	rc = rc ? rc : cell_subjects(cells, b, "Group");
	return rc ? rc : cell_subjects(cells, b, "ServiceAccount");
}

const struct k8s_column k8s_columns_csr[] = {
	COLUMN_NAME, COLUMN_AGE, COLUMN("SignerName", "Who shall sign."), COLUMN("Requestor", "Who asks."),
	COLUMN("RequestedDuration", "How long it shall be valid."), COLUMN("Condition", "Approved, Denied, Issued, Failed or Pending."),
	COLUMN_END};

static int cell_csr_condition(json_t *cells, const json_t *csr)
{
	bool approved = false, denied = false, failed = false;
	char text[64];
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(csr, "status.conditions"), i, c) {
		const char *type = jpath_str(c, "type", "");
		approved |= !strcmp(type, "Approved");
		denied |= !strcmp(type, "Denied");
		failed |= !strcmp(type, "Failed");
	}
	snprintf(text, sizeof(text), "%s%s%s", denied ? "Denied" : approved ? "Approved" : "Pending", failed ? ",Failed" : "",
		 jpath_str(csr, "status.certificate", NULL) ? ",Issued" : "");
	return k8s_cell(cells, text);
}

int k8s_cells_csr(const json_t *csr, json_t *cells)
{
	static const struct k8s_cell_path first[] = {NAME, AGE, {CELL_STR, "spec.signerName", "<none>"}, {CELL_STR, "spec.username", NULL}, END};
	const json_t *seconds = jpath_get(csr, "spec.expirationSeconds");
	char text[K8S_AGE_MAX];
	int rc = k8s_cells_from(cells, csr, first);
	rc = rc ? rc : k8s_cell(cells, seconds ? k8s_duration_text(json_integer_value(seconds), text) : "<none>");
	return rc ? rc : cell_csr_condition(cells, csr);
}

/* ---- small ones ---- */

const struct k8s_column k8s_columns_lease[] = {COLUMN_NAME, COLUMN("Holder", "Who holds it."), COLUMN_AGE, COLUMN_END};

int k8s_cells_lease(const json_t *lease, json_t *cells)
{
	static const struct k8s_cell_path list[] = {NAME, {CELL_STR, "spec.holderIdentity", NULL}, AGE, END};
	return k8s_cells_from(cells, lease, list);
}

const struct k8s_column k8s_columns_priorityclass[] = {
	COLUMN_NAME, COLUMN_INT("Value", "Priority of its pods."), {"Global-Default", "boolean", "", "Whether pods without a class get it.", 0},
	COLUMN_AGE, COLUMN("PreemptionPolicy", "Whether its pods may push out others."), COLUMN_END};

int k8s_cells_priorityclass(const json_t *pc, json_t *cells)
{
	static const struct k8s_cell_path list[] = {NAME, {CELL_INT, "value", NULL}, {CELL_BOOL, "globalDefault", NULL}, AGE,
		{CELL_STR, "preemptionPolicy", "PreemptLowerPriority"}, END};
	return k8s_cells_from(cells, pc, list);
}

const struct k8s_column k8s_columns_runtimeclass[] = {COLUMN_NAME, COLUMN("Handler", "Runtime configuration."), COLUMN_AGE, COLUMN_END};

int k8s_cells_runtimeclass(const json_t *rc, json_t *cells)
{
	static const struct k8s_cell_path list[] = {NAME, {CELL_STR, "handler", NULL}, AGE, END};
	return k8s_cells_from(cells, rc, list);
}
