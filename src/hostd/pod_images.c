// SPDX-License-Identifier: Apache-2.0
// The images of a pod's containers: present, pulled, or waited for with the kubelet's back-off and Events.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base/utf8.h"
#include "events.h"
#include "image.h"
#include "image_auth.h"
#include "pod.h"
#include "pod_containers.h"
#include "share.h"

#define SHOWN_NS NS_PER_S   // so long the reason of a failed pull is the failure, then that it backs off

static void image_waits(struct pod *p, struct container *c, const char *reason, const char *message)
{
	pthread_mutex_lock(&p->lock);
	snprintf(c->waiting_reason, sizeof(c->waiting_reason), "%s", reason);
	free(c->waiting_message);
	c->waiting_message = utf8_clean(strdup(message));
	pthread_mutex_unlock(&p->lock);
}

static void image_let_go(struct pod *p, struct container *c)
{
	if (c->image_held)
		image_release(p->host->images, c->image_id);
	c->image_held = false;
}

/* The lock is held. */
static void image_forget(struct container *c)
{
	free(take(c->image_id));
	free(take(c->image_ref));
	json_decref(take(c->image_config));
	c->image_serial[0] = '\0';
	c->image_late = false;
}

static void image_taken(struct pod *p, struct container *c, struct image *img)
{
	bool held = !image_hold(p->host->images, img->id);
	image_let_go(p, c);
	pthread_mutex_lock(&p->lock);
	bool late = c->image_id && !strcmp(c->image_id, img->id) ? c->image_late : p->vm != NULL;   // the same is where it was
	image_forget(c);
	c->image_held = held;
	c->image_late = late;
	c->image_fresh = true;
	pod_image_serial(img->id, c->image_serial);
	c->image_id = strdup(img->id);
	c->image_ref = strdup(img->ref);
	c->image_config = json_pack("{s:O*}", "config", json_object_get(img->config, "config"));   // its history is no use here
	strcpy(c->waiting_reason, "ContainerCreating");
	free(c->waiting_message);
	c->waiting_message = NULL;
	c->retry_mono_ns = 0;
	c->pull = (struct backoff){0};
	pthread_mutex_unlock(&p->lock);
}

int container_pull_failed(struct pod *p, struct container *c, const char *ref, const struct err *why, uint64_t now_ns)
{
	char text[ERR_TEXT_MAX + 320];
	if (why->code == ECANCELED)
		return -ECANCELED;
	bool invalid = why->code == EINVAL;
	snprintf(text, sizeof(text), "Failed to pull image \"%s\": %s", ref, why->text);
	container_event(p, c, "Warning", "Failed", text);
	container_event(p, c, "Warning", "Failed", invalid ? "Error: InvalidImageName" : "Error: ErrImagePull");
	image_waits(p, c, invalid ? "InvalidImageName" : "ErrImagePull", why->text);
	backoff_step(&c->pull, now_ns, now_ns);
	c->pull_told = invalid;
	pod_wake_at(p, now_ns + (invalid ? c->pull.delay_ns : SHOWN_NS));
	return -EAGAIN;
}

bool container_pull_waits(struct pod *p, struct container *c, const char *ref, uint64_t now_ns)
{
	char text[512 + ERR_TEXT_MAX];
	uint64_t wait = backoff_wait_ns(&c->pull, c->pull.since_ns, now_ns);
	if (!wait)
		return false;
	if (!c->pull_told && now_ns - c->pull.since_ns >= SHOWN_NS) {
		snprintf(text, sizeof(text), "Back-off pulling image \"%s\"", ref);
		container_event(p, c, "Normal", "BackOff", text);
		container_event(p, c, "Warning", "Failed", "Error: ImagePullBackOff");
		snprintf(text, sizeof(text), "Back-off pulling image \"%s\": ErrImagePull: %s", ref, c->waiting_message ? c->waiting_message : "");
		image_waits(p, c, "ImagePullBackOff", text);
		c->pull_told = true;
	}
	pod_wake_at(p, c->pull_told ? now_ns + wait : c->pull.since_ns + SHOWN_NS);
	return true;
}

bool pod_image_changed(const struct pod *p, const struct container *c)
{
	return c->image_asked && strcmp(c->image_asked, jpath_str(container_spec(p, c), "image", c->image_asked));
}

void pod_image_drop(struct pod *p, struct container *c)
{
	image_let_go(p, c);
	pthread_mutex_lock(&p->lock);
	image_forget(c);
	free(take(c->image_asked));
	c->restart = c->pull = (struct backoff){0};
	c->retry_mono_ns = 0;
	pthread_mutex_unlock(&p->lock);
	if (c->phase == CONTAINER_WAITING)
		container_set_waiting(p, c, "ContainerCreating", NULL);
}

static int image_ensure(struct pod *p, struct container *c, struct err *e)
{
	const json_t *spec = container_spec(p, c);
	const char *ref = jpath_str(spec, "image", ""), *policy = jpath_str(spec, "imagePullPolicy", "IfNotPresent");
	struct image *img = NULL;
	char text[ERR_TEXT_MAX + 128];
	if (!c->image_asked)
		c->image_asked = strdup(ref);
	bool again = c->used && !c->image_fresh && !strcmp(policy, "Always");   // with each start: the name may mean another one now
	if (c->image_id && !again)
		return 0;
	if (container_pull_waits(p, c, ref, clock_mono_ns()))
		return -EAGAIN;
	if (strcmp(policy, "Always") && !image_find(p->host->images, ref, &img, NULL)) {
		snprintf(text, sizeof(text), "Container image \"%s\" already present on machine", ref);
		container_event(p, c, "Normal", "Pulled", text);
		image_taken(p, c, img);
		image_free(img);
		return 0;
	}
	if (!strcmp(policy, "Never")) {
		snprintf(text, sizeof(text), "Container image \"%s\" is not present with pull policy of Never", ref);
		container_event(p, c, "Warning", "ErrImageNeverPull", text);
		image_waits(p, c, "ErrImageNeverPull", text);
		pod_wake_at(p, clock_mono_ns() + 10 * NS_PER_S);
		return -EAGAIN;
	}
	snprintf(text, sizeof(text), "Pulling image \"%s\"", ref);
	container_event(p, c, "Normal", "Pulling", text);
	own_free char *auth = NULL;
	if (image_auth(p, ref, &auth, e))
		return container_pull_failed(p, c, ref, e, clock_mono_ns());
	struct image_pull_opts o = {.auth_json = auth, .cancel = &p->cancel};
	uint64_t t = clock_mono_ns();
	struct err why = ERR_INIT;
	if (image_pull(p->host->images, ref, &o, &img, &why))
		return container_pull_failed(p, c, ref, &why, clock_mono_ns());
	double s = (double)(clock_mono_ns() - t) / 1e9;
	snprintf(text, sizeof(text), "Successfully pulled image \"%s\" in %.3fs (%.3fs including waiting). Image size: %llu bytes.", ref, s,
		 s, (unsigned long long)img->size_bytes);
	container_event(p, c, "Normal", "Pulled", text);
	image_taken(p, c, img);
	image_free(img);
	return 0;
}

int pod_image_get(struct pod *p, const char *ref, const char *policy, struct image **img, struct err *e)
{
	own_free char *auth = NULL;
	if (strcmp(policy, "Always") && !image_find(p->host->images, ref, img, NULL))
		return 0;
	if (!strcmp(policy, "Never"))
		return err_set(e, ENOENT, "image \"%s\" is not present with pull policy of Never", ref);
	int rc = image_auth(p, ref, &auth, e);
	struct image_pull_opts o = {.auth_json = auth, .cancel = &p->cancel};
	return rc ? rc : image_pull(p->host->images, ref, &o, img, e);
}

static bool is_boot_disk(const struct pod *p, const struct container *c)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		const struct container *other = &p->containers[i];
		if (other != c && !other->image_late && other->image_id && !strcmp(other->image_serial, c->image_serial))
			return true;
	}
	return false;
}

int pod_image_late(struct pod *p, struct container *c, struct err *e)
{
	struct image *img = NULL;
	if (!c->image_id)
		pod_report(p);   // show ContainerCreating while a pull runs
	int rc = image_ensure(p, c, e);
	if (rc || !c->image_late || is_boot_disk(p, c))
		return rc;
	rc = image_find(p->host->images, c->image_id, &img, e);
	if (!rc)
		rc = share_image(p->host->share_path, vm_vsock_path(p->vm), p->agent, c->image_serial, img->disk_path, e);
	image_free(img);
	return rc;
}

/* One image that cannot be had does not hold up the containers that have theirs: it comes when it comes. */
int pod_images_ensure(struct pod *p, struct err *e)
{
	int worst = 0;
	bool any = false;
	if (p->vm && p->configured)
		return 0;
	for (size_t i = 0; i < p->containers_count; i++) {
		struct container *c = &p->containers[i];
		if (c->kind == CONTAINER_EPHEMERAL)
			continue;
		if (c->phase == CONTAINER_WAITING && pod_image_changed(p, c))
			pod_image_drop(p, c);
		if (!c->image_id && worst == 0)
			pod_report(p);   // show ContainerCreating while a pull runs
		int rc = image_ensure(p, c, e);
		if (rc == -ECANCELED)
			return rc;
		any |= !rc;
		if (rc)
			worst = rc;
	}
	return any ? 0 : worst;
}
