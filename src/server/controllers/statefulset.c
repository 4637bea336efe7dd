// SPDX-License-Identifier: Apache-2.0
// StatefulSets: pods with a number, a name and claims that stay theirs, made, updated and removed in order.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/revisions.h"
#include "server/controllers/stateful_plan.h"
#include "server/controllers/syncer.h"
#include "server/meta.h"
#include "server/registry.h"

#define REPLICAS_MAX 100000

struct stateful {
	struct syncer *s;
	json_t *set, *status;
	struct stateful_spec spec;
	struct revisions revs;
	const json_t *current;             // revision that pods below the partition are made of
	struct child **kids;               // of pods[i]; NULL: it is not there
	struct stateful_pod *pods;
	size_t n;
	uint64_t now, next;
};

static const char *set_name(const struct stateful *f)
{
	return jpath_str(f->set, "metadata.name", "");
}

static int compare_ordinal(const void *a, const void *b)
{
	const struct child *x = *(struct child *const *)a, *y = *(struct child *const *)b;
	long long i = strtoll(strrchr(x->pod.name, '-') + 1, NULL, 10), k = strtoll(strrchr(y->pod.name, '-') + 1, NULL, 10);

	return (i < k) - (i > k);
}

static struct stateful_pod as_pod(struct stateful *f, const struct child *c, long long ordinal)
{
	const struct pod_info *p = &c->pod;
	long long min_ready = jpath_int(f->set, "spec.minReadySeconds", 0);

	return (struct stateful_pod){
		.ordinal = ordinal, .there = true, .deleting = p->deleting, .over = pod_is_over(p),
		.healthy = pod_is_active(p) && p->phase == POD_RUNNING && pod_is_available(p, min_ready, f->now, &f->next),
		.updated = !strcmp(p->revision, revision_name(f->revs.latest)),
	};
}

/* Pods in the order of the plan: wanted ones by number, then the rest from the highest. */
static int arrange(struct stateful *f, struct child *children)
{
	size_t wanted = (size_t)f->spec.replicas, extra = 0, total = 0;

	for (struct child *c = children; c; c = c->next)
		total++;
	f->pods = calloc(wanted + total + 1, sizeof *f->pods);
	f->kids = calloc(wanted + total + 1, sizeof *f->kids);
	if (!f->pods || !f->kids)
		return -ENOMEM;
	for (size_t i = 0; i < wanted; i++)
		f->pods[i].ordinal = f->spec.start + (long long)i;
	for (struct child *c = children; c; c = c->next) {
		long long ordinal = stateful_ordinal(set_name(f), c->pod.name), at = ordinal - f->spec.start;
		if (ordinal < 0)
			continue;
		if (at >= 0 && at < f->spec.replicas) {
			f->kids[at] = c;
			f->pods[at] = as_pod(f, c, ordinal);
		} else {
			f->kids[wanted + extra++] = c;
		}
	}
	qsort(f->kids + wanted, extra, sizeof *f->kids, compare_ordinal);
	for (size_t i = wanted; i < wanted + extra; i++)
		f->pods[i] = as_pod(f, f->kids[i], stateful_ordinal(set_name(f), f->kids[i]->pod.name));
	f->n = wanted + extra;
	return 0;
}

/* --- claims --- */

static int create_claim(struct stateful *f, const json_t *template_, const char *name)
{
	own_json json_t *claim = json_deep_copy(template_);
	const struct k8s_kind *k = k8s_kind_find("", "v1", "persistentvolumeclaims");
	const char *ns = jpath_str(f->set, "metadata.namespace", "");
	json_t *labels = jpath_get(f->set, "spec.selector.matchLabels");
	char key[REG_KEY_MAX];
	own_obj struct obj *there = store_get(f->s->srv->store, reg_key(k, ns, name, key));
	struct err e = ERR_INIT;
	int r;

	if (there)
		return 0;
	jpath_set(claim, "metadata.name", json_string(name));
	jpath_set(claim, "apiVersion", json_string("v1"));
	jpath_set(claim, "kind", json_string("PersistentVolumeClaim"));
	if (labels && !jpath_get(claim, "metadata.labels"))
		jpath_set(claim, "metadata.labels", json_object());
	if (labels)
		json_object_update(jpath_get(claim, "metadata.labels"), labels);
	r = create_object(f->s->srv, k, ns, claim, &e);
	if (!r)
		syncer_event(f->s, f->set, "Normal", "SuccessfulCreate", "create Claim %s in StatefulSet %s success", name, set_name(f));
	else if (r != -EEXIST)
		syncer_event(f->s, f->set, "Warning", "FailedCreate", "create Claim %s in StatefulSet %s failed error: %s", name, set_name(f),
			     e.text);
	return r == -EEXIST ? 0 : r;
}

static void put_volume(json_t *spec, const char *volume, const char *claim)
{
	json_t *list = json_object_get(spec, "volumes"), *v;
	size_t i;

	if (!json_is_array(list)) {
		json_object_set_new(spec, "volumes", json_array());
		list = json_object_get(spec, "volumes");
	}
	json_array_foreach(list, i, v)
		if (!strcmp(jpath_str(v, "name", ""), volume)) {
			json_array_remove(list, i);
			break;
		}
	json_array_append_new(list, json_pack("{s:s,s:{s:s}}", "name", volume, "persistentVolumeClaim", "claimName", claim));
}

static int add_claims(struct stateful *f, json_t *pod, const char *pod_name)
{
	json_t *t;
	size_t i;
	int r = 0;

	json_array_foreach(jpath_get(f->set, "spec.volumeClaimTemplates"), i, t) {
		const char *volume = jpath_str(t, "metadata.name", "");
		char name[600];
		snprintf(name, sizeof name, "%s-%s", volume, pod_name);
		if (!r)
			r = create_claim(f, t, name);
		put_volume(json_object_get(pod, "spec"), volume, name);
	}
	return r;
}

/* --- pods --- */

static int create_pod(struct stateful *f, const struct stateful_step *step)
{
	const json_t *revision = step->updated ? f->revs.latest : f->current;
	own_json json_t *template_ = revisions_template(revision), *pod = pod_from_template(template_, f->set);
	char name[300], number[24];
	struct err e = ERR_INIT;
	json_t *labels;
	int r;

	snprintf(name, sizeof name, "%s-%lld", set_name(f), step->ordinal);
	snprintf(number, sizeof number, "%lld", step->ordinal);
	jpath_set(pod, "metadata.name", json_string(name));
	if (!jpath_get(pod, "metadata.labels"))
		jpath_set(pod, "metadata.labels", json_object());
	labels = jpath_get(pod, "metadata.labels");
	json_object_set_new(labels, "statefulset.kubernetes.io/pod-name", json_string(name));
	json_object_set_new(labels, "apps.kubernetes.io/pod-index", json_string(number));
	json_object_set_new(labels, "controller-revision-hash", json_string(revision_name(revision)));
	jpath_set(pod, "spec.hostname", json_string(name));
	if (*jpath_str(f->set, "spec.serviceName", ""))
		jpath_set(pod, "spec.subdomain", json_string(jpath_str(f->set, "spec.serviceName", "")));
	r = add_claims(f, pod, name);
	if (r)
		return r;
	r = create_object(f->s->srv, k8s_kind_find("", "v1", "pods"), jpath_str(f->set, "metadata.namespace", ""), pod, &e);
	if (!r)
		syncer_event(f->s, f->set, "Normal", "SuccessfulCreate", "create Pod %s in StatefulSet %s successful", name, set_name(f));
	else
		syncer_event(f->s, f->set, "Warning", "FailedCreate", "create Pod %s in StatefulSet %s failed error: %s", name, set_name(f),
			     e.text);
	return r;
}

static int delete_pod(struct stateful *f, long long ordinal)
{
	struct err e = ERR_INIT;

	for (size_t i = 0; i < f->n; i++) {
		const struct pod_info *p = f->kids[i] ? &f->kids[i]->pod : NULL;
		int r;
		if (!p || f->pods[i].ordinal != ordinal)
			continue;
		r = delete_object(f->s->srv, k8s_kind_find("", "v1", "pods"), jpath_str(f->set, "metadata.namespace", ""), p->name, p->uid, -1,
				  &e);
		if (!r)
			syncer_event(f->s, f->set, "Normal", "SuccessfulDelete", "delete Pod %s in StatefulSet %s successful", p->name,
				     set_name(f));
		return r == -ENOENT || r == -ESTALE ? 0 : r;
	}
	return 0;
}

static int act(struct stateful *f)
{
	struct stateful_step *steps = calloc(f->n + 1, sizeof *steps);
	size_t n = steps ? stateful_plan(&f->spec, f->pods, f->n, steps) : 0;
	int r = steps ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && !r; i++)
		r = steps[i].act == STATEFUL_CREATE ? create_pod(f, &steps[i]) : delete_pod(f, steps[i].ordinal);
	free(steps);
	return r;
}

/* --- status --- */

static void put_count(json_t *status, const char *key, long long n)
{
	if (n)
		json_object_set_new(status, key, json_integer(n));
	else
		json_object_del(status, key);
}

static int put_status(struct stateful *f)
{
	long long replicas = 0, ready = 0, available = 0, current = 0, updated = 0;
	const char *now = revision_name(f->current), *update = revision_name(f->revs.latest);

	for (size_t i = 0; i < f->n; i++) {
		const struct pod_info *p = f->kids[i] ? &f->kids[i]->pod : NULL;
		if (!p)
			continue;
		replicas++;
		ready += p->ready && p->phase == POD_RUNNING;
		available += f->pods[i].healthy;
		if (!pod_is_active(p))
			continue;
		current += !strcmp(p->revision, now);
		updated += !strcmp(p->revision, update);
	}
	if (!f->spec.on_delete && !f->spec.partition && updated == f->spec.replicas && ready == f->spec.replicas &&
	    replicas == f->spec.replicas) {
		now = update;            // the rollout is over
		current = updated;
	}
	json_object_set_new(f->status, "replicas", json_integer(replicas));
	put_count(f->status, "readyReplicas", ready);
	json_object_set_new(f->status, "availableReplicas", json_integer(available));
	put_count(f->status, "currentReplicas", current);
	put_count(f->status, "updatedReplicas", updated);
	json_object_set_new(f->status, "currentRevision", json_string(now));
	json_object_set_new(f->status, "updateRevision", json_string(update));
	json_object_set_new(f->status, "collisionCount", json_integer(0));
	json_object_set_new(f->status, "observedGeneration", json_integer(jpath_int(f->set, "metadata.generation", 0)));
	return syncer_set_status(f->s, f->set, f->status);
}

/* --- sync --- */

static int stateful_open(struct stateful *f, struct syncer *s, json_t *set, struct child *children, uint64_t now)
{
	json_t *old = json_object_get(set, "status");
	long long replicas = jpath_int(set, "spec.replicas", 1);
	int r;

	*f = (struct stateful){ .s = s, .set = set, .now = now, .next = LOOP_NEVER };
	f->status = old ? json_deep_copy(old) : json_object();
	f->spec = (struct stateful_spec){
		.replicas = replicas > REPLICAS_MAX ? REPLICAS_MAX : replicas, .start = jpath_int(set, "spec.ordinals.start", 0),
		.partition = jpath_int(set, "spec.updateStrategy.rollingUpdate.partition", 0),
		.parallel = !strcmp(jpath_str(set, "spec.podManagementPolicy", ""), "Parallel"),
		.on_delete = !strcmp(jpath_str(set, "spec.updateStrategy.type", ""), "OnDelete"),
	};
	r = revisions_open(s, set, &f->revs);
	if (r)
		return r;
	f->current = revisions_find(&f->revs, jpath_str(f->status, "currentRevision", ""));
	if (!f->current)
		f->current = f->revs.latest;
	return arrange(f, children);
}

static void stateful_close(struct stateful *f)
{
	revisions_close(&f->revs);
	free(f->pods);
	free(f->kids);
	json_decref(f->status);
}

static uint64_t sync_one(struct syncer *s, json_t *set, struct child *children, uint64_t now)
{
	struct stateful f;
	uint64_t next;
	int r;

	if (meta_is_deleting(set))
		return LOOP_NEVER;
	r = stateful_open(&f, s, set, children, now);
	if (!r)
		r = act(&f);
	if (f.pods && put_status(&f))
		r = -EAGAIN;
	if (!r)
		revisions_trim(s, set, &f.revs, children, revision_name(f.current));
	next = f.next;
	stateful_close(&f);
	return r ? SYNC_RETRY : next;
}

static const struct sync_ops ops = {
	.component = "statefulset-controller", .group = "apps", .version = "v1", .plural = "statefulsets", .kind = "StatefulSet",
	.child_group = "", .child_version = "v1", .child_plural = "pods", .takes_orphans = true, .sync = sync_one,
};

static int open_sets(struct server *srv, void **unit, struct err *e)
{
	return syncer_new(srv, &ops, unit, e);
}

static const struct unit_source sources[] = {
	{ "apps", "v1", "statefulsets", syncer_owner_changed, NULL },
	{ "", "v1", "pods", syncer_child_changed, syncer_children_reset },
	{ .plural = NULL },
};

const struct unit_ops statefulset_unit = {
	.name = "stateful sets", .sources = sources, .open = open_sets, .work = syncer_work, .close = syncer_close,
};
