// SPDX-License-Identifier: Apache-2.0
// Containers that end and images that cannot be pulled, by a clock of the test's own: when the next try is made, and what the API and
// the state on disk say until then.
#include "pod.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "pod_containers.h"

#define START (1800000000 * NS_PER_S)
#define RAN (2 * NS_PER_S)          // what an instance lasts that fails soon

static const uint64_t waits_s[] = {0, 10, 20, 40, 80, 160, 300, 300, 300};
#define WAITS (sizeof(waits_s) / sizeof(waits_s[0]))

static char dir[] = "/tmp/bh-pod-restart-test-XXXXXX";
static const struct host host = {.node_addr = "127.0.0.1"};

static struct pod *pod_new_(void)
{
	struct pod *p = calloc(1, sizeof(*p));
	assert_non_null(p);
	p->host = &host;
	p->obj = json_pack("{s:{s:s, s:s, s:s}, s:{s:[{s:s, s:s}, {s:s, s:s}]}}", "metadata", "name", "web", "namespace", "shop", "uid", "u-1",
			   "spec", "containers", "name", "main", "image", "r/x:1", "name", "other", "image", "r/y:1");
	p->seen = json_incref(p->obj);
	p->dir = strdup(dir);
	strcpy(p->name, "web"), strcpy(p->ns, "shop"), strcpy(p->uid, "u-1"), strcpy(p->phase, "Pending");
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

static struct pod *pod_begin(void)
{
	struct pod *p = pod_new_();
	assert_int_equal(pod_containers_load(p), 0);
	return p;
}

static void pod_end(struct pod *p)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		json_decref(p->containers[i].last_state);
		free(p->containers[i].image_asked), free(p->containers[i].message), free(p->containers[i].waiting_message);
	}
	free(p->containers);
	pod_claims_free(p);
	json_decref(p->obj);
	json_decref(p->seen);
	json_decref(p->kept_spec);
	free(p->dir);
	free(p);
}

static void check_waiting(struct pod *p, size_t container, const char *reason, const char *message)
{
	json_t *s = pod_status(p);
	const json_t *c = json_array_get(json_object_get(s, "containerStatuses"), container);
	assert_string_equal(jpath_str(c, "state.waiting.reason", "none"), reason);
	assert_string_equal(jpath_str(c, "state.waiting.message", "none"), message);
	json_decref(s);
}

static void starts(struct pod *p, struct container *c, uint64_t now)
{
	if (c->used)
		container_next_instance(p, c, now);
	c->used = true;
	container_set_running(p, c, now);
}

static void ends(struct pod *p, struct container *c, uint64_t now)
{
	container_set_terminated(p, c, 1, 0, "Error", NULL, 0, 1);   // what the guest says of the time is for the status alone
	c->ended_ns = now;
	container_ended(p, c);
}

/* It runs, ends, waits, as often as asked for. Returns when its last start was due; it has been made. */
static uint64_t fails(struct pod *p, struct container *c, size_t times, uint64_t now)
{
	for (size_t i = 0; i < times; i++) {
		now += RAN;
		ends(p, c, now);
		uint64_t wait = container_plan_restart(p, c, now);
		assert_int_equal(wait, (i < WAITS ? waits_s[i] : 300) * NS_PER_S);
		now += wait;
		starts(p, c, now);
	}
	return now;
}

static void whole_sequence(void **state)
{
	(void)state;
	static const char *const texts[] = {NULL, "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s", "5m0s"};
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	char want[160];
	uint64_t now = START;
	starts(p, c, now);
	for (size_t i = 0; i < WAITS; i++) {
		now += RAN;
		ends(p, c, now);
		assert_int_equal(container_plan_restart(p, c, now), waits_s[i] * NS_PER_S);
		snprintf(want, sizeof(want), "back-off %s restarting failed container=main pod=web_shop(u-1)", texts[i] ? texts[i] : "");
		check_waiting(p, 0, i ? "CrashLoopBackOff" : "ContainerCreating", i ? want : "none");
		assert_int_equal(c->restart_count, i);
		now += waits_s[i] * NS_PER_S;
		starts(p, c, now);
	}
	assert_int_equal(c->restart_count, WAITS);
	check_waiting(p, 1, "ContainerCreating", "none");
	pod_end(p);
}

static void one_does_not_wait_for_the_other(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	starts(p, &p->containers[0], START);
	starts(p, &p->containers[1], START);
	uint64_t now = fails(p, &p->containers[0], 5, START);
	fails(p, &p->containers[1], 3, now);
	pod_end(p);
}

static void forgotten_after_ten_minutes(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	starts(p, c, START);
	uint64_t now = fails(p, c, 5, START);
	now += 599 * NS_PER_S;
	ends(p, c, now);
	assert_int_equal(container_plan_restart(p, c, now), 160 * NS_PER_S);
	now += 160 * NS_PER_S;
	starts(p, c, now);
	now += 601 * NS_PER_S;
	ends(p, c, now);
	assert_int_equal(container_plan_restart(p, c, now), 0);
	starts(p, c, now);
	now += RAN;
	ends(p, c, now);
	assert_int_equal(container_plan_restart(p, c, now), 10 * NS_PER_S);
	pod_end(p);
}

/* A hostd that starts while a container waits: the rest of the wait, and then the next step. A kubelet would have forgotten. */
static void kept_on_disk(void **state)
{
	(void)state;
	struct pod *p = pod_begin(), *q = pod_new_();
	starts(p, &p->containers[0], START);
	uint64_t now = fails(p, &p->containers[0], 3, START) + RAN;
	ends(p, &p->containers[0], now);
	assert_int_equal(container_plan_restart(p, &p->containers[0], now), 40 * NS_PER_S);
	assert_int_equal(pod_state_save(p, NULL), 0);
	pod_end(p);
	assert_int_equal(pod_state_load(q), 0);
	assert_int_equal(pod_containers_load(q), 0);
	struct container *c = &q->containers[0];
	check_waiting(q, 0, "CrashLoopBackOff", "back-off 40s restarting failed container=main pod=web_shop(u-1)");
	assert_true(c->used && !c->planned);                  // so that the worker plans it
	assert_int_equal(container_plan_restart(q, c, now + 15 * NS_PER_S), 25 * NS_PER_S);
	now += 40 * NS_PER_S;
	starts(q, c, now);
	now += RAN;
	ends(q, c, now);
	assert_int_equal(container_plan_restart(q, c, now), 80 * NS_PER_S);
	pod_end(q);
}

/* What counts is when this host noted the end: the guest's clock may be anything, and may be set by who runs in it. */
static void guests_clock_has_no_say(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	uint64_t now = clock_real_ns();
	for (int i = 0; i < 2; i++) {
		starts(p, c, now);
		container_set_terminated(p, c, 1, 0, "Error", NULL, now, i ? now - 3600 * NS_PER_S : now + 3600 * NS_PER_S);
		assert_in_range(c->ended_ns, now, now + 60 * NS_PER_S);
		container_ended(p, c);
		assert_true(c->finished_ns != c->ended_ns);
		assert_int_equal(container_plan_restart(p, c, c->ended_ns), i * 10 * NS_PER_S);
	}
	/* The host's own clock may step back: never more than one wait, and never none. */
	now = c->ended_ns;
	starts(p, c, now + 3600 * NS_PER_S);
	ends(p, c, now);
	assert_int_equal(container_plan_restart(p, c, now), 20 * NS_PER_S);
	pod_end(p);
}

/* The state of a hostd that knew the guest's time only: it is no earlier than the start. */
static void kept_by_an_older_one(void **state)
{
	(void)state;
	struct pod *p = pod_begin(), *q = pod_new_();
	char path[64];
	starts(p, &p->containers[0], START);
	uint64_t now = fails(p, &p->containers[0], 3, START);
	container_set_terminated(p, &p->containers[0], 1, 0, "Error", NULL, 0, now - 3600 * NS_PER_S);
	assert_int_equal(pod_state_save(p, NULL), 0);
	pod_end(p);
	snprintf(path, sizeof(path), "%s/state.json", dir);
	json_t *j = json_load_file(path, 0, NULL), *first = json_array_get(json_object_get(j, "containers"), 0);
	assert_int_equal(json_object_del(first, "endedNs"), 0);
	assert_int_equal(json_object_del(first, "endedBeforeNs"), 0);
	assert_int_equal(json_dump_file(j, path, 0), 0);
	json_decref(j);
	assert_int_equal(pod_state_load(q), 0);
	assert_int_equal(pod_containers_load(q), 0);
	struct container *c = &q->containers[0];
	assert_int_equal(c->ended_ns, now - 3600 * NS_PER_S);
	assert_int_equal(c->ended_before_ns, 0);              // the status says 1970
	container_ended(q, c);
	assert_int_equal(container_plan_restart(q, c, now), 40 * NS_PER_S);
	pod_end(q);
}

/* An init container that had failed and then done its work runs again in a new VM: nothing has failed. */
static void new_vm(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	c->kind = CONTAINER_INIT;
	starts(p, c, START);
	uint64_t now = fails(p, c, 3, START) + RAN;
	struct backoff before = c->restart;
	container_set_terminated(p, c, 0, 0, "Completed", NULL, 0, 0);
	pod_containers_vm_lost(p, "it ended");
	assert_int_equal(c->phase, CONTAINER_WAITING);
	assert_true(c->used && !c->planned);                  // so that the worker plans it
	assert_int_equal(container_plan_restart(p, c, now), 0);
	starts(p, c, now);
	assert_memory_equal(&c->restart, &before, sizeof(before));
	ends(p, c, now + RAN);
	assert_int_equal(container_plan_restart(p, c, now + RAN), 40 * NS_PER_S);
	pod_end(p);
}

static void asked_for(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	starts(p, c, START);
	uint64_t now = fails(p, c, 4, START) + RAN;
	struct backoff before = c->restart;
	c->new_size = c->again = true;                        // a resize that wants a restart
	ends(p, c, now);
	assert_int_equal(container_plan_restart(p, c, now), 0);
	starts(p, c, now);
	assert_memory_equal(&c->restart, &before, sizeof(before));
	now += RAN;
	ends(p, c, now);
	assert_int_equal(container_plan_restart(p, c, now), 80 * NS_PER_S);
	pod_end(p);
}

/* A kubelet looks for the last exit before it stops what fails its probe: one that does so every 30 s waits from the fifth time on. */
static void probe_fails(void **state)
{
	(void)state;
	static const uint64_t want_s[] = {0, 0, 0, 0, 40};
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	uint64_t now = START;
	starts(p, c, now);
	for (size_t i = 0; i < sizeof(want_s) / sizeof(want_s[0]); i++) {
		now += 30 * NS_PER_S;
		c->again = true;
		c->kill_mono_ns = 1;
		ends(p, c, now);
		assert_int_equal(container_plan_restart(p, c, now), want_s[i] * NS_PER_S);
		now += want_s[i] * NS_PER_S;
		starts(p, c, now);
		assert_true(!c->kill_mono_ns && !c->again);
	}
	pod_end(p);
}

static void set_image(struct pod *p, const char *image)
{
	json_object_set_new(json_array_get(jpath_get(p->seen, "spec.containers"), 0), "image", json_string(image));
}

/* Another image is another container: it waits for nothing that the one before did wrong. */
static void another_image(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	struct err why = ERR_INIT;
	starts(p, c, START);
	uint64_t now = fails(p, c, 5, START) + RAN;
	c->image_asked = strdup("r/x:1");
	assert_false(pod_image_changed(p, c));
	ends(p, c, now);
	c->retry_mono_ns = container_plan_restart(p, c, now);
	assert_int_equal(c->retry_mono_ns, 160 * NS_PER_S);
	set_image(p, "r/x:2");
	assert_true(pod_image_changed(p, c));
	assert_false(pod_image_changed(p, &p->containers[1]));   // nobody has looked for it yet
	pod_image_drop(p, c);
	check_waiting(p, 0, "ContainerCreating", "none");
	assert_int_equal(c->retry_mono_ns, 0);
	assert_false(pod_image_changed(p, c));
	starts(p, c, now);
	ends(p, c, now + RAN);
	assert_int_equal(container_plan_restart(p, c, now + RAN), 10 * NS_PER_S);
	err_set(&why, ENOENT, "no such thing");
	container_pull_failed(p, c, "r/x:2", &why, now);
	assert_true(container_pull_waits(p, c, "r/x:2", now + NS_PER_S));
	pod_image_drop(p, c);
	assert_false(container_pull_waits(p, c, "r/x:3", now + NS_PER_S));
	pod_end(p);
}

/* One that is ended to be started anew has not ended, whatever the pod does when its containers end. */
static void phase_meanwhile(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	json_object_set_new(json_object_get(p->seen, "spec"), "restartPolicy", json_string("Never"));
	starts(p, &p->containers[0], START);
	starts(p, &p->containers[1], START);
	container_set_terminated(p, &p->containers[1], 0, 0, "Completed", NULL, 0, START + RAN);
	p->containers[0].again = true;
	ends(p, &p->containers[0], START + RAN);
	pod_phase_update(p);
	assert_string_equal(p->phase, "Running");
	starts(p, &p->containers[0], START + RAN);
	container_set_terminated(p, &p->containers[0], 0, 0, "Completed", NULL, 0, START + 2 * RAN);
	pod_phase_update(p);
	assert_string_equal(p->phase, "Succeeded");
	pod_end(p);
}

static void check_phase(struct pod *p, const char *want)
{
	strcpy(p->phase, "Pending");
	pod_phase_update(p);
	assert_string_equal(p->phase, want);
}

/* It has been told to end for another image; that this is taken back does not change what must follow. */
static void told_to_end(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	const json_t *probe;
	char text[160];
	json_object_set_new(json_object_get(p->seen, "spec"), "restartPolicy", json_string("Never"));
	starts(p, c, START);
	starts(p, &p->containers[1], START);
	container_set_terminated(p, &p->containers[1], 0, 0, "Completed", NULL, 0, 0);
	assert_false(container_starts_anew(p, &p->containers[1]));
	c->image_asked = strdup("r/x:1");
	assert_false(container_must_end(p, c, false, &probe, text, sizeof(text)));
	set_image(p, "r/x:2");
	assert_true(container_must_end(p, c, false, &probe, text, sizeof(text)));
	assert_string_equal(text, "Container main definition changed, will be restarted");
	set_image(p, "r/x:1");
	assert_true(container_must_end(p, c, false, &probe, text, sizeof(text)));
	assert_null(probe);
	container_set_terminated(p, c, 0, 0, "Completed", NULL, 0, 0);
	assert_true(container_starts_anew(p, c));
	check_phase(p, "Running");                            // as when its VM ends just now
	container_ended(p, c);
	assert_int_equal(container_plan_restart(p, c, START + RAN), 0);
	check_phase(p, "Running");
	container_next_instance(p, c, START + RAN);           // and the agent does not make it: it is tried again
	check_phase(p, "Running");
	assert_true(c->again);
	json_object_set_new(json_object_get(p->seen, "metadata"), "deletionTimestamp", json_string("2027-01-15T08:00:00Z"));
	check_phase(p, "Succeeded");
	json_object_del(json_object_get(p->seen, "metadata"), "deletionTimestamp");
	starts(p, c, START + RAN);
	container_set_terminated(p, c, 0, 0, "Completed", NULL, 0, 0);
	assert_false(container_starts_anew(p, c));
	check_phase(p, "Succeeded");
	pod_end(p);
}

/* A hostd that ends between the signal and the next start: the new one goes on with it. */
static void told_to_end_is_kept(void **state)
{
	(void)state;
	struct pod *p = pod_begin(), *q = pod_new_();
	const json_t *probe;
	char text[160];
	json_object_set_new(json_object_get(p->seen, "spec"), "restartPolicy", json_string("OnFailure"));
	json_object_set_new(json_object_get(q->seen, "spec"), "restartPolicy", json_string("OnFailure"));
	starts(p, &p->containers[0], START);
	starts(p, &p->containers[1], START);
	assert_true(container_must_end(p, &p->containers[0], true, &probe, text, sizeof(text)));
	assert_string_equal(text, "Container main failed liveness probe, will be restarted");
	p->containers[1].new_size = true;
	assert_int_equal(pod_state_save(p, NULL), 0);
	pod_end(p);
	assert_int_equal(pod_state_load(q), 0);
	assert_int_equal(pod_containers_load(q), 0);
	for (size_t i = 0; i < 2; i++) {
		struct container *c = &q->containers[i];
		assert_true(container_must_end(q, c, false, &probe, text, sizeof(text)));
		container_set_terminated(q, c, 0, 0, "Completed", NULL, 0, 0);
		assert_true(container_starts_anew(q, c));
		container_ended(q, c);
	}
	check_phase(q, "Running");
	pod_end(q);
}

/* A failed probe ends a container of a pod whose containers are never restarted, for good. */
static void never_for_a_probe(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	const json_t *probe;
	char text[160];
	json_object_set_new(json_object_get(p->seen, "spec"), "restartPolicy", json_string("Never"));
	starts(p, c, START);
	assert_true(container_must_end(p, c, true, &probe, text, sizeof(text)));
	assert_string_equal(text, "Container main failed liveness probe");
	container_set_terminated(p, c, 0, 0, "Completed", NULL, 0, 0);
	assert_false(container_starts_anew(p, c));
	pod_end(p);
}

/* As the worker does: it looks whenever it asked to be woken. */
static void pull_sequence(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	uint64_t now = 1000 * NS_PER_S;
	struct err why = ERR_INIT;
	err_set(&why, ENOENT, "no such thing");
	assert_false(container_pull_waits(p, c, "r/x:1", now));   // the first at once
	for (size_t i = 1; i < WAITS; i++) {
		uint64_t failed = now;
		assert_int_equal(container_pull_failed(p, c, "r/x:1", &why, now), -EAGAIN);
		check_waiting(p, 0, "ErrImagePull", "no such thing");
		for (int looks = 0;; looks++) {
			assert_true(looks < 3 && p->next_wake_mono_ns > now);
			now = p->next_wake_mono_ns;
			p->next_wake_mono_ns = 0;
			if (!container_pull_waits(p, c, "r/x:1", now))
				break;
			check_waiting(p, 0, "ImagePullBackOff", "Back-off pulling image \"r/x:1\": ErrImagePull: no such thing");
		}
		assert_int_equal(now - failed, waits_s[i] * NS_PER_S);
	}
	assert_false(container_pull_waits(p, &p->containers[1], "r/y:1", now));
	pod_end(p);
}

static void pull_of_no_name(void **state)
{
	(void)state;
	struct pod *p = pod_begin();
	struct container *c = &p->containers[0];
	uint64_t now = 1000 * NS_PER_S;
	struct err why = ERR_INIT;
	err_set(&why, EINVAL, "no name");
	container_pull_failed(p, c, "A:::", &why, now);
	assert_true(container_pull_waits(p, c, "A:::", now + 5 * NS_PER_S));
	check_waiting(p, 0, "InvalidImageName", "no name");
	err_set(&why, ECANCELED, "the pod goes");             // no failure of the image
	struct backoff before = c->pull;
	assert_int_equal(container_pull_failed(p, c, "A:::", &why, now), -ECANCELED);
	assert_memory_equal(&c->pull, &before, sizeof(before));
	pod_end(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(whole_sequence), cmocka_unit_test(one_does_not_wait_for_the_other),
					   cmocka_unit_test(forgotten_after_ten_minutes), cmocka_unit_test(kept_on_disk), cmocka_unit_test(guests_clock_has_no_say),
					   cmocka_unit_test(kept_by_an_older_one), cmocka_unit_test(new_vm),
					   cmocka_unit_test(asked_for),
					   cmocka_unit_test(probe_fails), cmocka_unit_test(another_image), cmocka_unit_test(phase_meanwhile),
					   cmocka_unit_test(told_to_end), cmocka_unit_test(told_to_end_is_kept),
					   cmocka_unit_test(never_for_a_probe),
					   cmocka_unit_test(pull_sequence), cmocka_unit_test(pull_of_no_name)};
	if (!mkdtemp(dir))
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	return dir_remove(dir, NULL) ? 1 : rc;
}
