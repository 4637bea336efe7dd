// SPDX-License-Identifier: Apache-2.0
// Deployments: one ReplicaSet for every template there has been, moved towards the latest a step at a time.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/controllers/change.h"
#include "server/controllers/controllers.h"
#include "server/controllers/deployment_status.h"
#include "server/controllers/owner.h"
#include "server/controllers/replicas.h"
#include "server/controllers/syncer.h"
#include "server/controllers/template.h"
#include "server/meta.h"
#include "server/registry.h"
#include "server/view.h"

#define REVISION "deployment.kubernetes.io/revision"
#define HISTORY "deployment.kubernetes.io/revision-history"
#define DESIRED "deployment.kubernetes.io/desired-replicas"
#define MAXIMUM "deployment.kubernetes.io/max-replicas"

static const struct k8s_kind *rs_kind(void)
{
	return k8s_kind_find("apps", "v1", "replicasets");
}

static const char *annotation(const json_t *obj, const char *name)
{
	const char *text = json_string_value(json_object_get(jpath_get(obj, "metadata.annotations"), name));

	return text ? text : "";
}

static void annotate(json_t *obj, const char *name, const char *value)
{
	if (!json_is_object(jpath_get(obj, "metadata.annotations")))
		jpath_set(obj, "metadata.annotations", json_object());
	json_object_set_new(jpath_get(obj, "metadata.annotations"), name, json_string(value));
}

static long long revision_of(const json_t *obj)
{
	return strtoll(annotation(obj, REVISION), NULL, 10);
}

static long long spec_replicas(const json_t *obj)
{
	return jpath_int(obj, "spec.replicas", 1);
}

/* --- the sets --- */

static int compare_age(const void *a, const void *b)
{
	const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
	int c = strcmp(jpath_str(x, "metadata.creationTimestamp", ""), jpath_str(y, "metadata.creationTimestamp", ""));

	if (!c)
		c = (revision_of(x) > revision_of(y)) - (revision_of(x) < revision_of(y));
	return c ? c : strcmp(jpath_str(x, "metadata.name", ""), jpath_str(y, "metadata.name", ""));
}

static int rollout_open(struct rollout *r, struct syncer *s, json_t *deploy, struct child *children)
{
	size_t n = 0;

	*r = (struct rollout){ .deploy = deploy, .syncer = s };
	for (struct child *c = children; c; c = c->next)
		n++;
	r->all = calloc(n + 1, sizeof *r->all);     // room for one that is made
	if (!r->all)
		return -ENOMEM;
	for (struct child *c = children; c; c = c->next) {
		r->all[r->n] = obj_json(c->obj);
		r->n += r->all[r->n] != NULL;
	}
	qsort(r->all, r->n, sizeof *r->all, compare_age);
	for (size_t i = 0; i < r->n && !r->fresh; i++)
		if (template_equal(jpath_get(r->all[i], "spec.template"), jpath_get(deploy, "spec.template")))
			r->fresh = r->all[i];
	return 0;
}

static void rollout_close(struct rollout *r)
{
	for (size_t i = 0; i < r->n; i++)
		json_decref(r->all[i]);
	free(r->all);
}

static long long surge_of(const json_t *deploy)
{
	if (strcmp(jpath_str(deploy, "spec.strategy.type", ""), "RollingUpdate"))
		return 0;
	return replicas_rolling(jpath_get(deploy, "spec.strategy"), spec_replicas(deploy)).surge;
}

/* --- annotations --- */

static bool is_copied(const char *name)
{
	static const char *const own[] = { "kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM,
					   "deprecated.deployment.rollback.to" };

	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (!strcmp(name, own[i]))
			return false;
	return true;
}

static void copy_annotations(json_t *rs, const json_t *deploy)
{
	const char *name;
	json_t *v;

	json_object_foreach(jpath_get(deploy, "metadata.annotations"), name, v)
		if (is_copied(name))
			annotate(rs, name, json_string_value(v));
}

/* A set that is rolled back to gets the newest number; the numbers it had stay as history. */
static void set_revision(json_t *rs, long long revision)
{
	const char *old = annotation(rs, REVISION), *history = annotation(rs, HISTORY);
	char number[32];
	own_free char *longer = NULL;

	if (revision_of(rs) >= revision)
		return;
	if (*old && asprintf(&longer, "%s%s%s", history, *history ? "," : "", old) > 0)
		annotate(rs, HISTORY, longer);
	snprintf(number, sizeof number, "%lld", revision);
	annotate(rs, REVISION, number);
}

static void set_sizes(json_t *rs, const json_t *deploy)
{
	long long replicas = spec_replicas(deploy);
	char number[32];

	snprintf(number, sizeof number, "%lld", replicas);
	annotate(rs, DESIRED, number);
	snprintf(number, sizeof number, "%lld", replicas + surge_of(deploy));
	annotate(rs, MAXIMUM, number);
}

struct revise { const json_t *deploy; long long revision; };

static bool revise_rs(json_t *rs, void *user)
{
	struct revise *v = user;
	own_json json_t *before = json_deep_copy(rs);
	const json_t *min_ready = jpath_get(v->deploy, "spec.minReadySeconds");

	copy_annotations(rs, v->deploy);
	set_revision(rs, v->revision);
	if (min_ready)
		jpath_set(rs, "spec.minReadySeconds", json_incref((json_t *)min_ready));
	else
		json_object_del(json_object_get(rs, "spec"), "minReadySeconds");
	return !json_equal(before, rs);
}

static bool revise_deploy(json_t *deploy, void *user)
{
	const char *number = user;

	if (!strcmp(annotation(deploy, REVISION), number))
		return false;
	annotate(deploy, REVISION, number);
	return true;
}

static long long max_old_revision(const struct rollout *r)
{
	long long most = 0;

	for (size_t i = 0; i < r->n; i++)
		if (r->all[i] != r->fresh && revision_of(r->all[i]) > most)
			most = revision_of(r->all[i]);
	return most;
}

static int put_revision(struct rollout *r, long long revision)
{
	char number[32];

	snprintf(number, sizeof number, "%lld", revision);
	return change_object(r->syncer->srv, r->syncer->kind, jpath_str(r->deploy, "metadata.namespace", ""),
			     jpath_str(r->deploy, "metadata.name", ""), "", revise_deploy, number, NULL);
}

/* --- changing sets --- */

struct resize { long long replicas; const json_t *deploy; };

static bool resize_rs(json_t *rs, void *user)
{
	struct resize *z = user;
	own_json json_t *before = json_deep_copy(rs);

	jpath_set(rs, "spec.replicas", json_integer(z->replicas));
	set_sizes(rs, z->deploy);
	return !json_equal(before, rs);
}

static int scale_rs(struct rollout *r, json_t *rs, long long replicas)
{
	struct resize z = { replicas, r->deploy };
	long long before = spec_replicas(rs);
	const char *name = jpath_str(rs, "metadata.name", "");
	int code = change_object(r->syncer->srv, rs_kind(), jpath_str(rs, "metadata.namespace", ""), name, "", resize_rs, &z, NULL);

	if (code || before == replicas)
		return code;
	jpath_set(rs, "spec.replicas", json_integer(replicas));
	r->scaled = true;
	syncer_event(r->syncer, r->deploy, "Normal", "ScalingReplicaSet", "Scaled %s replica set %s from %lld to %lld",
		     before < replicas ? "up" : "down", name, before, replicas);
	return 0;
}

static json_t *make_rs(const struct rollout *r, const char *hash, long long revision)
{
	const json_t *deploy = r->deploy;
	json_t *rs = json_pack("{s:s,s:s,s:{},s:{s:i}}", "apiVersion", "apps/v1", "kind", "ReplicaSet", "metadata", "spec", "replicas", 0);
	json_t *labels, *spec = json_object_get(rs, "spec"), *selector = json_deep_copy(jpath_get(deploy, "spec.selector"));
	char name[300];

	snprintf(name, sizeof name, "%s-%s", jpath_str(deploy, "metadata.name", ""), hash);
	jpath_set(rs, "metadata.name", json_string(name));
	owner_add(rs, deploy);
	copy_annotations(rs, deploy);
	set_revision(rs, revision);
	set_sizes(rs, deploy);
	json_object_set_new(spec, "template", json_deep_copy(jpath_get(deploy, "spec.template")));
	jpath_set(spec, "template.metadata.labels.pod-template-hash", json_string(hash));
	labels = json_deep_copy(jpath_get(spec, "template.metadata.labels"));
	jpath_set(rs, "metadata.labels", labels);
	json_object_set_new(spec, "selector", selector);
	jpath_set(spec, "selector.matchLabels.pod-template-hash", json_string(hash));
	if (jpath_get(deploy, "spec.minReadySeconds"))
		json_object_set(spec, "minReadySeconds", jpath_get(deploy, "spec.minReadySeconds"));
	return rs;
}

static bool count_collision(json_t *deploy, void *user)
{
	(void)user;
	return !jpath_set(deploy, "status.collisionCount", json_integer(jpath_int(deploy, "status.collisionCount", 0) + 1));
}

static int create_fresh(struct rollout *r)
{
	const char *ns = jpath_str(r->deploy, "metadata.namespace", ""), *name;
	long long collisions = jpath_int(r->deploy, "status.collisionCount", 0), revision = max_old_revision(r) + 1;
	char hash[TEMPLATE_HASH_MAX];
	own_json json_t *rs = make_rs(r, template_hash(jpath_get(r->deploy, "spec.template"), collisions, hash), revision);
	own_obj struct obj *made = NULL;
	struct err e = ERR_INIT;
	int code;

	name = jpath_str(rs, "metadata.name", "");
	code = create_object_out(r->syncer->srv, rs_kind(), ns, rs, &made, &e);
	if (code == -EEXIST) {
		change_object(r->syncer->srv, r->syncer->kind, ns, jpath_str(r->deploy, "metadata.name", ""), "status", count_collision,
			      NULL, NULL);
		return code;
	}
	if (code) {
		snprintf(r->failure, sizeof r->failure, "Failed to create new replica set \"%s\": %s", name, e.text);
		syncer_event(r->syncer, r->deploy, "Warning", "ReplicaSetCreateError", "%s", r->failure);
		return code;
	}
	r->fresh = r->all[r->n++] = obj_json(made);
	r->made = true;
	return put_revision(r, revision);
}

/* Find or make the set of the template of now, and number it. */
static int ensure_fresh(struct rollout *r, bool create)
{
	struct revise v = { r->deploy, max_old_revision(r) + 1 };
	int code;

	if (!r->fresh)
		return create ? create_fresh(r) : 0;
	if (v.revision < revision_of(r->fresh))
		v.revision = revision_of(r->fresh);
	code = change_object(r->syncer->srv, rs_kind(), jpath_str(r->fresh, "metadata.namespace", ""),
			     jpath_str(r->fresh, "metadata.name", ""), "", revise_rs, &v, NULL);
	return code ? code : put_revision(r, v.revision);
}

/* --- strategies --- */

static struct replica_set as_set(const json_t *rs)
{
	return (struct replica_set){ .spec = spec_replicas(rs), .available = jpath_int(rs, "status.availableReplicas", 0),
				     .want = spec_replicas(rs), .max_before = strtoll(annotation(rs, MAXIMUM), NULL, 10) };
}

static int roll(struct rollout *r)
{
	long long replicas = spec_replicas(r->deploy);
	struct replica_set fresh, *old = calloc(r->n + 1, sizeof *old);
	size_t n = 0;
	int code;

	if (!old)
		return -ENOMEM;
	fresh = as_set(r->fresh);
	for (size_t i = 0; i < r->n; i++)
		if (r->all[i] != r->fresh)
			old[n++] = as_set(r->all[i]);
	replicas_roll(replicas, replicas_rolling(jpath_get(r->deploy, "spec.strategy"), replicas), &fresh, old, n);
	code = scale_rs(r, r->fresh, fresh.want);
	n = 0;
	for (size_t i = 0; i < r->n && !code; i++)
		if (r->all[i] != r->fresh) {
			if (old[n].want != old[n].spec)
				code = scale_rs(r, r->all[i], old[n].want);
			n++;
		}
	free(old);
	return code;
}

/* Do pods of old sets still exist, in whatever state of ending? */
static bool old_pods_exist(const struct rollout *r)
{
	char prefix[REG_KEY_MAX];
	struct store_list l;
	bool found = false;

	if (store_list(r->syncer->srv->store, reg_prefix(k8s_kind_find("", "v1", "pods"),
							 jpath_str(r->deploy, "metadata.namespace", ""), prefix), NULL, 0, 0, &l))
		return true;
	for (size_t i = 0; i < l.count && !found; i++)
		for (size_t k = 0; k < r->n && !found; k++)
			if (r->all[k] != r->fresh && strstr(obj_text(l.objs[i]), jpath_str(r->all[k], "metadata.uid", "-"))) {
				own_json json_t *pod = obj_json(l.objs[i]);
				const char *phase = jpath_str(pod, "status.phase", "");
				found = strcmp(phase, "Succeeded") && strcmp(phase, "Failed");
			}
	store_list_fini(&l);
	return found;
}

static int recreate(struct rollout *r)
{
	bool down = false;
	int code = 0;

	for (size_t i = 0; i < r->n && !code; i++)
		if (r->all[i] != r->fresh && spec_replicas(r->all[i])) {
			code = scale_rs(r, r->all[i], 0);
			down = true;
		}
	if (code || down || old_pods_exist(r))
		return code;
	code = ensure_fresh(r, true);
	return code || !r->fresh ? code : scale_rs(r, r->fresh, spec_replicas(r->deploy));
}

/* The only set with replicas; if none has any, the new one or the latest. NULL: several have. */
static json_t *active_or_latest(const struct rollout *r)
{
	json_t *active = NULL;

	for (size_t i = 0; i < r->n; i++)
		if (spec_replicas(r->all[i]) > 0) {
			if (active)
				return NULL;
			active = r->all[i];
		}
	return active ? active : r->fresh ? r->fresh : r->n ? r->all[r->n - 1] : NULL;
}

static bool is_saturated(const struct rollout *r)
{
	long long want = spec_replicas(r->deploy);

	return r->fresh && spec_replicas(r->fresh) == want && jpath_int(r->fresh, "status.availableReplicas", 0) == want &&
	       strtoll(annotation(r->fresh, DESIRED), NULL, 10) == want;
}

static int spread(struct rollout *r)
{
	struct replica_set *sets = calloc(r->n + 1, sizeof *sets);
	json_t **order = calloc(r->n + 1, sizeof *order);
	size_t n = 0;
	int code = sets && order ? 0 : -ENOMEM;

	// The new set first: it gets what is left over.
	if (!code && r->fresh && spec_replicas(r->fresh))
		order[n++] = r->fresh;
	for (size_t i = r->n; !code && i-- > 0;)
		if (r->all[i] != r->fresh && spec_replicas(r->all[i]))
			order[n++] = r->all[i];
	for (size_t i = 0; i < n; i++)
		sets[i] = as_set(order[i]);
	if (!code)
		replicas_spread(spec_replicas(r->deploy), surge_of(r->deploy), sets, n);
	for (size_t i = 0; i < n && !code; i++)
		code = scale_rs(r, order[i], sets[i].want);
	free(sets);
	free(order);
	return code;
}

/* Follow spec.replicas without moving the rollout on. */
static int scale(struct rollout *r)
{
	json_t *one = active_or_latest(r);
	int code = 0;

	if (one)
		return scale_rs(r, one, spec_replicas(r->deploy));
	if (is_saturated(r)) {
		for (size_t i = 0; i < r->n && !code; i++)
			if (r->all[i] != r->fresh && spec_replicas(r->all[i]))
				code = scale_rs(r, r->all[i], 0);
		return code;
	}
	return strcmp(jpath_str(r->deploy, "spec.strategy.type", ""), "RollingUpdate") ? 0 : spread(r);
}

static bool has_been_scaled(const struct rollout *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const char *desired = annotation(r->all[i], DESIRED);
		if (spec_replicas(r->all[i]) && *desired && strtoll(desired, NULL, 10) != spec_replicas(r->deploy))
			return true;
	}
	return false;
}

/* Old sets beyond the limit that nothing runs of, oldest revision first. */
static void drop_history(struct rollout *r)
{
	long long keep = jpath_int(r->deploy, "spec.revisionHistoryLimit", 10), have = 0;

	for (size_t i = 0; i < r->n; i++)
		have += r->all[i] != r->fresh;
	while (have-- > keep) {
		json_t *oldest = NULL;
		for (size_t i = 0; i < r->n; i++)
			if (r->all[i] != r->fresh && !jpath_bool(r->all[i], "dropped", false) &&
			    (!oldest || revision_of(r->all[i]) < revision_of(oldest)))
				oldest = r->all[i];
		if (!oldest)
			return;
		json_object_set_new(oldest, "dropped", json_true());
		if (spec_replicas(oldest) || jpath_int(oldest, "status.replicas", 0) || meta_is_deleting(oldest) ||
		    jpath_int(oldest, "metadata.generation", 0) > jpath_int(oldest, "status.observedGeneration", 0))
			continue;
		delete_object_and(r->syncer->srv, rs_kind(), jpath_str(oldest, "metadata.namespace", ""),
				  jpath_str(oldest, "metadata.name", ""), jpath_str(oldest, "metadata.uid", ""), "Background", NULL);
	}
}

/* --- sync --- */

static int move(struct rollout *r)
{
	int code;

	if (jpath_bool(r->deploy, "spec.paused", false)) {
		code = ensure_fresh(r, false);
		return code ? code : scale(r);
	}
	if (has_been_scaled(r)) {
		code = ensure_fresh(r, false);
		return code ? code : scale(r);
	}
	if (!strcmp(jpath_str(r->deploy, "spec.strategy.type", ""), "Recreate"))
		return recreate(r);
	code = ensure_fresh(r, true);
	return code || !r->fresh ? code : roll(r);
}

static uint64_t sync_one(struct syncer *s, json_t *deploy, struct child *children, uint64_t now)
{
	struct rollout r;
	uint64_t next = LOOP_NEVER;
	int code;

	if (rollout_open(&r, s, deploy, children))
		return SYNC_RETRY;
	code = meta_is_deleting(deploy) ? 0 : move(&r);
	if (deployment_status_put(&r, now, &next) && !code)
		code = -EAGAIN;
	if (!code && deployment_is_complete(&r) && !meta_is_deleting(deploy))
		drop_history(&r);
	rollout_close(&r);
	return code ? SYNC_RETRY : next;
}

/* --- pods: those of a Recreate must be gone --- */

static void pod_changed(void *unit, int type, struct obj *o)
{
	struct syncer *s = unit;
	own_json json_t *pod = type == EVENT_DELETED ? obj_view(o) : NULL, *rs = NULL;
	own_obj struct obj *set = NULL;
	json_t *ref = owner_controller(pod);
	const char *ns = jpath_str(pod, "metadata.namespace", "");
	char key[REG_KEY_MAX];

	if (!ref || strcmp(jpath_str(ref, "kind", ""), "ReplicaSet"))
		return;
	set = store_get(s->srv->store, reg_key(rs_kind(), ns, jpath_str(ref, "name", ""), key));
	rs = set ? obj_json(set) : NULL;
	ref = owner_controller(rs);
	if (ref && !strcmp(jpath_str(ref, "kind", ""), "Deployment"))
		syncer_look(s, ns, jpath_str(ref, "name", ""));
}

static const struct sync_ops ops = {
	.component = "deployment-controller", .group = "apps", .version = "v1", .plural = "deployments", .kind = "Deployment",
	.child_group = "apps", .child_version = "v1", .child_plural = "replicasets", .takes_orphans = true, .sync = sync_one,
};

static int deployment_open(struct server *srv, void **unit, struct err *e)
{
	return syncer_new(srv, &ops, unit, e);
}

static const struct unit_source sources[] = {
	{ "apps", "v1", "deployments", syncer_owner_changed, NULL },
	{ "apps", "v1", "replicasets", syncer_child_changed, syncer_children_reset },
	{ "", "v1", "pods", pod_changed, NULL },
	{ .plural = NULL },
};

const struct unit_ops deployment_unit = {
	.name = "deployments", .sources = sources, .open = deployment_open, .work = syncer_work, .close = syncer_close,
};
