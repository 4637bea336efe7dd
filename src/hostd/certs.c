// SPDX-License-Identifier: Apache-2.0
#include "certs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "k8s/base64.h"
#include "k8s/client.h"
#include "k8s/kubeconfig.h"

#define PATH "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define CLIENT_WAIT_NS (60 * NS_PER_S)
#define SERVING_WAIT_NS (5 * NS_PER_S)
#define POLL_NS 200000000
#define RETRY_S 60                     // while a request waits for its approval or the server does not answer
#define LOOK_S 3600                    // at the certificates' ages
#define SELF_DAYS 3650
#define SELF_ISSUED "bulkhead-self-signed"   // organization of certificates that nobody has approved yet

static void own_crq_(gnutls_x509_crq_t *c) { if (*c) gnutls_x509_crq_deinit(*c); }
static void own_crt_(gnutls_x509_crt_t *c) { if (*c) gnutls_x509_crt_deinit(*c); }
static void own_key_(gnutls_x509_privkey_t *k) { if (*k) gnutls_x509_privkey_deinit(*k); }
#define own_crq __attribute__((cleanup(own_crq_)))
#define own_crt __attribute__((cleanup(own_crt_)))
#define own_key __attribute__((cleanup(own_key_)))

struct kind {
	const char *file;              // below ROOT/pki
	const char *signer, *usage;
	bool sans;
	uint64_t wait_ns;
};
static const struct kind client = {"client.pem", "kubernetes.io/kube-apiserver-client-kubelet", "client auth", false, CLIENT_WAIT_NS};
static const struct kind serving = {"serving.pem", "kubernetes.io/kubelet-serving", "server auth", true, SERVING_WAIT_NS};

struct certs {
	const struct host *host;
	void (*on_serving)(void *user);
	void *user;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop, now;
};

static void path_of(const struct host *h, const struct kind *k, char out[4096])
{
	snprintf(out, 4096, "%s/pki/%s", h->root, k->file);
}

/* --- what there is --- */

static int load(const struct host *h, const struct kind *k, gnutls_x509_crt_t *crt)
{
	own_buf struct buf text = BUF_INIT;
	char path[4096];
	path_of(h, k, path);
	if (file_read(path, 1 << 20, &text, NULL))
		return -ENOENT;
	gnutls_datum_t d = {(unsigned char *)text.data, (unsigned)text.len};
	if (gnutls_x509_crt_init(crt) < 0 || gnutls_x509_crt_import(*crt, &d, GNUTLS_X509_FMT_PEM) < 0)
		return -EINVAL;
	return 0;
}

static bool self_signed(gnutls_x509_crt_t crt)
{
	char org[64];
	size_t size = sizeof(org);
	return !gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, 0, org, &size) && !strcmp(org, SELF_ISSUED);
}

/* When it should be replaced: after four fifths of its life. */
static time_t due(gnutls_x509_crt_t crt)
{
	time_t from = gnutls_x509_crt_get_activation_time(crt), to = gnutls_x509_crt_get_expiration_time(crt);
	return from + (to - from) / 5 * 4;
}

static bool names_us(const struct host *h, const struct kind *k, gnutls_x509_crt_t crt)
{
	return !k->sans || (gnutls_x509_crt_check_hostname(crt, h->node_addr) && gnutls_x509_crt_check_hostname(crt, h->node_name));
}

/* fresh: not even due. */
static bool is_good(const struct host *h, const struct kind *k, bool fresh)
{
	own_crt gnutls_x509_crt_t crt = NULL;
	if (load(h, k, &crt) || !names_us(h, k, crt))
		return false;
	return time(NULL) < (fresh ? due(crt) : gnutls_x509_crt_get_expiration_time(crt)) && !(fresh && self_signed(crt));
}

/* --- a request --- */

static int new_key(gnutls_x509_privkey_t *key, struct err *e)
{
	int t = gnutls_x509_privkey_init(key);
	if (t >= 0)
		t = gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	return t < 0 ? err_set(e, EIO, "make a key: %s", gnutls_strerror(t)) : 0;
}

static int add_addr(const char *addr, unsigned char raw[16])
{
	return inet_pton(AF_INET, addr, raw) == 1 ? 4 : inet_pton(AF_INET6, addr, raw) == 1 ? 16 : 0;
}

static int new_request(const struct host *h, const struct kind *k, gnutls_x509_privkey_t key, gnutls_datum_t *pem, struct err *e)
{
	own_crq gnutls_x509_crq_t crq = NULL;
	char name[300];
	unsigned char addr[16];
	int len = add_addr(h->node_addr, addr), t = gnutls_x509_crq_init(&crq);
	snprintf(name, sizeof(name), "system:node:%s", h->node_name);
	if (t >= 0)
		t = gnutls_x509_crq_set_version(crq, 1);
	if (t >= 0)
		t = gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, "system:nodes", strlen("system:nodes"));
	if (t >= 0)
		t = gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name));
	if (t >= 0 && k->sans)
		t = gnutls_x509_crq_set_subject_alt_name(crq, GNUTLS_SAN_DNSNAME, h->node_name, (unsigned)strlen(h->node_name),
							 GNUTLS_FSAN_SET);
	if (t >= 0 && k->sans && len)
		t = gnutls_x509_crq_set_subject_alt_name(crq, GNUTLS_SAN_IPADDRESS, addr, (unsigned)len, GNUTLS_FSAN_APPEND);
	if (t >= 0)
		t = gnutls_x509_crq_set_key(crq, key);
	if (t >= 0)
		t = gnutls_x509_crq_sign2(crq, key, GNUTLS_DIG_SHA256, 0);
	gnutls_datum_t der = {NULL, 0};
	if (t >= 0)
		t = gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_DER, &der);
	if (t >= 0)   // the library's own PEM says "NEW CERTIFICATE REQUEST", which API servers refuse
		t = gnutls_pem_base64_encode2("CERTIFICATE REQUEST", &der, pem);
	gnutls_free(der.data);
	return t < 0 ? err_set(e, EIO, "make a certificate request: %s", gnutls_strerror(t)) : 0;
}

static int submit(struct k8s_client *api, const struct kind *k, const gnutls_datum_t *pem, char name[64], struct err *e)
{
	own_free char *text = base64_encode(pem->data, pem->size);
	unsigned char random[8];
	if (!text || getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_sys(e, ENOMEM, "certificate request");
	int n = snprintf(name, 64, "node-csr-");
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(name + n, 64 - (size_t)n, "%02x", random[i]);
	own_json json_t *csr = json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:s, s:[s, s, s]}}", "apiVersion", "certificates.k8s.io/v1", "kind",
					 "CertificateSigningRequest", "metadata", "name", name, "spec", "request", text, "signerName", k->signer,
					 "usages", "digital signature", "key encipherment", k->usage);   // before 1.27: exactly these
	return k8s_client_call(api, "POST", PATH, NULL, csr, 10000, NULL, e);
}

static bool has_condition(const json_t *csr, const char *type, const char **message)
{
	size_t i;
	json_t *c;
	json_array_foreach(jpath_get(csr, "status.conditions"), i, c)
		if (!strcmp(jpath_str(c, "type", ""), type)) {
			*message = jpath_str(c, "message", "");
			return true;
		}
	return false;
}

/* The certificate, PEM. -EAGAIN: not approved within the time. */
static int await(struct k8s_client *api, const char *name, uint64_t wait_ns, char **pem, struct err *e)
{
	uint64_t end = clock_mono_ns() + wait_ns;
	char path[200];
	snprintf(path, sizeof(path), PATH "/%s", name);
	for (;;) {
		own_json json_t *csr = NULL;
		const char *why = "";
		int rc = k8s_client_call(api, "GET", path, NULL, NULL, 10000, &csr, e);
		if (rc)
			return rc;
		const char *text = jpath_str(csr, "status.certificate", "");
		size_t len;
		if (*text)
			return (*pem = (char *)base64_decode(text, strlen(text), &len)) ? 0 : err_set(e, EIO, "certificate %s is unreadable", name);
		if (has_condition(csr, "Denied", &why) || has_condition(csr, "Failed", &why))
			return err_set(e, EACCES, "certificate request %s was refused: %s", name, why);
		if (clock_mono_ns() > end)
			return err_set(e, EAGAIN, "certificate request %s waits for approval (kubectl certificate approve %s)", name, name);
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
}

static int save(const struct host *h, const struct kind *k, const char *cert, gnutls_x509_privkey_t key, struct err *e)
{
	own_buf struct buf both = BUF_INIT;
	gnutls_datum_t pem = {NULL, 0};
	char path[4096];
	int rc = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem) < 0 ? -EIO : 0;
	if (!rc)
		rc = buf_puts(&both, cert) || buf_append(&both, pem.data, pem.size) ? -ENOMEM : 0;
	if (pem.data)
		explicit_bzero(pem.data, pem.size);
	gnutls_free(pem.data);
	snprintf(path, sizeof(path), "%s/pki", h->root);
	if (!rc)
		rc = dir_make(path, 0700, e);
	path_of(h, k, path);
	if (!rc)
		rc = file_write_atomic(path, both.data, both.len, 0600, e);
	if (both.data)
		explicit_bzero(both.data, both.len);
	return rc;
}

static int obtain(const struct host *h, struct k8s_client *api, const struct kind *k, struct err *e)
{
	own_key gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t request = {NULL, 0};
	own_free char *cert = NULL;
	char name[64];
	int rc = new_key(&key, e);
	if (!rc)
		rc = new_request(h, k, key, &request, e);
	if (!rc)
		rc = submit(api, k, &request, name, e);
	gnutls_free(request.data);
	if (!rc)
		rc = await(api, name, k->wait_ns, &cert, e);
	if (!rc)
		rc = save(h, k, cert, key, e);
	if (!rc)
		log_info("certs", "new certificate for=%s request=%s", k->usage, name);
	return rc;
}

/* --- client --- */

/* node.kubeconfig: bootstrap's server and authority, our certificate. */
static int write_kubeconfig(const struct host *h, const struct kubeconfig *from, struct err *e)
{
	own_buf struct buf out = BUF_INIT, ca = BUF_INIT;
	char pem[4096], path[4096];
	int rc = from->ca_path ? file_read(from->ca_path, 1 << 20, &ca, e) : err_set(e, EINVAL, "the bootstrap kubeconfig names no authority");
	if (rc)
		return rc;
	own_free char *text = base64_encode(ca.data, ca.len);
	path_of(h, &client, pem);
	if (!text || buf_printf(&out, "apiVersion: v1\nkind: Config\ncurrent-context: node\nclusters:\n- name: cluster\n  cluster:\n"
				"    certificate-authority-data: %s\n    server: %s\ncontexts:\n- name: node\n  context:\n    cluster: cluster\n"
				"    user: node\nusers:\n- name: node\n  user:\n    client-certificate: %s\n    client-key: %s\n", text,
				from->server, pem, pem))
		return err_sys(e, ENOMEM, "node.kubeconfig");
	snprintf(path, sizeof(path), "%s/pki/ca.crt", h->root);
	rc = file_write_atomic(path, ca.data, ca.len, 0644, e);
	return rc ? rc : file_write_atomic(h->kubeconfig, out.data, out.len, 0600, e);
}

int certs_client(const struct host *h, const char *bootstrap, struct err *e)
{
	struct kubeconfig from;
	struct k8s_client *api = NULL;
	if (is_good(h, &client, false) && !access(h->kubeconfig, R_OK))
		return 0;
	int rc = kubeconfig_read(bootstrap, &from, e);
	if (rc)
		return rc;
	rc = k8s_client_open(bootstrap, &api, e);
	if (!rc)
		rc = obtain(h, api, &client, e);
	if (!rc)
		rc = write_kubeconfig(h, &from, e);
	k8s_client_close(api);
	kubeconfig_fini(&from);
	return rc ? err_wrap(e, "join the cluster") : 0;
}

/* --- serving --- */

static int self_sign(const struct host *h, struct err *e)
{
	own_key gnutls_x509_privkey_t key = NULL;
	own_crt gnutls_x509_crt_t crt = NULL;
	unsigned char serial[8], addr[16];
	gnutls_datum_t pem = {NULL, 0};
	int len = add_addr(h->node_addr, addr), rc = new_key(&key, e);
	if (rc)
		return rc;
	int t = gnutls_x509_crt_init(&crt);
	if (getrandom(serial, sizeof(serial), 0) != sizeof(serial))
		t = GNUTLS_E_RANDOM_FAILED;
	serial[0] &= 0x7f;
	if (t >= 0)
		t = gnutls_x509_crt_set_version(crt, 3);
	if (t >= 0)
		t = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (t >= 0)
		t = gnutls_x509_crt_set_activation_time(crt, time(NULL) - 300);
	if (t >= 0)
		t = gnutls_x509_crt_set_expiration_time(crt, time(NULL) + SELF_DAYS * 86400l);
	if (t >= 0)
		t = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, SELF_ISSUED, strlen(SELF_ISSUED));
	if (t >= 0)
		t = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, h->node_name, (unsigned)strlen(h->node_name));
	if (t >= 0)
		t = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, h->node_name, (unsigned)strlen(h->node_name), GNUTLS_FSAN_SET);
	if (t >= 0 && len)
		t = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, addr, (unsigned)len, GNUTLS_FSAN_APPEND);
	if (t >= 0)
		t = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (t >= 0)
		t = gnutls_x509_crt_set_key(crt, key);
	if (t >= 0)
		t = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
	if (t >= 0)
		t = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	own_free char *text = t >= 0 ? strndup((char *)pem.data, pem.size) : NULL;
	gnutls_free(pem.data);
	return text ? save(h, &serving, text, key, e) : err_set(e, EIO, "make a serving certificate: %s", gnutls_strerror(t));
}

int certs_serving(const struct host *h, struct err *e)
{
	struct err why = ERR_INIT;
	if (is_good(h, &serving, false))
		return 0;
	if (!obtain(h, h->api, &serving, &why))
		return 0;
	log_warn("certs", "serving with a certificate signed by itself: %s", why.text);
	return self_sign(h, e);
}

/* --- rotation --- */

/* Replace what is due, or all. Returns the seconds until the next look. */
static unsigned look(struct certs *c, bool all)
{
	struct err e = ERR_INIT;
	bool failed = false;
	if ((all || !is_good(c->host, &client, true)) && obtain(c->host, c->host->api, &client, &e)) {
		log_warn("certs", "client certificate not renewed: %s", e.text);
		failed = true;
	}
	if (all || !is_good(c->host, &serving, true)) {
		if (!obtain(c->host, c->host->api, &serving, &e)) {
			c->on_serving(c->user);
		} else {
			log_limited(LOG_LEVEL_WARN, "certs", "serving certificate not renewed: %s", e.text);
			failed = true;
		}
	}
	return failed ? RETRY_S : LOOK_S;
}

static void *run(void *arg)
{
	struct certs *c = arg;
	pthread_mutex_lock(&c->lock);
	for (unsigned wait = RETRY_S; !c->stop;) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += wait;
		while (!c->stop && !c->now)
			if (pthread_cond_timedwait(&c->wake, &c->lock, &until) == ETIMEDOUT)
				break;
		bool all = c->now, stop = c->stop;
		c->now = false;
		pthread_mutex_unlock(&c->lock);
		if (!stop)
			wait = look(c, all);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

int certs_start(const struct host *h, void (*on_serving)(void *user), void *user, struct certs **out, struct err *e)
{
	struct certs *c = calloc(1, sizeof(*c));
	if (!c)
		return err_sys(e, ENOMEM, "certificates");
	*c = (struct certs){.host = h, .on_serving = on_serving, .user = user};
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->wake, NULL);
	int rc = pthread_create(&c->thread, NULL, run, c);
	if (rc) {
		free(c);
		return err_sys(e, rc, "certificates");
	}
	*out = c;
	return 0;
}

void certs_rotate(struct certs *c)
{
	pthread_mutex_lock(&c->lock);
	c->now = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void certs_stop(struct certs *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	free(c);
}
