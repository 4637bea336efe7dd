// SPDX-License-Identifier: Apache-2.0
// What a pod's spec and containers become: OCI configuration, phase, status, and state that survives a restart.
#include "pod.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/jpath.h"
#include "pagerd/proto/pager_msg.h"
#include "pod_containers.h"
#include "pods.h"
#include "pods_evict.h"

static char dir[] = "/tmp/bh-pod-test-XXXXXX";
static const struct host host = {.node_addr = "127.0.0.1", .cluster_domain = "cluster.local"};

static struct pod *pod_of(const char *spec)
{
	struct pod *p = calloc(1, sizeof(*p));
	json_t *s = json_loads(spec, 0, NULL);
	assert_non_null(s);
	p->host = &host;
	p->obj = json_pack("{s:{s:s, s:s, s:s, s:{s:s}}, s:o}", "metadata", "name", "p", "namespace", "ns", "uid", "u-1", "labels", "app",
			   "web", "spec", s);
	p->seen = json_incref(p->obj);
	p->dir = strdup(dir);
	strcpy(p->name, "p"), strcpy(p->ns, "ns"), strcpy(p->uid, "u-1"), strcpy(p->phase, "Pending");
	strcpy(p->host_ip, "127.0.0.1"), strcpy(p->pod_ip, "10.0.0.9");
	pthread_mutex_init(&p->lock, NULL);
	assert_int_equal(pod_containers_load(p), 0);
	return p;
}

static void pod_end(struct pod *p)
{
	for (size_t i = 0; i < p->containers_count; i++) {
		json_decref(p->containers[i].image_config);
		json_decref(p->containers[i].last_state);
		free(p->containers[i].image_id), free(p->containers[i].image_ref), free(p->containers[i].image_asked);
		free(p->containers[i].message), free(p->containers[i].waiting_message);
	}
	free(p->containers);
	pod_claims_free(p);
	json_decref(p->obj);
	json_decref(p->seen);
	json_decref(p->reported);
	json_decref(p->remembered);
	json_decref(p->kept_spec);
	free(p->message);
	free(p->dir);
	free(p);
}

static json_t *config_of(const char *container, const char *image)
{
	char spec[2048];
	snprintf(spec, sizeof(spec), "{\"containers\":[%s]}", container);
	struct pod *p = pod_of(spec);
	struct err e = ERR_INIT;
	json_t *out = NULL;
	p->containers[0].image_config = json_loads(image, 0, NULL);
	int rc = oci_config(p, &p->containers[0], container_spec(p, &p->containers[0]), &out, &e);
	if (rc)
		out = json_pack("{s:s}", "error", e.text);
	pod_end(p);
	return out;
}

static void check_args(const char *container, const char *image, const char *want)
{
	json_t *c = config_of(container, image);
	char *got = json_dumps(jpath_get(c, "process.args"), JSON_COMPACT);
	assert_string_equal(got ? got : jpath_str(c, "error", "?"), want);
	free(got);
	json_decref(c);
}

static void test_command_and_args(void **state)
{
	(void)state;
	const char *image = "{\"config\":{\"Entrypoint\":[\"/entry\"],\"Cmd\":[\"a\",\"$(X)\"]}}";
	check_args("{\"name\":\"c\"}", image, "[\"/entry\",\"a\",\"$(X)\"]");
	check_args("{\"name\":\"c\",\"args\":[\"b\"]}", image, "[\"/entry\",\"b\"]");
	check_args("{\"name\":\"c\",\"command\":[\"sh\"]}", image, "[\"sh\"]");
	check_args("{\"name\":\"c\",\"command\":[\"sh\"],\"args\":[\"$(X)\",\"$$(X)\"],\"env\":[{\"name\":\"X\",\"value\":\"v\"}]}", image,
		   "[\"sh\",\"v\",\"$(X)\"]");
	check_args("{\"name\":\"c\"}", "{}", "failed to generate container \"c\" spec: no command specified");
}

static bool has(const json_t *list, const char *text)
{
	size_t i;
	json_t *v;
	json_array_foreach((json_t *)list, i, v)
		if (!strcmp(json_string_value(v), text))
			return true;
	return false;
}

static void test_environment(void **state)
{
	(void)state;
	json_t *c = config_of("{\"name\":\"c\",\"command\":[\"x\"],\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"$(A)2\"},"
			      "{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
			      "{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app']\"}}},"
			      "{\"name\":\"M\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}}}],"
			      "\"resources\":{\"limits\":{\"memory\":\"64Mi\"}}}", "{\"config\":{\"Env\":[\"A=0\",\"PATH=/only\"]}}");
	json_t *env = jpath_get(c, "process.env");
	static const char *const want[] = {"A=1", "B=12", "IP=10.0.0.9", "L=web", "M=64", "PATH=/only"};
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_true(has(env, want[i]));
	assert_int_equal(jpath_int(c, "linux.resources.memory.limit", 0), 64 << 20);
	json_decref(c);
}

static void test_security(void **state)
{
	(void)state;
	json_t *c = config_of("{\"name\":\"c\",\"command\":[\"x\"],\"securityContext\":{\"capabilities\":{\"add\":[\"NET_ADMIN\"],\"drop\":"
			      "[\"ALL\"]},\"readOnlyRootFilesystem\":true,\"allowPrivilegeEscalation\":false}}", "{}");
	json_t *caps = jpath_get(c, "process.capabilities.bounding");
	assert_int_equal(json_array_size(caps), 1);
	assert_true(has(caps, "CAP_NET_ADMIN"));
	assert_true(jpath_bool(c, "root.readonly", false));
	assert_true(jpath_bool(c, "process.noNewPrivileges", false));
	json_decref(c);
	c = config_of("{\"name\":\"c\",\"command\":[\"x\"],\"securityContext\":{\"privileged\":true}}", "{}");
	assert_true(has(jpath_get(c, "process.capabilities.effective"), "CAP_SYS_ADMIN"));
	assert_null(jpath_get(c, "linux.maskedPaths"));
	json_decref(c);
}

static void set_phase(struct pod *p, size_t i, enum container_phase phase, int exit_code)
{
	p->containers[i].phase = phase;
	p->containers[i].exit_code = exit_code;
	p->containers[i].ready = phase == CONTAINER_RUNNING;
}

static void check_phase(struct pod *p, const char *want)
{
	strcpy(p->phase, "Pending");
	pod_phase_update(p);
	assert_string_equal(p->phase, want);
}

static void test_phase(void **state)
{
	(void)state;
	struct pod *p = pod_of("{\"restartPolicy\":\"OnFailure\",\"initContainers\":[{\"name\":\"i\"}],\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}");
	check_phase(p, "Pending");
	set_phase(p, 0, CONTAINER_TERMINATED, 0);
	set_phase(p, 1, CONTAINER_RUNNING, 0);
	check_phase(p, "Pending");                     // b waits
	set_phase(p, 2, CONTAINER_RUNNING, 0);
	check_phase(p, "Running");
	set_phase(p, 1, CONTAINER_TERMINATED, 0);
	check_phase(p, "Running");
	set_phase(p, 2, CONTAINER_TERMINATED, 1);
	check_phase(p, "Running");                     // b will be restarted
	set_phase(p, 2, CONTAINER_TERMINATED, 0);
	check_phase(p, "Succeeded");
	pod_end(p);
	p = pod_of("{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"a\"}]}");
	set_phase(p, 0, CONTAINER_TERMINATED, 3);
	check_phase(p, "Failed");
	pod_end(p);
	p = pod_of("{\"containers\":[{\"name\":\"a\"}]}");
	set_phase(p, 0, CONTAINER_TERMINATED, 0);
	check_phase(p, "Running");                     // Always
	pod_end(p);
}

static const char *condition_of(const json_t *status, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach(json_object_get(status, "conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), type))
			return jpath_str(c, "status", "?");
	return "absent";
}

static void test_status(void **state)
{
	(void)state;
	struct pod *p = pod_of("{\"containers\":[{\"name\":\"a\",\"image\":\"x\"}]}");
	strcpy(p->containers[0].waiting_reason, "ContainerCreating");
	json_t *s = pod_status(p);
	assert_string_equal(condition_of(s, "Ready"), "False");
	assert_string_equal(jpath_str(json_array_get(json_object_get(s, "containerStatuses"), 0), "state.waiting.reason", ""), "ContainerCreating");
	json_decref(s);
	set_phase(p, 0, CONTAINER_RUNNING, 0);
	pod_phase_update(p);
	s = pod_status(p);
	assert_string_equal(condition_of(s, "Ready"), "True");
	assert_string_equal(condition_of(s, "Initialized"), "True");
	assert_string_equal(jpath_str(s, "podIP", ""), "10.0.0.9");
	json_decref(s);
	pod_end(p);
}

/* At the deadline an agent is asked only for sidecars that have not been told yet: this one is none, asking it would crash. */
static void test_stopped_late(void **state)
{
	(void)state;
	static const char spec[] = "{\"containers\":[{\"name\":\"a\",\"image\":\"x\"},{\"name\":\"b\",\"image\":\"x\"}],"
				   "\"initContainers\":[{\"name\":\"s\",\"image\":\"x\",\"restartPolicy\":\"Always\"}]}";
	struct pod *p = pod_of(spec);
	assert_int_equal(p->containers_count, 3);
	for (size_t i = 0; i < 3; i++)
		set_phase(p, i, CONTAINER_RUNNING, 0);
	assert_false(pod_containers_stop_late(p));              // no agent at all
	p->agent = (struct agent_client *)1;
	for (size_t i = 0; i < 3; i++)
		p->containers[i].stop_sent = p->containers[i].kind == CONTAINER_SIDECAR;
	assert_false(pod_containers_stop_late(p));
	for (size_t i = 0; i < 3; i++)
		if (p->containers[i].kind == CONTAINER_SIDECAR) {
			p->containers[i].stop_sent = false;
			set_phase(p, i, CONTAINER_TERMINATED, 0);
		}
	assert_false(pod_containers_stop_late(p));
	p->agent = NULL;
	pod_end(p);
}

static void test_fault_latency(void **state)
{
	(void)state;
	struct pager_stats s = {.latency_ns = {[13] = 4, [31] = 2}};
	json_t *got = pods_fault_latency(&s), *want = json_pack("[{s:i, s:i}, {s:i}]", "belowNs", 16384, "faults", 4, "faults", 2);
	assert_true(json_equal(got, want));
	json_decref(got);
	json_decref(want);
}

static void test_state_survives(void **state)
{
	(void)state;
	struct pod *p = pod_of("{\"containers\":[{\"name\":\"a\",\"image\":\"x\"}]}"), *q;
	struct container *c = &p->containers[0];
	char id[24];
	c->restart_count = 7;
	c->used = c->created = true;
	c->image_id = strdup("sha256:1");
	c->last_state = json_pack("{s:{s:i}}", "terminated", "exitCode", 4);
	set_phase(p, 0, CONTAINER_RUNNING, 0);
	strcpy(p->phase, "Running");
	p->vm_number = 5;
	assert_string_equal(container_id(c, id), "a0-7");
	assert_int_equal(pod_state_save(p, NULL), 0);
	q = calloc(1, sizeof(*q));
	q->dir = strdup(dir);
	pthread_mutex_init(&q->lock, NULL);
	assert_int_equal(pod_state_load(q), 0);
	assert_int_equal(q->containers_count, 1);
	assert_int_equal(q->containers[0].restart_count, 7);
	assert_int_equal(q->containers[0].phase, CONTAINER_RUNNING);
	assert_true(q->containers[0].used && q->containers[0].created);
	assert_int_equal(jpath_int(q->containers[0].last_state, "terminated.exitCode", 0), 4);
	assert_int_equal(q->vm_number, 5);
	assert_string_equal(q->phase, "Running");
	pod_end(q);
	/* What cannot be read counts as not there. */
	char path[64];
	snprintf(path, sizeof(path), "%s/state.json", dir);
	assert_int_equal(file_replace(path, "{\"version\":1,", 13, 0600, NULL), 0);
	q = calloc(1, sizeof(*q));
	q->dir = strdup(dir);
	assert_int_equal(pod_state_load(q), -ENOENT);
	pod_end(q);
	pod_end(p);
}

#define TWO "\"containers\":[{\"name\":\"a\",\"resources\":{\"limits\":{\"memory\":\"64Mi\",\"cpu\":\"100m\"},\"requests\":{\"memory\":\"32Mi\"}}}," \
	    "{\"name\":\"b\"}]"

/* The limits of the pod as a whole are the VM's size, and those of a container that has none. */
static void test_whole_limits(void **state)
{
	(void)state;
	struct vm_paging w = {0};
	struct pod *parts = pod_of("{" TWO "}"), *whole = pod_of("{\"resources\":{\"limits\":{\"memory\":\"256Mi\",\"cpu\":\"900m\"},"
								 "\"requests\":{\"memory\":\"100Mi\"}}," TWO "}");
	struct pod *as_much = pod_of("{\"containers\":[{\"name\":\"a\",\"resources\":{\"limits\":{\"memory\":\"256Mi\"}}}]}");
	assert_true(pod_memory_mib(parts) > pod_memory_mib(whole));   // b may take what a pod has that does not say
	assert_int_equal(pod_memory_mib(whole), pod_memory_mib(as_much));
	assert_int_equal(pod_vcpus(whole), 1);
	json_t *a = oci_resources(whole, container_spec(whole, &whole->containers[0])), *b = oci_resources(whole, container_spec(whole, &whole->containers[1]));
	assert_int_equal(jpath_int(a, "memory.limit", 0), 64 << 20);
	assert_int_equal(jpath_int(a, "cpu.quota", 0), 10000);
	assert_int_equal(jpath_int(b, "memory.limit", 0), 256 << 20);
	assert_int_equal(jpath_int(b, "cpu.quota", 0), 90000);
	json_decref(a);
	json_decref(b);
	b = oci_resources(parts, container_spec(parts, &parts->containers[1]));
	assert_null(json_object_get(b, "memory"));
	json_decref(b);
	pod_weigh(whole->seen, 512 << 20, &w);
	assert_int_equal(w.reserve_bytes, (uint64_t)(100 + POD_MEMORY_OVERHEAD_MIB) << 20);
	pod_end(parts), pod_end(whole), pod_end(as_much);
}

static char *image_on_disk(void)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/pod.json", dir);
	json_t *j = json_load_file(path, 0, NULL);
	char *image = strdup(jpath_str(json_array_get(jpath_get(j, "spec.containers"), 0), "image", "none"));
	json_decref(j);
	return image;
}

/* pod.json follows the spec: a new hostd must not change back what has changed. */
static void test_spec_is_kept(void **state)
{
	(void)state;
	struct pod *p = pod_of("{\"containers\":[{\"name\":\"a\",\"image\":\"x\"}]}");
	assert_int_equal(pod_state_save(p, NULL), 0);
	char *before = image_on_disk();
	json_decref(p->seen);
	p->seen = json_deep_copy(p->obj);
	json_object_set_new(json_array_get(jpath_get(p->seen, "spec.containers"), 0), "image", json_string("y"));
	assert_int_equal(pod_object_save(p, NULL), 0);
	char *after = image_on_disk();
	assert_string_equal(before, "x");
	assert_string_equal(after, "y");
	free(before);
	free(after);
	pod_end(p);
}

static void forget_asked(void)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/state.json", dir);
	json_t *j = json_load_file(path, 0, NULL), *c;
	size_t i;
	json_array_foreach(json_object_get(j, "containers"), i, c)
		json_object_del(c, "imageAsked");
	assert_int_equal(json_dump_file(j, path, 0), 0);
	json_decref(j);
}

/* A hostd of old did not note it: what changes while the new one starts is seen all the same. */
static void test_image_asked_of_old(void **state)
{
	(void)state;
	const char *before = "{\"containers\":[{\"name\":\"a\",\"image\":\"x\"},{\"name\":\"b\",\"image\":\"y\"},{\"name\":\"c\",\"image\":\"z\"}]}";
	const char *after = "{\"containers\":[{\"name\":\"a\",\"image\":\"x2\"},{\"name\":\"b\",\"image\":\"y\"},{\"name\":\"c\",\"image\":\"z\"}]}";
	struct pod *p = pod_of(before), *q = pod_of(after);
	for (size_t i = 0; i < 2; i++) {
		p->containers[i].image_id = strdup("sha256:1");
		p->containers[i].image_ref = strdup("docker.io/library/x:latest");
	}
	assert_int_equal(pod_state_save(p, NULL), 0);
	forget_asked();
	free(q->containers);
	q->containers = NULL, q->containers_count = 0;
	assert_int_equal(pod_state_load(q), 0);
	assert_string_equal(q->containers[0].image_asked, "x");
	assert_string_equal(q->containers[1].image_asked, "y");
	assert_null(q->containers[2].image_asked);            // nobody has looked for it yet
	assert_true(pod_image_changed(q, &q->containers[0]));
	assert_false(pod_image_changed(q, &q->containers[1]));
	pod_end(p);
	pod_end(q);
	/* No object: what it was found by is the best that is known. */
	char path[64];
	snprintf(path, sizeof(path), "%s/pod.json", dir);
	assert_int_equal(unlink(path), 0);
	q = pod_of(after);
	free(q->containers);
	q->containers = NULL, q->containers_count = 0;
	assert_int_equal(pod_state_load(q), 0);
	assert_string_equal(q->containers[0].image_asked, "docker.io/library/x:latest");
	pod_end(q);
}

static void test_evict_order(void **state)
{
	(void)state;
	/* Each goes before all that follow. */
	static const struct evict_rank memory[] = {{.class_ = 0, .takes = 9}, {.class_ = 0, .takes = 8}, {.class_ = 0, .priority = 1, .takes = 10},
						   {.class_ = 1, .priority = -1, .takes = 99}, {.class_ = 2}};
	static const struct evict_rank disk[] = {{.priority = -5, .takes = 1}, {.takes = 7}, {.takes = 6}, {.priority = 3, .takes = 100},
						 {.modest = true, .priority = -9}, {.modest = true}};
	for (size_t i = 0; i < 5; i++)
		for (size_t k = i + 1; k < 5; k++)
			assert_true(pods_evict_before(&memory[i], &memory[k]) && !pods_evict_before(&memory[k], &memory[i]));
	for (size_t i = 0; i < 6; i++)
		for (size_t k = i + 1; k < 6; k++)
			assert_true(pods_evict_before(&disk[i], &disk[k]) && !pods_evict_before(&disk[k], &disk[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_evict_order), cmocka_unit_test(test_command_and_args), cmocka_unit_test(test_environment),
					   cmocka_unit_test(test_security), cmocka_unit_test(test_phase), cmocka_unit_test(test_status), cmocka_unit_test(test_stopped_late), cmocka_unit_test(test_fault_latency),
					   cmocka_unit_test(test_state_survives), cmocka_unit_test(test_spec_is_kept), cmocka_unit_test(test_image_asked_of_old), cmocka_unit_test(test_whole_limits)};
	if (!mkdtemp(dir))
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	return dir_remove(dir, NULL) ? 1 : rc;
}
