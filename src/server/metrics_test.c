// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <microhttpd.h>
#include <netinet/in.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "k8s/quantity.h"
#include "server/metrics.h"
#include "server/test_place.h"

/* A node's kubelet: half a processor and 64 MiB, of one pod, whose VM has 5 MiB compressed; one in an ordinary kubelet's words; another without
 * a container says nothing. */
static enum MHD_Result summary(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
			       const char *data, size_t *len, void **context)
{
	char text[2048];
	struct MHD_Response *m;
	enum MHD_Result r;
	unsigned long long used = clock_mono_ns() / 2;

	(void)cls, (void)method, (void)version, (void)data, (void)len, (void)context;
	snprintf(text, sizeof text, "{\"node\":{\"cpu\":{\"usageCoreNanoSeconds\":%llu},\"memory\":{\"workingSetBytes\":1048576}},\"pods\":[{"
		 "\"podRef\":{\"namespace\":\"ns\",\"name\":\"p\"},\"containers\":[{\"name\":\"c\",\"cpu\":{\"usageCoreNanoSeconds\":%llu},"
		 "\"memory\":{\"workingSetBytes\":67108864},\"swap\":{\"swapUsageBytes\":5242880}}],\"bulkheadMemory\":{\"residentBytes\":104857600,"
		 "\"sharedBytes\":2097152,\"compressedBytes\":5242880,\"balloonedBytes\":-7}},{\"podRef\":{\"namespace\":\"ns\",\"name\":\"q\"},"
		 "\"containers\":[{\"name\":\"c\",\"cpu\":{\"usageCoreNanoSeconds\":1},\"memory\":{\"workingSetBytes\":1024}}]},"
		 "{\"podRef\":{\"namespace\":\"ns\",\"name\":\"r\"},\"containers\":[{\"name\":\"c\",\"cpu\":{\"usageCoreNanoSeconds\":1},"
		 "\"memory\":{\"workingSetBytes\":1024}}],\"bulkheadMemory\":{\"residentBytes\":1048576}},"
		 "{\"podRef\":{\"namespace\":\"ns\",\"name\":\"empty\"},\"containers\":[]}]}", used, used);
	m = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
	r = MHD_queue_response(conn, strcmp(url, "/stats/summary") ? 404 : 200, m);
	MHD_destroy_response(m);
	return r;
}

static json_t *wait_known(struct metrics *m, int seconds)
{
	json_t *known = NULL;

	for (int i = 0; i < seconds * 20 && !(known = metrics_recent(m)); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	return known;
}

static void differences_of_readings(void **state)
{
	struct test_place *p = *state;
	const struct pki_cert serving = { "node-serving", "system:node:n", "system:nodes", { "127.0.0.1" } };
	const struct pki_cert client = { "kubelet-client", "kube-apiserver-kubelet-client", "system:masters", { NULL } };
	own_buf struct buf cert = BUF_INIT, key = BUF_INIT;
	const struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char path[128], node[400];
	struct metrics *m;

	assert_int_equal(pki_ensure_cert(p->dir, &serving, NULL) | pki_ensure_cert(p->dir, &client, NULL), 0);
	snprintf(path, sizeof path, "%s/pki/node-serving.crt", p->dir);
	assert_int_equal(file_read(path, 1 << 20, &cert, NULL), 0);
	snprintf(path, sizeof path, "%s/pki/node-serving.key", p->dir);
	assert_int_equal(file_read(path, 1 << 20, &key, NULL), 0);
	struct MHD_Daemon *kubelet = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS, 0, NULL, NULL, summary, NULL,
						      MHD_OPTION_SOCK_ADDR, &local, MHD_OPTION_HTTPS_MEM_KEY, key.data, MHD_OPTION_HTTPS_MEM_CERT, cert.data, MHD_OPTION_END);
	assert_non_null(kubelet);
	snprintf(node, sizeof node, "{'metadata':{'name':'n'},'status':{'addresses':[{'type':'InternalIP','address':'127.0.0.1'}],"
		 "'daemonEndpoints':{'kubeletEndpoint':{'Port':%u}}}}", MHD_get_daemon_info(kubelet, MHD_DAEMON_INFO_BIND_PORT)->port);
	test_make(p, "", "nodes", "", node);
	assert_int_equal(metrics_start(&p->srv, &m, NULL), 0);
	assert_null(metrics_recent(m));                     // asks for them
	own_json json_t *known = wait_known(m, 60);
	assert_non_null(known);
	const json_t *pod = json_object_get(json_object_get(known, "pods"), "ns/p");
	const json_t *used = json_object_get(json_array_get(json_object_get(pod, "containers"), 0), "usage");
	assert_in_range(k8s_quantity_milli(json_object_get(used, "cpu"), 0), 200, 1200);   // the machine may be busy
	assert_string_equal(jpath_str(used, "memory", ""), "65536Ki");
	assert_true(strtod(jpath_str(pod, "window", ""), NULL) > 1.0);
	assert_null(json_object_get(json_object_get(known, "pods"), "ns/empty"));
	assert_string_equal(jpath_str(used, "swap", ""), "5120Ki");
	const json_t *vm = json_object_get(pod, "annotations");
	assert_string_equal(json_string_value(json_object_get(vm, "bulkhead.dev/resident")), "102400Ki");
	assert_string_equal(json_string_value(json_object_get(vm, "bulkhead.dev/shared")), "2048Ki");
	assert_string_equal(json_string_value(json_object_get(vm, "bulkhead.dev/compressed")), "5120Ki");
	assert_string_equal(json_string_value(json_object_get(vm, "bulkhead.dev/ballooned")), "0Ki");   // nonsense counts as nothing
	const json_t *plain = json_object_get(json_object_get(known, "pods"), "ns/q");
	assert_non_null(plain);
	assert_null(json_object_get(plain, "annotations"));
	assert_null(jpath_get(json_array_get(json_object_get(plain, "containers"), 0), "usage.swap"));
	const json_t *whole = json_object_get(json_object_get(known, "nodes"), "n");
	assert_non_null(whole);
	assert_string_equal(json_string_value(json_object_get(json_object_get(whole, "annotations"), "bulkhead.dev/resident")), "103424Ki");
	metrics_stop(m);
	metrics_free(m);
	MHD_stop_daemon(kubelet);
}

static void a_node_that_does_not_answer(void **state)
{
	struct test_place *p = *state;
	struct metrics *m;

	test_make(p, "", "nodes", "", "{'metadata':{'name':'silent'},'status':{'addresses':[{'type':'InternalIP','address':'127.0.0.1'}],"
		  "'daemonEndpoints':{'kubeletEndpoint':{'Port':1}}}}");
	test_make(p, "", "nodes", "", "{'metadata':{'name':'nowhere'}}");
	assert_int_equal(metrics_start(&p->srv, &m, NULL), 0);
	assert_null(metrics_recent(m));
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	assert_null(metrics_recent(m));
	metrics_stop(m);                                    // does not hang
	metrics_free(m);
	metrics_stop(NULL);
	metrics_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(differences_of_readings, test_place_open, test_place_close),
		cmocka_unit_test_setup_teardown(a_node_that_does_not_answer, test_place_open, test_place_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
