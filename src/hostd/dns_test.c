// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "base/own.h"
#include "dns_zone.h"

static const char services[] =
	"[{\"metadata\":{\"namespace\":\"default\",\"name\":\"web\"},\"spec\":{\"clusterIP\":\"10.128.0.9\",\"ports\":[{\"name\":\"http\",\"port\":80}]}},"
	"{\"metadata\":{\"namespace\":\"default\",\"name\":\"db\"},\"spec\":{\"clusterIP\":\"None\",\"ports\":[{\"name\":\"sql\",\"port\":5432}]}},"
	"{\"metadata\":{\"namespace\":\"default\",\"name\":\"out\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"example.org\"}},"
	"{\"metadata\":{\"namespace\":\"default\",\"name\":\"in\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"web.default.svc.cluster.local\"}}]";
static const char slices[] =
	"[{\"metadata\":{\"namespace\":\"default\",\"labels\":{\"kubernetes.io/service-name\":\"db\"}},\"addressType\":\"IPv4\","
	"\"ports\":[{\"name\":\"sql\",\"port\":5433,\"protocol\":\"TCP\"}],\"endpoints\":[{\"addresses\":[\"10.88.0.5\"],\"hostname\":\"db-0\"},"
	"{\"addresses\":[\"10.88.0.6\"],\"hostname\":\"db-1\"},{\"addresses\":[\"10.88.0.7\"]}]}]";

static struct service_model *model;

static int setup(void **state)
{
	own_json json_t *s = json_loads(services, 0, NULL), *e = json_loads(slices, 0, NULL);
	(void)state;
	model = service_model_new(s, e, "here");
	return model ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	service_model_free(model);
	return 0;
}

struct reply { uint8_t data[1232]; size_t len; enum dns_result result; char target[DNS_NAME_MAX]; unsigned code, answers, authority; bool cut; };

static struct reply ask(const char *name, uint16_t type, size_t max)
{
	uint8_t msg[512];
	struct reply r = {0};
	struct dns_question q;
	struct dns_answer a;
	size_t len = dns_ask(msg, sizeof(msg), 77, name, type);
	assert_true(len > 0);
	assert_int_equal(dns_question_read(msg, len, &q), 0);
	dns_answer_start(&a, r.data, max, msg, &q);
	r.result = dns_zone_answer(model, "cluster.local", &q, &a, r.target);
	r.len = a.len;
	r.code = r.data[3] & 15;
	r.answers = r.data[7];
	r.authority = r.data[9];
	r.cut = r.data[2] & 2;
	return r;
}

static bool holds(const struct reply *r, const void *what, size_t len)
{
	return memmem(r->data, r->len, what, len) != NULL;
}

static void services_have_addresses(void **state)
{
	struct reply r = ask("WEB.default.svc.cluster.LOCAL", DNS_A, 512);
	(void)state;
	assert_int_equal(r.code, DNS_OK);
	assert_int_equal(r.answers, 1);
	assert_true(holds(&r, "\x0a\x80\x00\x09", 4));
	r = ask("web.default.svc.cluster.local", DNS_AAAA, 512);
	assert_int_equal(r.code, DNS_OK);
	assert_int_equal(r.answers, 0);
	assert_int_equal(r.authority, 1);
}

static void headless_services_have_members(void **state)
{
	struct reply r = ask("db.default.svc.cluster.local", DNS_A, 512);
	(void)state;
	assert_int_equal(r.answers, 3);
	r = ask("db-1.db.default.svc.cluster.local", DNS_A, 512);
	assert_int_equal(r.answers, 1);
	assert_true(holds(&r, "\x0a\x58\x00\x06", 4));
	r = ask("10-88-0-7.db.default.svc.cluster.local", DNS_A, 512);
	assert_int_equal(r.answers, 1);
	r = ask("_sql._tcp.db.default.svc.cluster.local", DNS_SRV, 512);
	assert_int_equal(r.answers, 3);
	assert_true(holds(&r, "\x00\x64\x15\x39\x04" "db-0", 9));
	r = ask("_sql._tcp.db.default.svc.cluster.local", DNS_SRV, 120);
	assert_true(r.cut);
}

static void names_that_are_not_there(void **state)
{
	static const char *const none[] = {"web.other.svc.cluster.local", "nothing.default.svc.cluster.local", "x.web.default.svc.cluster.local",
					   "a.b.c.d.e.f.svc.cluster.local", "google.com.default.svc.cluster.local", "google.com.cluster.local",
					   "_http._udp.web.default.svc.cluster.local", "10-88-0-9.db.default.svc.cluster.local", NULL};
	(void)state;
	for (int i = 0; none[i]; i++) {
		struct reply r = ask(none[i], DNS_A, 512);
		assert_int_equal(r.result, DNS_ANSWERED);
		assert_int_equal(r.code, DNS_NO_NAME);
		assert_int_equal(r.authority, 1);
	}
	assert_int_equal(ask("default.svc.cluster.local", DNS_A, 512).code, DNS_OK);
	assert_int_equal(ask("example.org", DNS_A, 512).result, DNS_NOT_OURS);
	assert_int_equal(ask("notcluster.local", DNS_A, 512).result, DNS_NOT_OURS);
	assert_int_equal(ask("1.2.3.4.in-addr.arpa", DNS_PTR, 512).result, DNS_NOT_OURS);
}

static void addresses_have_names(void **state)
{
	struct reply r = ask("9.0.128.10.in-addr.arpa", DNS_PTR, 512);
	(void)state;
	assert_int_equal(r.answers, 1);
	assert_true(holds(&r, "\x03web\x07" "default", 12));
	r = ask("6.0.88.10.in-addr.arpa", DNS_PTR, 512);
	assert_true(holds(&r, "\x04" "db-1", 5));
	r = ask("10-88-0-200.default.pod.cluster.local", DNS_A, 512);
	assert_true(holds(&r, "\x0a\x58\x00\xc8", 4));
}

static void external_names_lead_on(void **state)
{
	struct reply r = ask("out.default.svc.cluster.local", DNS_A, 512);
	(void)state;
	assert_int_equal(r.result, DNS_ELSEWHERE);
	assert_string_equal(r.target, "example.org");
	r = ask("in.default.svc.cluster.local", DNS_A, 512);
	assert_int_equal(r.result, DNS_ANSWERED);
	assert_int_equal(r.answers, 2);
	assert_true(holds(&r, "\x0a\x80\x00\x09", 4));
}

static void bad_messages_are_not_answered_or_refused(void **state)
{
	uint8_t msg[512] = {0};
	struct dns_question q;
	size_t len = dns_ask(msg, sizeof(msg), 1, "a.b", DNS_A);
	(void)state;
	assert_int_equal(dns_question_read(msg, 11, &q), -EINVAL);
	for (size_t n = 12; n < len; n++)
		assert_int_equal(dns_question_read(msg, n, &q), -EPROTO);
	msg[2] |= 0x80;
	assert_int_equal(dns_question_read(msg, len, &q), -EINVAL);   // an answer
	msg[2] = 0x28;
	assert_int_equal(dns_question_read(msg, len, &q), -ENOTSUP);
	msg[2] = 1;
	msg[12] = 0xc0, msg[13] = 12;                                  // points at itself
	assert_int_equal(dns_question_read(msg, len, &q), -EPROTO);
	assert_int_equal(dns_ask(msg, sizeof(msg), 1, "a..b", DNS_A), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_have_addresses),
		cmocka_unit_test(headless_services_have_members),
		cmocka_unit_test(names_that_are_not_there),
		cmocka_unit_test(addresses_have_names),
		cmocka_unit_test(external_names_lead_on),
		cmocka_unit_test(bad_messages_are_not_answered_or_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
