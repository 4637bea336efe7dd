// SPDX-License-Identifier: Apache-2.0
// Printer columns of the workloads: groups apps, batch, autoscaling, policy.
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "printers.h"
#include "table.h"

#define POD_SPEC "spec.template.spec"

static int cell_ratio(json_t *cells, long long have, long long want)
{
	char text[64];
	snprintf(text, sizeof(text), "%lld/%lld", have, want);
	return k8s_cell(cells, text);
}

/* Containers, images and (selector not NULL) selector: the wide columns of all workloads. */
static int cells_template(json_t *cells, const json_t *obj, const char *pod_spec, const char *selector)
{
	int rc = k8s_cell_containers(cells, jpath_get(obj, pod_spec));
	rc = rc ? rc : k8s_cell_images(cells, jpath_get(obj, pod_spec));
	return rc || !selector ? rc : k8s_cell_selector(cells, jpath_get(obj, selector));
}

const struct k8s_column k8s_columns_deployment[] = {
	COLUMN_NAME, COLUMN("Ready", "Pods ready, of those wanted."), COLUMN("Up-to-date", "Pods of the latest template."),
	COLUMN("Available", "Pods ready long enough."), COLUMN_AGE, COLUMN_CONTAINERS, COLUMN_IMAGES, COLUMN_SELECTOR, COLUMN_END};

int k8s_cells_deployment(const json_t *d, json_t *cells)
{
	static const struct k8s_cell_path counts[] = {{CELL_INT, "status.updatedReplicas", NULL}, {CELL_INT, "status.availableReplicas", NULL},
		{CELL_AGE, "metadata.creationTimestamp", NULL}, {CELL_END, NULL, NULL}};
	int rc = k8s_cell(cells, jpath_str(d, "metadata.name", ""));
	rc = rc ? rc : cell_ratio(cells, jpath_int(d, "status.readyReplicas", 0), jpath_int(d, "spec.replicas", 1));
	rc = rc ? rc : k8s_cells_from(cells, d, counts);
	return rc ? rc : cells_template(cells, d, POD_SPEC, "spec.selector");
}

const struct k8s_column k8s_columns_replicaset[] = {
	COLUMN_NAME, COLUMN_INT("Desired", "Pods wanted."), COLUMN_INT("Current", "Pods that exist."), COLUMN_INT("Ready", "Pods ready."),
	COLUMN_AGE, COLUMN_CONTAINERS, COLUMN_IMAGES, COLUMN_SELECTOR, COLUMN_END};

static int cells_replicas(const json_t *rs, json_t *cells)
{
	static const struct k8s_cell_path rest[] = {{CELL_INT, "status.replicas", NULL}, {CELL_INT, "status.readyReplicas", NULL},
		{CELL_AGE, "metadata.creationTimestamp", NULL}, {CELL_END, NULL, NULL}};
	int rc = k8s_cell(cells, jpath_str(rs, "metadata.name", ""));
	rc = rc ? rc : k8s_cell_int(cells, jpath_int(rs, "spec.replicas", 1));
	return rc ? rc : k8s_cells_from(cells, rs, rest);
}

int k8s_cells_replicaset(const json_t *rs, json_t *cells)
{
	int rc = cells_replicas(rs, cells);
	return rc ? rc : cells_template(cells, rs, POD_SPEC, "spec.selector");
}

int k8s_cells_replicationcontroller(const json_t *rc_obj, json_t *cells)
{
	int rc = cells_replicas(rc_obj, cells);
	rc = rc ? rc : cells_template(cells, rc_obj, POD_SPEC, NULL);
	return rc ? rc : k8s_cell_labels(cells, jpath_get(rc_obj, "spec.selector"));
}

const struct k8s_column k8s_columns_statefulset[] = {
	COLUMN_NAME, COLUMN("Ready", "Pods ready, of those wanted."), COLUMN_AGE, COLUMN_CONTAINERS, COLUMN_IMAGES, COLUMN_END};

int k8s_cells_statefulset(const json_t *s, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(s, "metadata.name", ""));
	rc = rc ? rc : cell_ratio(cells, jpath_int(s, "status.readyReplicas", 0), jpath_int(s, "spec.replicas", 1));
	rc = rc ? rc : k8s_cell_age(cells, jpath_str(s, "metadata.creationTimestamp", NULL));
	return rc ? rc : cells_template(cells, s, POD_SPEC, NULL);
}

const struct k8s_column k8s_columns_daemonset[] = {
	COLUMN_NAME, COLUMN_INT("Desired", "Nodes that should run a pod."), COLUMN_INT("Current", "Nodes that run one."),
	COLUMN_INT("Ready", "Nodes whose pod is ready."), COLUMN_INT("Up-to-date", "Nodes whose pod has the latest template."),
	COLUMN_INT("Available", "Nodes whose pod is ready long enough."), COLUMN("Node Selector", "Labels of the nodes meant."), COLUMN_AGE,
	COLUMN_CONTAINERS, COLUMN_IMAGES, COLUMN_SELECTOR, COLUMN_END};

int k8s_cells_daemonset(const json_t *d, json_t *cells)
{
	static const struct k8s_cell_path counts[] = {{CELL_STR, "metadata.name", NULL}, {CELL_INT, "status.desiredNumberScheduled", NULL},
		{CELL_INT, "status.currentNumberScheduled", NULL}, {CELL_INT, "status.numberReady", NULL},
		{CELL_INT, "status.updatedNumberScheduled", NULL}, {CELL_INT, "status.numberAvailable", NULL}, {CELL_END, NULL, NULL}};
	int rc = k8s_cells_from(cells, d, counts);
	rc = rc ? rc : k8s_cell_labels(cells, jpath_get(d, POD_SPEC ".nodeSelector"));
	rc = rc ? rc : k8s_cell_age(cells, jpath_str(d, "metadata.creationTimestamp", NULL));
	return rc ? rc : cells_template(cells, d, POD_SPEC, "spec.selector");
}

const struct k8s_column k8s_columns_controllerrevision[] = {
	COLUMN_NAME, COLUMN("Controller", "What the revision is of."), COLUMN_INT("Revision", "Its number."), COLUMN_AGE, COLUMN_END};

int k8s_cells_controllerrevision(const json_t *r, json_t *cells)
{
	struct buf b = BUF_INIT;
	size_t i;
	json_t *owner;
	json_array_foreach(jpath_get(r, "metadata.ownerReferences"), i, owner)
		if (jpath_bool(owner, "controller", false) && b.len == 0) {
			const char *version = jpath_str(owner, "apiVersion", ""), *slash = strchr(version, '/');
			for (const char *c = jpath_str(owner, "kind", ""); *c; c++)
				buf_printf(&b, "%c", *c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
			buf_printf(&b, "%s%.*s/%s", slash ? "." : "", slash ? (int)(slash - version) : 0, version,
				   jpath_str(owner, "name", ""));
		}
	int rc = k8s_cell(cells, jpath_str(r, "metadata.name", ""));
	rc |= k8s_cell_buf(cells, &b, "<none>");
	rc = rc ? rc : k8s_cell_int(cells, jpath_int(r, "revision", 0));
	return rc ? rc : k8s_cell_age(cells, jpath_str(r, "metadata.creationTimestamp", NULL));
}

/* ---- batch ---- */

const struct k8s_column k8s_columns_job[] = {
	COLUMN_NAME, COLUMN("Status", "State of the job."), COLUMN("Completions", "Pods that succeeded, of those wanted."),
	COLUMN("Duration", "How long it took or has been running."), COLUMN_AGE, COLUMN_CONTAINERS, COLUMN_IMAGES, COLUMN_SELECTOR,
	COLUMN_END};

static bool condition_true(const json_t *obj, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(obj, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), type))
			return !strcmp(jpath_str(c, "status", ""), "True");
	return false;
}

static const char *job_status(const json_t *job)
{
	if (condition_true(job, "Complete"))
		return "Complete";
	if (condition_true(job, "Failed"))
		return "Failed";
	if (jpath_get(job, "metadata.deletionTimestamp"))
		return "Terminating";
	if (condition_true(job, "Suspended"))
		return "Suspended";
	if (condition_true(job, "FailureTarget"))
		return "FailureTarget";
	return condition_true(job, "SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running";
}

static int cell_completions(json_t *cells, const json_t *job)
{
	char text[80];
	long long done = jpath_int(job, "status.succeeded", 0), parallel = jpath_int(job, "spec.parallelism", 0);
	if (jpath_get(job, "spec.completions"))
		snprintf(text, sizeof(text), "%lld/%lld", done, jpath_int(job, "spec.completions", 0));
	else if (parallel > 1)
		snprintf(text, sizeof(text), "%lld/1 of %lld", done, parallel);
	else
		snprintf(text, sizeof(text), "%lld/1", done);
	return k8s_cell(cells, text);
}

static int cell_job_duration(json_t *cells, const json_t *job)
{
	uint64_t start, end = clock_real_ns();
	char text[K8S_AGE_MAX];
	const char *done = jpath_str(job, "status.completionTime", NULL);
	if (clock_parse(jpath_str(job, "status.startTime", ""), &start) || (done && clock_parse(done, &end)))
		return k8s_cell(cells, "");
	return k8s_cell(cells, k8s_duration_text(end > start ? (int64_t)((end - start) / NS_PER_S) : 0, text));
}

int k8s_cells_job(const json_t *job, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(job, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, job_status(job));
	rc = rc ? rc : cell_completions(cells, job);
	rc = rc ? rc : cell_job_duration(cells, job);
	rc = rc ? rc : k8s_cell_age(cells, jpath_str(job, "metadata.creationTimestamp", NULL));
	return rc ? rc : cells_template(cells, job, POD_SPEC, "spec.selector");
}

const struct k8s_column k8s_columns_cronjob[] = {
	COLUMN_NAME, COLUMN("Schedule", "When it runs, as cron writes it."), COLUMN("Timezone", "Time zone of the schedule."),
	{"Suspend", "boolean", "", "Whether it is suspended.", 0}, COLUMN_INT("Active", "Jobs that run now."),
	COLUMN("Last Schedule", "When it last started a job."), COLUMN_AGE, COLUMN_CONTAINERS, COLUMN_IMAGES, COLUMN_SELECTOR, COLUMN_END};

int k8s_cells_cronjob(const json_t *cj, json_t *cells)
{
	static const struct k8s_cell_path first[] = {{CELL_STR, "metadata.name", NULL}, {CELL_STR, "spec.schedule", NULL},
		{CELL_STR, "spec.timeZone", "<none>"}, {CELL_END, NULL, NULL}};
	const char *last = jpath_str(cj, "status.lastScheduleTime", NULL);
	int rc = k8s_cells_from(cells, cj, first);
	rc = rc ? rc : k8s_cell(cells, jpath_bool(cj, "spec.suspend", false) ? "True" : "False");
	rc = rc ? rc : k8s_cell_int(cells, (long long)json_array_size(jpath_get(cj, "status.active")));
	rc = rc ? rc : last ? k8s_cell_age(cells, last) : k8s_cell(cells, "<none>");
	rc = rc ? rc : k8s_cell_age(cells, jpath_str(cj, "metadata.creationTimestamp", NULL));
	return rc ? rc : cells_template(cells, cj, "spec.jobTemplate." POD_SPEC, "spec.jobTemplate.spec.selector");
}

/* ---- HorizontalPodAutoscaler, PodDisruptionBudget ---- */

const struct k8s_column k8s_columns_hpa[] = {
	COLUMN_NAME, COLUMN("Reference", "What is scaled."), COLUMN("Targets", "Measured and wanted values."),
	COLUMN("MinPods", "Fewest pods."), COLUMN("MaxPods", "Most pods."), COLUMN("Replicas", "Pods at the last look."), COLUMN_AGE,
	COLUMN_END};

/* "10%" or "200m" of a MetricValueStatus or MetricTarget. */
static void put_metric_value(struct buf *b, const json_t *value)
{
	const json_t *percent = jpath_get(value, "averageUtilization");
	if (json_is_integer(percent))
		buf_printf(b, "%lld%%", (long long)json_integer_value(percent));
	else
		buf_puts(b, jpath_str(value, "averageValue", jpath_str(value, "value", "<unknown>")));
}

static void put_metric(struct buf *b, const json_t *spec, const json_t *current)
{
	static const char *const sources[] = {"resource", "containerResource", "pods", "object", "external"};
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		const json_t *source = json_object_get(spec, sources[i]);
		if (!source)
			continue;
		if (i < 2)
			buf_printf(b, "%s: ", jpath_str(source, "name", ""));
		put_metric_value(b, jpath_get(json_object_get(current, sources[i]), "current"));
		buf_puts(b, "/");
		put_metric_value(b, jpath_get(source, "target"));
		if (!strcmp(jpath_str(source, "target.type", ""), "AverageValue") && i > 2)
			buf_puts(b, " (avg)");
	}
}

static int cell_targets(json_t *cells, const json_t *hpa)
{
	const json_t *metrics = jpath_get(hpa, "spec.metrics"), *current = jpath_get(hpa, "status.currentMetrics");
	struct buf b = BUF_INIT;
	size_t i, n = json_array_size(metrics);
	for (i = 0; i < n && i < 2; i++) {
		buf_puts(&b, i ? ", " : "");
		put_metric(&b, json_array_get(metrics, i), json_array_get(current, i));
	}
	if (n > 2)
		buf_printf(&b, " + %zu more...", n - 2);
	return k8s_cell_buf(cells, &b, "<none>");
}

int k8s_cells_hpa(const json_t *hpa, json_t *cells)
{
	char reference[512];
	const json_t *min = jpath_get(hpa, "spec.minReplicas");
	snprintf(reference, sizeof(reference), "%s/%s", jpath_str(hpa, "spec.scaleTargetRef.kind", ""),
		 jpath_str(hpa, "spec.scaleTargetRef.name", ""));
	int rc = k8s_cell(cells, jpath_str(hpa, "metadata.name", ""));
	rc = rc ? rc : k8s_cell(cells, reference);
	rc = rc ? rc : cell_targets(cells, hpa);
	rc = rc ? rc : min ? k8s_cell_int(cells, json_integer_value(min)) : k8s_cell(cells, "<unset>");
	rc = rc ? rc : k8s_cell_int(cells, jpath_int(hpa, "spec.maxReplicas", 0));
	rc = rc ? rc : k8s_cell_int(cells, jpath_int(hpa, "status.currentReplicas", 0));
	return rc ? rc : k8s_cell_age(cells, jpath_str(hpa, "metadata.creationTimestamp", NULL));
}

const struct k8s_column k8s_columns_pdb[] = {
	COLUMN_NAME, COLUMN("Min Available", "Pods that must stay."), COLUMN("Max Unavailable", "Pods that may be missing."),
	COLUMN_INT("Allowed Disruptions", "Pods that may be evicted now."), COLUMN_AGE, COLUMN_END};

static int cell_int_or_string(json_t *cells, const json_t *v)
{
	char text[32];
	if (json_is_string(v))
		return k8s_cell(cells, json_string_value(v));
	if (!json_is_integer(v))
		return k8s_cell(cells, "N/A");
	snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(v));
	return k8s_cell(cells, text);
}

int k8s_cells_pdb(const json_t *pdb, json_t *cells)
{
	int rc = k8s_cell(cells, jpath_str(pdb, "metadata.name", ""));
	rc = rc ? rc : cell_int_or_string(cells, jpath_get(pdb, "spec.minAvailable"));
	rc = rc ? rc : cell_int_or_string(cells, jpath_get(pdb, "spec.maxUnavailable"));
	rc = rc ? rc : k8s_cell_int(cells, jpath_int(pdb, "status.disruptionsAllowed", 0));
	return rc ? rc : k8s_cell_age(cells, jpath_str(pdb, "metadata.creationTimestamp", NULL));
}
