// SPDX-License-Identifier: Apache-2.0
// The object in the API that shows a static pod, its mirror: made when the API can be reached, made again when somebody
// deletes it, replaced when it shows an earlier content of the file, deleted with the pod. The pod itself does not depend
// on it. `mirror_uid` and `mirror_stale` are guarded by the pod's lock; the rest belongs to the worker.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/client.h"
#include "pod.h"
#include "static_manifest.h"

#define RETRY_NS (2 * NS_PER_S)
#define OCCUPIED_RETRY_NS (20 * NS_PER_S)
#define API_MS 2000        // a pod does not wait long for being shown

static void copy_uid(char out[64], const char *uid) { snprintf(out, 64, "%s", uid); }

void pod_mirror_seen(struct pod *p, const json_t *obj, bool gone)
{
	const char *uid = jpath_str(obj, "metadata.uid", "");
	bool ours = !strcmp(static_annotation(obj, STATIC_MIRROR_KEY), p->uid) && !jpath_get(obj, "metadata.deletionTimestamp");
	pthread_mutex_lock(&p->lock);
	if (gone || !ours) {
		if (!strcmp(p->mirror_uid, uid))
			p->mirror_uid[0] = '\0';
		if (!gone)
			copy_uid(p->mirror_stale, uid);
		else if (!strcmp(p->mirror_stale, uid))
			p->mirror_stale[0] = '\0';
	} else {
		copy_uid(p->mirror_uid, uid);
	}
	p->dirty = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

void pod_mirror_listed(struct pod *p, const json_t *all)
{
	size_t i;
	json_t *obj;
	bool there = false;
	pthread_mutex_lock(&p->lock);
	json_array_foreach((json_t *)all, i, obj)
		there |= !strcmp(jpath_str(obj, "metadata.uid", ""), p->mirror_uid);
	if (!there)
		p->mirror_uid[0] = '\0';
	p->dirty = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

static void path_of(const struct pod *p, char path[512])
{
	snprintf(path, 512, "/api/v1/namespaces/%s/pods/%s", p->ns, p->name);
}

static int delete_mirror(struct pod *p, const char *uid, struct err *e)
{
	char path[512];
	path_of(p, path);
	own_json json_t *options = json_pack("{s:s, s:s, s:i, s:{s:s}}", "kind", "DeleteOptions", "apiVersion", "v1", "gracePeriodSeconds", 0,
					     "preconditions", "uid", uid);
	int rc = k8s_client_call(p->host->api, "DELETE", path, NULL, options, API_MS, NULL, e);
	return rc == -ENOENT || rc == -ESTALE || rc == -EEXIST ? 0 : rc;   // not there, or another one by now
}

/* Something of that name is there already: our mirror, an old one, or a pod of somebody. */
static int look_at_it(struct pod *p, struct err *e)
{
	char path[512];
	own_json json_t *there = NULL;
	path_of(p, path);
	int rc = k8s_client_call(p->host->api, "GET", path, NULL, NULL, API_MS, &there, e);
	if (rc)
		return rc;
	if (!*static_annotation(there, STATIC_MIRROR_KEY) || strcmp(jpath_str(there, "spec.nodeName", ""), p->host->node_name))
		return err_set(e, EBUSY, "a pod of the cluster has its name, so it runs without being shown");
	pod_mirror_seen(p, there, false);
	return 0;
}

static int make_mirror(struct pod *p, struct err *e)
{
	char path[512];
	const char *node = p->host->node_name;
	own_json json_t *owner = NULL, *made = NULL;
	snprintf(path, sizeof(path), "/api/v1/nodes/%s", node);
	int rc = k8s_client_call(p->host->api, "GET", path, NULL, NULL, API_MS, &owner, e);
	if (rc)
		return rc;
	own_json json_t *mirror = static_manifest_mirror(p->seen, node, jpath_str(owner, "metadata.uid", ""));
	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/pods", p->ns);
	rc = k8s_client_call(p->host->api, "POST", path, NULL, mirror, API_MS, &made, e);
	if (!rc)
		pod_mirror_seen(p, made, false);
	return rc == -EEXIST ? look_at_it(p, e) : rc;
}

void pod_mirror_ensure(struct pod *p)
{
	char uid[64], stale[64];
	uint64_t now = clock_mono_ns();
	struct err e = ERR_INIT;
	int rc = 0;
	if (!p->is_static)
		return;
	pthread_mutex_lock(&p->lock);
	copy_uid(uid, p->mirror_uid);
	copy_uid(stale, p->mirror_stale);
	pthread_mutex_unlock(&p->lock);
	if (strcmp(uid, p->mirror_told)) {   // another object than the one that was told last
		pthread_mutex_lock(&p->lock);
		json_decref(p->reported);
		p->reported = NULL;
		pthread_mutex_unlock(&p->lock);
		copy_uid(p->mirror_told, uid);
	}
	if (*uid && !*stale)
		return;
	if (now < p->mirror_retry_mono_ns) {
		pod_wake_at(p, p->mirror_retry_mono_ns);
		return;
	}
	if (*stale && !(rc = delete_mirror(p, stale, &e))) {
		pthread_mutex_lock(&p->lock);
		if (!strcmp(p->mirror_stale, stale))
			p->mirror_stale[0] = '\0';
		pthread_mutex_unlock(&p->lock);
	}
	if (!rc && !*uid)
		rc = make_mirror(p, &e);
	if (!rc)
		return;
	log_limited(LOG_LEVEL_WARN, "static", "%s/%s: no mirror in the API: %s", p->ns, p->name, e.text);
	p->mirror_retry_mono_ns = now + (rc == -EBUSY || rc == -EINVAL || rc == -EACCES ? OCCUPIED_RETRY_NS : RETRY_NS);
	pod_wake_at(p, p->mirror_retry_mono_ns);
}

bool pod_mirror_delete(struct pod *p)
{
	char uid[64];
	struct err e = ERR_INIT;
	pthread_mutex_lock(&p->lock);
	copy_uid(uid, *p->mirror_uid ? p->mirror_uid : p->mirror_stale);
	p->mirror_over = true;
	pthread_mutex_unlock(&p->lock);
	if (!*uid || !delete_mirror(p, uid, &e))
		return true;
	log_limited(LOG_LEVEL_WARN, "static", "%s/%s: mirror not deleted: %s", p->ns, p->name, e.text);
	return false;
}
