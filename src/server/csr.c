// SPDX-License-Identifier: Apache-2.0
#include "server/csr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "server/auth.h"
#include "server/meta.h"
#include "server/status.h"

#define NODE_USER "system:node:"
#define NODE_GROUP "system:nodes"
#define YEAR_S (365 * 86400)
#define SANS_MAX 64
#define GROUPS_MAX 64

static void own_crq_(gnutls_x509_crq_t *c) { if (*c) gnutls_x509_crq_deinit(*c); }
static void own_crt_(gnutls_x509_crt_t *c) { if (*c) gnutls_x509_crt_deinit(*c); }
static void own_key_(gnutls_x509_privkey_t *k) { if (*k) gnutls_x509_privkey_deinit(*k); }
#define own_crq __attribute__((cleanup(own_crq_)))
#define own_crt __attribute__((cleanup(own_crt_)))
#define own_key __attribute__((cleanup(own_key_)))

static bool is_csr(const struct k8s_kind *k)
{
	return !strcmp(k->plural, "certificatesigningrequests") && !strcmp(k->group, "certificates.k8s.io");
}

/* --- who --- */

static void set_requestor(json_t *obj, const struct identity *who)
{
	json_t *spec = json_object_get(obj, "spec"), *groups = json_array(), *v;
	const char *key;

	for (size_t i = 0; i < who->group_count; i++)
		json_array_append_new(groups, json_string(who->groups[i]));
	json_object_set_new(spec, "username", json_string(who->name));
	json_object_set_new(spec, "groups", groups);
	json_object_del(spec, "uid");
	json_object_del(spec, "extra");
	if (*who->uid)
		json_object_set_new(spec, "uid", json_string(who->uid));
	json_object_foreach(who->extra, key, v) {
		if (!json_object_get(spec, "extra"))
			json_object_set_new(spec, "extra", json_object());
		json_object_set(json_object_get(spec, "extra"), key, v);
	}
}

/* "approve" or "sign" for this signer, or for all of its domain. */
static json_t *check_signer(struct server *srv, const struct identity *who, const struct k8s_kind *k, const json_t *obj, const char *verb)
{
	const char *signer = jpath_str(obj, "spec.signerName", "");
	char all[300], why[512];
	struct auth_ask ask = { .verb = verb, .group = k->group, .resource = "signers", .subresource = "", .ns = "", .name = signer };

	if (!who || auth_allowed(srv, who, &ask))
		return NULL;
	snprintf(all, sizeof all, "%.*s/*", (int)strcspn(signer, "/") > 280 ? 280 : (int)strcspn(signer, "/"), signer);
	ask.name = all;
	if (auth_allowed(srv, who, &ask))
		return NULL;
	snprintf(why, sizeof why, "user not permitted to %s requests with signerName \"%.250s\"", verb, signer);
	return status_forbidden(k, jpath_str(obj, "metadata.name", ""), why);
}

json_t *csr_admit(struct server *srv, const struct identity *who, const struct k8s_kind *k, const char *subresource, json_t *obj,
		  const json_t *old)
{
	if (!is_csr(k))
		return NULL;
	if (!old && who && json_is_object(json_object_get(obj, "spec")))
		set_requestor(obj, who);
	if (old && !*subresource)
		json_object_set(obj, "spec", json_object_get(old, "spec"));
	if (old && !strcmp(subresource, "approval"))
		return check_signer(srv, who, k, old, "approve");
	if (old && !strcmp(subresource, "status") && !json_equal(jpath_get(obj, "status.certificate"), jpath_get(old, "status.certificate")))
		return check_signer(srv, who, k, old, "sign");
	return NULL;
}

void csr_keep_but_conditions(json_t *next, const json_t *cur)
{
	json_t *conditions = json_incref(jpath_get(next, "status.conditions")), *c;
	json_t *status = json_deep_copy(json_object_get(cur, "status"));
	char now[40];
	size_t i;

	json_object_set(next, "spec", json_object_get(cur, "spec"));
	json_object_set_new(next, "status", status ? status : json_object());
	json_array_foreach(conditions, i, c) {
		if (!json_is_object(c))
			continue;
		if (!json_object_get(c, "status"))
			json_object_set_new(c, "status", json_string("True"));
		if (!json_object_get(c, "lastUpdateTime"))
			json_object_set_new(c, "lastUpdateTime", json_string(meta_now(now)));
		if (!json_object_get(c, "lastTransitionTime"))
			json_object_set_new(c, "lastTransitionTime", json_string(meta_now(now)));
	}
	if (conditions)
		json_object_set_new(json_object_get(next, "status"), "conditions", conditions);
}

/* --- what --- */

static int load_request(const json_t *csr, gnutls_x509_crq_t *crq, struct err *e)
{
	const char *text = jpath_str(csr, "spec.request", "");
	size_t len = 0;
	own_free unsigned char *pem = base64_decode(text, strlen(text), &len);
	gnutls_datum_t d = { pem, (unsigned)len };

	if (!pem || gnutls_x509_crq_init(crq) < 0 || gnutls_x509_crq_import(*crq, &d, GNUTLS_X509_FMT_PEM) < 0)
		return err_set(e, EINVAL, "spec.request: holds no certificate request");
	if (gnutls_x509_crq_verify(*crq, 0) < 0)
		return err_set(e, EINVAL, "spec.request: is not signed by its own key");
	return 0;
}

static int add_san(json_t *sans, unsigned type, const unsigned char *data, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	if (type == GNUTLS_SAN_DNSNAME)
		return json_array_append_new(sans, json_stringn((const char *)data, len)) ? -EINVAL : 0;
	if (type != GNUTLS_SAN_IPADDRESS || (len != 4 && len != 16) || !inet_ntop(len == 4 ? AF_INET : AF_INET6, data, text, sizeof text))
		return -EINVAL;
	return json_array_append_new(sans, json_string(text)) ? -EINVAL : 0;
}

/* All organizations: each is a group that the certificate's holder would be in. */
static int read_groups(gnutls_x509_crq_t crq, struct csr_info *i, struct err *e)
{
	char group[sizeof i->group];
	unsigned n = 0;
	int r;

	for (;; n++) {
		size_t size = sizeof group;
		r = gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATION_NAME, n, 0, group, &size);
		if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (r < 0 || strlen(group) != size || n == GROUPS_MAX)
			return err_set(e, EINVAL, "spec.request: organization %u cannot be read, is too long or one too many", n + 1);
		if (!n)
			memcpy(i->group, group, size + 1);
		i->masters |= !strcmp(group, "system:masters");
	}
	i->one_group = n == 1;
	return 0;
}

static int read_names(gnutls_x509_crq_t crq, struct csr_info *i, struct err *e)
{
	size_t size = sizeof i->name;
	unsigned critical;

	if (gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, 0, i->name, &size) < 0 || strlen(i->name) != size)
		return err_set(e, EINVAL, "spec.request: has no common name");
	int r = read_groups(crq, i, e);
	if (r)
		return r;
	for (unsigned n = 0; n <= SANS_MAX; n++) {
		unsigned char san[300];
		unsigned type = 0;
		size = sizeof san;
		r = gnutls_x509_crq_get_subject_alt_name(crq, n, san, &size, &type, &critical);
		if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return 0;
		if (r < 0 || n == SANS_MAX || add_san(i->sans, r, san, size))
			i->other_sans = true;
		if (r < 0)
			return 0;
	}
	return 0;
}

int csr_read(const json_t *csr, struct csr_info *out, struct err *e)
{
	own_crq gnutls_x509_crq_t crq = NULL;
	struct csr_info i = { .sans = json_array() };
	int r = i.sans ? load_request(csr, &crq, e) : err_set(e, ENOMEM, "out of memory");

	if (!r)
		r = read_names(crq, &i, e);
	if (r)
		csr_info_fini(&i);
	else
		*out = i;
	return r;
}

void csr_info_fini(struct csr_info *i)
{
	json_decref(i->sans);
	i->sans = NULL;
}

/* --- what signers sign --- */

/* Every usage is among the words, and the one that is needed is there. */
static bool usages_are(const json_t *csr, const char *words, const char *needed)
{
	json_t *u;
	size_t i;
	bool there = false;

	json_array_foreach(jpath_get(csr, "spec.usages"), i, u) {
		const char *text = json_string_value(u);
		char quoted[64];
		if (!text || snprintf(quoted, sizeof quoted, "|%s|", text) >= (int)sizeof quoted || !strstr(words, quoted))
			return false;
		there |= !strcmp(text, needed);
	}
	return there;
}

static int check_node(const struct csr_info *i, struct err *e)
{
	if (!i->one_group || strcmp(i->group, NODE_GROUP))
		return err_set(e, EINVAL, "subject organization is not system:nodes");
	if (strncmp(i->name, NODE_USER, strlen(NODE_USER)) || !i->name[strlen(NODE_USER)])
		return err_set(e, EINVAL, "subject common name does not begin with system:node:");
	return i->other_sans ? err_set(e, EINVAL, "only DNS and IP subjectAltNames are allowed") : 0;
}

int csr_check(const json_t *csr, const struct csr_info *i, struct err *e)
{
	const char *signer = jpath_str(csr, "spec.signerName", "");
	bool client = !strcmp(signer, CSR_CLIENT), node = !strcmp(signer, CSR_NODE_CLIENT), serving = !strcmp(signer, CSR_NODE_SERVING);
	int r = 0;

	if (!client && !node && !serving)
		return err_set(e, ENOENT, "signer %.200s is not one of this server", signer);
	if (!usages_are(csr, serving ? "|digital signature|key encipherment|server auth|" : "|digital signature|key encipherment|client auth|",
			serving ? "server auth" : "client auth"))
		return err_set(e, EINVAL, "usages did not match %s", serving ? "[digital signature key encipherment server auth]" :
			       "[digital signature key encipherment client auth]");
	if (client)
		return i->masters ? err_set(e, EINVAL, "use of %s signer with system:masters group is not allowed", signer) : 0;
	r = check_node(i, e);
	if (!r && node && json_array_size(i->sans))
		r = err_set(e, EINVAL, "DNS and IP subjectAltNames are not allowed");
	if (!r && serving && !json_array_size(i->sans))
		r = err_set(e, EINVAL, "DNS or IP subjectAltName is required");
	return r;
}

/* --- signing --- */

static int load_ca(const char *root, gnutls_x509_crt_t *crt, gnutls_x509_privkey_t *key, struct err *e)
{
	own_buf struct buf cert = BUF_INIT, private = BUF_INIT;
	char path[4096];
	gnutls_datum_t d;
	int r;

	snprintf(path, sizeof path, "%s/pki/ca.crt", root);
	r = file_read(path, 1 << 20, &cert, e);
	snprintf(path, sizeof path, "%s/pki/ca.key", root);
	if (!r)
		r = file_read(path, 1 << 20, &private, e);
	if (r)
		return r;
	d = (gnutls_datum_t){ (unsigned char *)cert.data, cert.len };
	if (gnutls_x509_crt_init(crt) < 0 || gnutls_x509_crt_import(*crt, &d, GNUTLS_X509_FMT_PEM) < 0)
		return err_set(e, EIO, "%s/pki/ca.crt is not usable", root);
	d = (gnutls_datum_t){ (unsigned char *)private.data, private.len };
	if (gnutls_x509_privkey_init(key) < 0 || gnutls_x509_privkey_import(*key, &d, GNUTLS_X509_FMT_PEM) < 0)
		r = err_set(e, EIO, "%s/pki/ca.key is not usable", root);
	explicit_bzero(private.data, private.len);
	return r;
}

static time_t expiry_of(const json_t *csr, gnutls_x509_crt_t ca)
{
	long long asked = jpath_int(csr, "spec.expirationSeconds", YEAR_S);
	time_t end = time(NULL) + (asked > YEAR_S ? YEAR_S : asked), ca_end = gnutls_x509_crt_get_expiration_time(ca);

	return end > ca_end ? ca_end : end;
}

static int fill(gnutls_x509_crt_t crt, gnutls_x509_crq_t crq, const json_t *csr, const struct csr_info *i, gnutls_x509_crt_t ca)
{
	bool serving = !strcmp(jpath_str(csr, "spec.signerName", ""), CSR_NODE_SERVING);
	unsigned char serial[16], id[64], addr[16];
	size_t size = sizeof id, n;
	json_t *san;
	int r = getrandom(serial, sizeof serial, 0) == sizeof serial ? 0 : GNUTLS_E_RANDOM_FAILED;

	serial[0] &= 0x7f;
	if (r >= 0)
		r = gnutls_x509_crt_set_crq(crt, crq);   // subject and key
	if (r >= 0)
		r = gnutls_x509_crt_set_version(crt, 3);
	if (r >= 0)
		r = gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
	if (r >= 0)
		r = gnutls_x509_crt_set_activation_time(crt, time(NULL) - 300);
	if (r >= 0)
		r = gnutls_x509_crt_set_expiration_time(crt, expiry_of(csr, ca));
	if (r >= 0)
		r = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
	if (r >= 0)
		r = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (r >= 0)
		r = gnutls_x509_crt_set_key_purpose_oid(crt, serving ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT, 0);
	json_array_foreach(i->sans, n, san) {
		const char *text = json_string_value(san);
		bool v4 = inet_pton(AF_INET, text, addr) == 1, v6 = !v4 && inet_pton(AF_INET6, text, addr) == 1;
		if (r >= 0 && serving)
			r = gnutls_x509_crt_set_subject_alt_name(crt, v4 || v6 ? GNUTLS_SAN_IPADDRESS : GNUTLS_SAN_DNSNAME,
								 v4 || v6 ? (void *)addr : (void *)text, v4 ? 4 : v6 ? 16 : strlen(text),
								 GNUTLS_FSAN_APPEND);
	}
	if (r >= 0 && gnutls_x509_crt_get_subject_key_id(ca, id, &size, NULL) >= 0)
		r = gnutls_x509_crt_set_authority_key_id(crt, id, size);
	return r;
}

int csr_sign(const char *root, const json_t *csr, char **pem, struct err *e)
{
	own_crq gnutls_x509_crq_t crq = NULL;
	own_crt gnutls_x509_crt_t crt = NULL, ca = NULL;
	own_key gnutls_x509_privkey_t ca_key = NULL;
	gnutls_datum_t out = { NULL, 0 };
	struct csr_info i;
	int r = csr_read(csr, &i, e);

	if (r)
		return r;
	r = csr_check(csr, &i, e);
	if (!r)
		r = load_request(csr, &crq, e);
	if (!r)
		r = load_ca(root, &ca, &ca_key, e);
	if (!r) {
		int t = gnutls_x509_crt_init(&crt);
		if (t >= 0)
			t = fill(crt, crq, csr, &i, ca);
		if (t >= 0)
			t = gnutls_x509_crt_sign2(crt, ca, ca_key, GNUTLS_DIG_SHA256, 0);
		if (t >= 0)
			t = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out);
		*pem = t >= 0 ? strndup((char *)out.data, out.size) : NULL;
		if (!*pem)
			r = err_set(e, EIO, "sign: %s", t < 0 ? gnutls_strerror(t) : "out of memory");
		gnutls_free(out.data);
	}
	csr_info_fini(&i);
	return r;
}
