// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/jpath.h"
#include "k8s/base64.h"
#include "server/csr.h"
#include "server/test_place.h"

#define NODE_USAGES "'digital signature','client auth'"
#define SERVING_USAGES "'digital signature','server auth'"

/* A CertificateSigningRequest. orgs, sans: words with spaces between them; sans: dns:X, uri:X. */
static json_t *request(const char *signer, const char *name, const char *orgs, const char *sans, const char *usages)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crq_t crq;
	gnutls_datum_t pem;
	char text[6000], word[64];
	int n;

	gnutls_x509_privkey_init(&key);
	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crq_init(&crq);
	gnutls_x509_crq_set_version(crq, 1);
	if (*name)
		gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name));
	for (; sscanf(orgs, " %63s%n", word, &n) == 1; orgs += n)
		gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, word, (unsigned)strlen(word));
	for (; sscanf(sans, " %63s%n", word, &n) == 1; sans += n)
		gnutls_x509_crq_set_subject_alt_name(crq, strncmp(word, "uri:", 4) ? GNUTLS_SAN_DNSNAME : GNUTLS_SAN_URI, word + 4,
						     (unsigned)strlen(word + 4), GNUTLS_FSAN_APPEND);
	gnutls_x509_crq_set_key(crq, key);
	gnutls_x509_crq_sign2(crq, key, GNUTLS_DIG_SHA256, 0);
	gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, &pem);
	own_free char *encoded = base64_encode(pem.data, pem.size);
	snprintf(text, sizeof text, "{'metadata':{'name':'x'},'spec':{'signerName':'%s','usages':[%s],'request':'%s'}}", signer, usages, encoded);
	gnutls_free(pem.data);
	gnutls_x509_crq_deinit(crq);
	gnutls_x509_privkey_deinit(key);
	return test_parse(text);
}

static void signers_are_strict(void **state)
{
	static const struct { const char *signer, *name, *orgs, *sans, *usages, *says; } cases[] = {
		{ CSR_NODE_CLIENT, "system:node:a", "system:nodes", "", NODE_USAGES, NULL },
		{ CSR_NODE_CLIENT, "system:node:", "system:nodes", "", NODE_USAGES, "common name does not begin with system:node:" },
		{ CSR_NODE_CLIENT, "admin", "system:nodes", "", NODE_USAGES, "common name does not begin with system:node:" },
		{ CSR_NODE_CLIENT, "system:node:a", "", "", NODE_USAGES, "organization is not system:nodes" },
		{ CSR_NODE_CLIENT, "system:node:a", "system:nodes system:masters", "", NODE_USAGES, "organization is not system:nodes" },
		{ CSR_NODE_CLIENT, "system:node:a", "system:nodes", "dns:a", NODE_USAGES, "subjectAltNames are not allowed" },
		{ CSR_NODE_CLIENT, "system:node:a", "system:nodes", "", SERVING_USAGES, "usages did not match" },
		{ CSR_NODE_CLIENT, "system:node:a", "system:nodes", "", "'digital signature'", "usages did not match" },
		{ CSR_NODE_CLIENT, "system:node:a", "system:nodes", "", NODE_USAGES ",'cert sign'", "usages did not match" },
		{ CSR_NODE_CLIENT, "", "system:nodes", "", NODE_USAGES, "has no common name" },
		{ CSR_NODE_SERVING, "system:node:a", "system:nodes", "dns:a", SERVING_USAGES, NULL },
		{ CSR_NODE_SERVING, "system:node:a", "system:nodes", "", SERVING_USAGES, "subjectAltName is required" },
		{ CSR_NODE_SERVING, "system:node:a", "system:nodes", "dns:a uri:spiffe://a", SERVING_USAGES, "only DNS and IP" },
		{ CSR_CLIENT, "ann", "people", "", NODE_USAGES, NULL },
		{ CSR_CLIENT, "ann", "people system:masters", "", NODE_USAGES, "system:masters group is not allowed" },
		{ "example.com/other", "ann", "", "", NODE_USAGES, "is not one of this server" },
	};

	struct test_place *p = *state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *csr = request(cases[i].signer, cases[i].name, cases[i].orgs, cases[i].sans, cases[i].usages);
		struct err e = ERR_INIT;
		char *pem = NULL;
		int r = csr_sign(p->dir, csr, &pem, &e);
		if (!r == !!cases[i].says || (r && !strstr(e.text, cases[i].says)))
			fail_msg("case %zu: %d %s", i, r, e.text);
		free(pem);
		json_decref(csr);
	}
}

static void what_is_signed_says_what_was_asked(void **state)
{
	struct test_place *p = *state;
	json_t *csr = request(CSR_NODE_CLIENT, "system:node:a", "system:nodes", "", NODE_USAGES);
	gnutls_x509_crt_t crt;
	char *pem = NULL, name[64];
	size_t size = sizeof name;

	jpath_set(csr, "spec.expirationSeconds", json_integer(3600));
	assert_int_equal(csr_sign(p->dir, csr, &pem, NULL), 0);
	gnutls_datum_t d = { (unsigned char *)pem, (unsigned)strlen(pem) };
	gnutls_x509_crt_init(&crt);
	assert_int_equal(gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size), 0);
	assert_string_equal(name, "system:node:a");
	assert_in_range(gnutls_x509_crt_get_expiration_time(crt) - time(NULL), 3000, 3700);
	assert_int_equal(gnutls_x509_crt_get_ca_status(crt, NULL), 0);
	gnutls_x509_crt_deinit(crt);
	free(pem);
	json_decref(csr);
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const bad[] = { "", "!", "eA==", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==" };
	struct csr_info i;

	(void)state;
	for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
		json_t *csr = json_pack("{s:{s:s}}", "spec", "request", bad[n]);
		struct err e = ERR_INIT;
		assert_int_equal(csr_read(csr, &i, &e), -22);
		assert_string_equal(e.text, "spec.request: holds no certificate request");
		json_decref(csr);
	}
}

static void the_server_writes_down_who_asks(void **state)
{
	struct test_place *p = *state;
	const struct k8s_kind *k = k8s_kind_find("certificates.k8s.io", "v1", "certificatesigningrequests");
	struct identity *who = identity_new("ann", "7", (const char *const[]){ "people", NULL });
	json_t *csr = test_parse("{'spec':{'username':'kubernetes-admin','groups':['system:masters'],'extra':{'a':['b']},'signerName':'" CSR_CLIENT "'}}");
	json_t *s;

	assert_null(csr_admit(&p->srv, who, k, "", csr, NULL));
	assert_string_equal(jpath_str(csr, "spec.username", ""), "ann");
	assert_string_equal(jpath_str(csr, "spec.uid", ""), "7");
	assert_int_equal(json_array_size(jpath_get(csr, "spec.groups")), 2);
	assert_null(jpath_get(csr, "spec.extra"));
	s = csr_admit(&p->srv, who, k, "approval", csr, csr);      // nobody approves his own without the right
	assert_string_equal(jpath_str(s, "reason", ""), "Forbidden");
	json_decref(s);
	json_decref(csr);
	identity_free(who);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signers_are_strict), cmocka_unit_test(what_is_signed_says_what_was_asked),
		cmocka_unit_test(what_is_no_request_is_refused), cmocka_unit_test(the_server_writes_down_who_asks),
	};

	return cmocka_run_group_tests(tests, test_place_open, test_place_close);
}
