// SPDX-License-Identifier: Apache-2.0
#include "server/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "server/pki.h"

static bool allowed(const struct identity *who, const char *method, const char *uri)
{
	struct route r;
	bool ok;

	assert_int_equal(route_parse(method, uri, &r), 0);
	struct auth_ask ask = auth_ask_of(&r);
	ok = auth_allowed(NULL, who, &ask);
	route_fini(&r);
	return ok;
}

static void test_masters(void **state)
{
	struct identity *i = identity_new("a", "", (const char *const[]){ "system:masters", NULL });

	(void)state;
	assert_true(allowed(i, "DELETE", "/api/v1/namespaces/default"));
	assert_true(allowed(i, "GET", "/metrics"));
	assert_true(identity_in(i, "system:authenticated"));
	identity_free(i);
}

static void test_node(void **state)
{
	struct identity *i = identity_new("system:node:n", "", (const char *const[]){ "system:nodes", NULL });
	struct identity *named = identity_new("somebody", "", (const char *const[]){ "system:nodes", NULL });

	(void)state;
	assert_true(allowed(i, "GET", "/api/v1/pods?watch=1"));
	assert_true(allowed(i, "PATCH", "/api/v1/namespaces/a/pods/b/status"));
	assert_true(allowed(i, "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n"));
	assert_true(allowed(i, "GET", "/apis"));
	assert_false(allowed(i, "PATCH", "/api/v1/namespaces/a/pods/b"));
	assert_false(allowed(i, "POST", "/api/v1/namespaces"));
	assert_false(allowed(i, "GET", "/apis/apps/v1/deployments"));
	assert_false(allowed(i, "POST", "/api/v1/namespaces/a/pods/b/exec"));
	assert_false(allowed(named, "GET", "/api/v1/pods"));
	identity_free(i);
	identity_free(named);
}

static void test_anonymous(void **state)
{
	const struct identity *i = identity_anonymous();

	(void)state;
	assert_true(allowed(i, "GET", "/readyz"));
	assert_true(allowed(i, "GET", "/version"));
	assert_false(allowed(i, "POST", "/readyz"));
	assert_false(allowed(i, "GET", "/api"));
	assert_false(allowed(i, "GET", "/metrics"));
	assert_false(allowed(i, "GET", "/readyzx"));
	assert_false(allowed(i, "GET", "/api/v1/pods"));
}

static gnutls_x509_crt_t load(const char *dir, const char *name)
{
	gnutls_x509_crt_t c;
	struct buf b = BUF_INIT;
	gnutls_datum_t d;
	char path[256];

	snprintf(path, sizeof path, "%s/pki/%s.crt", dir, name);
	assert_int_equal(file_read(path, 65536, &b, NULL), 0);
	d = (gnutls_datum_t){ (unsigned char *)b.data, b.len };
	gnutls_x509_crt_init(&c);
	assert_int_equal(gnutls_x509_crt_import(c, &d, GNUTLS_X509_FMT_PEM), 0);
	buf_fini(&b);
	return c;
}

/* What pki makes is what auth reads; made again only when it must be. */
static void test_certificates(void **state)
{
	struct pki_cert node = { "node", "system:node:a", "system:nodes", { NULL } };
	struct pki_cert serving = { "serving", "system:node:a", "system:nodes", { "a", "10.0.0.1", NULL } };
	char dir[] = "/tmp/bulkhead-auth-XXXXXX";
	gnutls_x509_crt_t c, again;
	struct identity *i;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(pki_ensure_ca(dir, NULL), 0);
	assert_int_equal(pki_ensure_cert(dir, &node, NULL), 0);
	assert_int_equal(pki_ensure_cert(dir, &serving, NULL), 0);
	c = load(dir, "node");
	i = identity_from_certificate(c);
	assert_string_equal(i->name, "system:node:a");
	assert_true(identity_in(i, "system:nodes"));
	identity_free(i);
	assert_int_equal(pki_ensure_cert(dir, &node, NULL), 0);
	again = load(dir, "node");
	assert_true(gnutls_x509_crt_equals(c, again));
	gnutls_x509_crt_deinit(again);
	gnutls_x509_crt_deinit(c);

	c = load(dir, "serving");
	assert_true(gnutls_x509_crt_check_hostname(c, "10.0.0.1"));
	serving.sans[2] = "10.0.0.2";   // a new address: a new certificate
	assert_int_equal(pki_ensure_cert(dir, &serving, NULL), 0);
	again = load(dir, "serving");
	assert_false(gnutls_x509_crt_equals(c, again));
	assert_true(gnutls_x509_crt_check_hostname(again, "10.0.0.2"));
	gnutls_x509_crt_deinit(again);
	gnutls_x509_crt_deinit(c);
	dir_remove(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_masters), cmocka_unit_test(test_node), cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
