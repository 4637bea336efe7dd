// SPDX-License-Identifier: Apache-2.0
// HorizontalPodAutoscalers: every 15 seconds, as many replicas of the target as its pods' load asks for, set through the
// target's scale. While there is none, nothing is measured.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/jtext.h"
#include "base/own.h"
#include "k8s/quantity.h"
#include "k8s/selector.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/hpa_limits.h"
#include "server/controllers/hpa_measure.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/metrics.h"
#include "server/registry.h"
#include "server/scale.h"

#define PERIOD_NS (15 * NS_PER_S)
#define FIRST_NS (5 * NS_PER_S)        // until the first values are there
#define TOLERANCE 0.1

struct autoscalers {
	struct syncer s;
	struct map memories;           // uid -> struct memory
};

struct memory {
	struct hpa_history history;
	json_t *spec;                  // at the last look
};

struct hpa {
	struct autoscalers *all;
	json_t *hpa, *status;          // status: the next one
	const char *ns, *name;
	const struct k8s_kind *target; // kind of what is scaled
	json_t *scale;                 // its Scale
	struct hpa_bounds bounds;
	struct hpa_history *history;
	json_t *measured;              // status.currentMetrics
	char why[512];                 // of a change
	uint64_t next;
};

static void condition(struct hpa *h, const char *type, bool yes, const char *reason, const char *message)
{
	status_condition(h->status, type, yes ? "True" : "False", reason, message, false);
}

/* --- the target --- */

static int find_target(struct hpa *h, struct err *e)
{
	const json_t *ref = jpath_get(h->hpa, "spec.scaleTargetRef");
	const char *version = jpath_str(ref, "apiVersion", ""), *kind = jpath_str(ref, "kind", ""), *name = jpath_str(ref, "name", "");
	char key[REG_KEY_MAX];
	own_obj struct obj *o = NULL;
	own_json json_t *obj = NULL;

	h->target = k8s_kind_by_name(*version ? version : "v1", kind);
	if (!h->target)
		return err_set(e, ENOENT, "no matches for kind \"%.64s\" in group \"%.*s\"", kind,
			       strchr(version, '/') ? (int)strcspn(version, "/") : 0, version);
	if (!k8s_kind_has_subresource(h->target, "scale") || !h->target->namespaced)
		return err_set(e, ENOENT, "the server could not find the requested resource");
	o = store_get(h->all->s.srv->store, reg_key(h->target, h->ns, name, key));
	obj = o ? obj_json(o) : NULL;
	if (obj && k8s_kind_stored(h->target) != h->target)
		k8s_kind_convert(k8s_kind_stored(h->target), h->target, obj);
	h->scale = obj ? scale_of(h->target, obj) : NULL;
	if (!h->scale)
		return err_set(e, ENOENT, "%s/scale%s%s \"%s\" not found", h->target->plural, *h->target->group ? "." : "", h->target->group, name);
	return 0;
}

struct rescale { const struct k8s_kind *kind; long long to; };

static bool put_replicas(json_t *obj, void *user)
{
	const struct rescale *r = user;

	return !scale_set(r->kind, obj, r->to);
}

static int change_scale(struct hpa *h, long long to)
{
	struct rescale r = { h->target, to };
	struct syncer *s = &h->all->s;
	char text[600];
	struct err e = ERR_INIT;
	int rc = change_object(s->srv, h->target, h->ns, jpath_str(h->scale, "metadata.name", ""), "scale", put_replicas, &r, &e);

	if (rc) {
		syncer_event(s, h->hpa, "Warning", "FailedRescale", "New size: %lld; reason: %s; error: %s", to, h->why, e.text);
		snprintf(text, sizeof text, "the HPA controller was unable to update the target scale: %.400s", e.text);
		condition(h, "AbleToScale", false, "FailedUpdateScale", text);
		return rc;
	}
	snprintf(text, sizeof text, "the HPA controller was able to update the target scale to %lld", to);
	condition(h, "AbleToScale", true, "SucceededRescale", text);
	syncer_event(s, h->hpa, "Normal", "SuccessfulRescale", "New size: %lld; reason: %s", to, h->why);
	hpa_changed(&h->bounds, h->history, to);
	return 0;
}

/* --- measuring --- */

/* The pods that the target's selector selects. NULL: it has none that can be used; the condition says so. */
static json_t *select_pods(struct hpa *h)
{
	const char *selector = jpath_str(h->scale, "status.selector", "");
	struct syncer *s = &h->all->s;
	struct k8s_selector *sel = NULL;
	char prefix[REG_KEY_MAX], text[400];
	struct store_list l;
	struct err e = ERR_INIT;

	if (!*selector) {
		syncer_event(s, h->hpa, "Warning", "SelectorRequired", "selector is required");
		condition(h, "ScalingActive", false, "InvalidSelector", "the HPA target's scale is missing a selector");
		return NULL;
	}
	if (k8s_label_selector_parse(selector, &sel, &e)) {
		snprintf(text, sizeof text, "couldn't convert selector into a corresponding internal selector object: %.200s", e.text);
		syncer_event(s, h->hpa, "Warning", "InvalidSelector", "%s", text);
		condition(h, "ScalingActive", false, "InvalidSelector", text);
		return NULL;
	}
	json_t *pods = json_array();
	if (!store_list(s->srv->store, reg_prefix(k8s_kind_find("", "v1", "pods"), h->ns, prefix), NULL, 0, 0, &l)) {
		for (size_t i = 0; i < l.count; i++) {
			own_json json_t *labels = jtext_get(obj_text(l.objs[i]), l.objs[i]->text_len, "metadata.labels");
			if (k8s_label_selector_match(sel, labels))
				json_array_append_new(pods, obj_json(l.objs[i]));
		}
		store_list_fini(&l);
	}
	k8s_selector_free(sel);
	return pods;
}

static double tolerance(const json_t *hpa, const char *way)
{
	const json_t *given = json_object_get(json_object_get(jpath_get(hpa, "spec.behavior"), way), "tolerance");

	return given ? (double)k8s_quantity_milli(given, 100) / 1000 : TOLERANCE;
}

static void measure_failed(struct hpa *h, const char *reason, const struct err *e)
{
	char text[600];

	syncer_event(&h->all->s, h->hpa, "Warning", reason, "%s", e->text);
	snprintf(text, sizeof text, "the HPA was unable to compute the replica count: %.500s", e->text);
	condition(h, "ScalingActive", false, reason, text);
}

/* The most that any metric asks for, its name in h->why; -1: they do not say. */
static long long measure_all(struct hpa *h, const struct hpa_view *view)
{
	const json_t *metrics = jpath_get(h->hpa, "spec.metrics");
	const char *first_reason = NULL, *reason;
	struct err first = ERR_INIT;
	size_t i, failed = 0;
	long long most = -1;
	json_t *metric;

	json_array_foreach((json_t *)metrics, i, metric) {
		struct hpa_measured m = { 0 };
		struct err e = ERR_INIT;
		if (hpa_measure(view, metric, &m, &reason, &e)) {
			json_array_append_new(h->measured, json_pack("{s:s}", "type", ""));
			if (!failed++) {
				first = e;
				first_reason = reason;
			}
			continue;
		}
		json_array_append_new(h->measured, m.status);
		if (m.result.replicas > most) {
			most = m.result.replicas;
			snprintf(h->why, sizeof h->why, "%s", m.name);
		}
	}
	// What cannot be measured may ask for more: others alone must not scale down.
	if (failed && (most < 0 || most < h->bounds.now)) {
		measure_failed(h, first_reason, &first);
		syncer_event(&h->all->s, h->hpa, "Warning", "FailedComputeMetricsReplicas", "invalid metrics (%zu invalid out of %zu), first "
			     "error is: %s", failed, json_array_size(metrics), first.text);
		return -1;
	}
	if (most < 0)
		return -1;
	char text[600];
	snprintf(text, sizeof text, "the HPA was able to successfully calculate a replica count from %s", h->why);
	condition(h, "ScalingActive", true, "ValidMetricFound", text);
	return most;
}

static long long measured_replicas(struct hpa *h)
{
	own_json json_t *pods = select_pods(h), *known = metrics_recent(h->all->s.srv->metrics);
	const struct hpa_view view = { .pods = pods, .known = known, .now = h->bounds.now, .down = tolerance(h->hpa, "scaleDown"),
				       .up = tolerance(h->hpa, "scaleUp"), .time = h->bounds.time };

	if (!known && h->bounds.time + FIRST_NS < h->next)
		h->next = h->bounds.time + FIRST_NS;
	return pods ? measure_all(h, &view) : -1;
}

/* --- deciding --- */

/* How many there should be, why in h->why; -1: it cannot be said now. */
static long long decide(struct hpa *h)
{
	const struct hpa_bounds *b = &h->bounds;
	struct hpa_verdict v;

	if (!b->now && b->min) {
		condition(h, "ScalingActive", false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
		return 0;
	}
	if (b->now > b->max || b->now < b->min) {
		snprintf(h->why, sizeof h->why, "Current number of replicas %s", b->now > b->max ? "above Spec.MaxReplicas" : "below Spec.MinReplicas");
		return b->now > b->max ? b->max : b->min;
	}
	long long want = measured_replicas(h);
	if (want < 0)
		return -1;
	if (want > b->now)
		strncat(h->why, " above target", sizeof h->why - strlen(h->why) - 1);
	else if (want < b->now)
		snprintf(h->why, sizeof h->why, "All metrics below target");
	hpa_limit(b, h->history, want, &v);
	condition(h, "AbleToScale", true, v.able_reason, v.able_message);
	condition(h, "ScalingLimited", v.limited, v.limit_reason, v.limit_message);
	return v.replicas;
}

/* --- sync --- */

static struct memory *memory_of(struct autoscalers *all, const char *uid)
{
	struct memory *m = map_get(&all->memories, uid);

	if (m)
		return m;
	m = calloc(1, sizeof *m);
	if (!m || map_put(&all->memories, uid, m)) {
		free(m);
		return NULL;
	}
	return m;
}

static void memory_free(void *value)
{
	struct memory *m = value;

	if (!m)
		return;
	hpa_history_fini(&m->history);
	json_decref(m->spec);
	free(m);
}

static void put_counts(struct hpa *h, long long want, bool changed)
{
	char now[40];

	json_object_set_new(h->status, "currentReplicas", json_integer(h->bounds.now));
	json_object_set_new(h->status, "desiredReplicas", json_integer(want));
	json_object_set_new(h->status, "observedGeneration", json_integer(jpath_int(h->hpa, "metadata.generation", 0)));
	if (changed)
		json_object_set_new(h->status, "lastScaleTime", json_string(meta_now(now)));
	if (json_array_size(h->measured))
		json_object_set(h->status, "currentMetrics", h->measured);
	else
		json_object_del(h->status, "currentMetrics");
}

static int scale_target(struct hpa *h)
{
	struct hpa_bounds *b = &h->bounds;
	const json_t *behavior = jpath_get(h->hpa, "spec.behavior");

	b->now = jpath_int(h->scale, "spec.replicas", 0);
	b->min = jpath_int(h->hpa, "spec.minReplicas", 1);
	b->max = jpath_int(h->hpa, "spec.maxReplicas", 1);
	b->behavior = json_is_object(behavior) ? behavior : NULL;
	if (!h->history->wanted.count && hpa_note(&h->history->wanted, b->time, b->now))
		return -ENOMEM;
	condition(h, "AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale");
	long long want = decide(h);
	bool change = want >= 0 && want != b->now;
	if (want < 0)
		want = jpath_int(h->status, "desiredReplicas", 0);
	int r = change ? change_scale(h, want) : 0;
	put_counts(h, r ? b->now : want, change && !r);
	return r;
}

static void no_target(struct hpa *h, const struct err *e)
{
	char text[600];

	syncer_event(&h->all->s, h->hpa, "Warning", "FailedGetScale", "%s", e->text);
	snprintf(text, sizeof text, "the HPA controller was unable to get the target's current scale: %.500s", e->text);
	condition(h, "AbleToScale", false, "FailedGetScale", text);
}

static uint64_t sync_one(struct syncer *s, json_t *obj, struct child *children, uint64_t now)
{
	struct autoscalers *all = (struct autoscalers *)s;
	struct memory *m = memory_of(all, jpath_str(obj, "metadata.uid", ""));
	json_t *old = json_object_get(obj, "status");
	struct hpa h = { .all = all, .hpa = obj, .ns = jpath_str(obj, "metadata.namespace", ""), .name = jpath_str(obj, "metadata.name", ""),
			 .bounds.time = now, .next = now + PERIOD_NS, .history = m ? &m->history : NULL };
	struct err e = ERR_INIT;
	int r;

	(void)children;
	if (meta_is_deleting(obj))
		return LOOP_NEVER;
	if (!m)
		return SYNC_RETRY;
	json_decref(m->spec);
	m->spec = json_incref(json_object_get(obj, "spec"));
	h.status = old ? json_deep_copy(old) : json_object();
	h.measured = json_array();
	if (find_target(&h, &e)) {
		no_target(&h, &e);
		r = 0;
	} else {
		r = scale_target(&h);
	}
	if (syncer_set_status(s, obj, h.status))
		r = -EAGAIN;
	json_decref(h.status);
	json_decref(h.measured);
	json_decref(h.scale);
	return r ? SYNC_RETRY : h.next;
}

/* A change of the status alone, which is our own, waits for the next look. */
static void changed(void *unit, int type, struct obj *o)
{
	struct autoscalers *all = unit;
	own_json json_t *j = obj_json(o);
	const char *uid = jpath_str(j, "metadata.uid", "");
	struct memory *m = map_get(&all->memories, uid);

	if (type == EVENT_DELETED)
		memory_free(map_remove(&all->memories, uid));
	else if (type == EVENT_MODIFIED && m && json_equal(m->spec, json_object_get(j, "spec")))
		return;
	syncer_owner_changed(unit, type, o);
}

static const struct sync_ops ops = {
	.component = "horizontal-pod-autoscaler", .group = "autoscaling", .version = "v2", .plural = "horizontalpodautoscalers",
	.kind = "HorizontalPodAutoscaler", .sync = sync_one,
};

static int open_autoscalers(struct server *srv, void **unit, struct err *e)
{
	struct autoscalers *all = calloc(1, sizeof *all);

	if (!all)
		return err_set(e, ENOMEM, "out of memory");
	syncer_init(&all->s, srv, &ops);
	*unit = all;
	return 0;
}

static void close_autoscalers(void *unit)
{
	struct autoscalers *all = unit;

	map_fini(&all->memories, memory_free);
	syncer_close(unit);
}

static const struct unit_source sources[] = {
	{ "autoscaling", "v2", "horizontalpodautoscalers", changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops hpa_unit = {
	.name = "autoscalers", .sources = sources, .open = open_autoscalers, .work = syncer_work, .close = close_autoscalers,
};
