// SPDX-License-Identifier: Apache-2.0
#include "server/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/file.h"
#include "base/own.h"
#include "k8s/base64.h"

#define CA_DAYS 3650
#define CERT_DAYS 365
#define RENEW_DAYS 30
#define DAY (24 * 3600)
#define FILE_MAX 65536

struct signer {
	gnutls_x509_crt_t cert;
	gnutls_x509_privkey_t key;
};

static void own_cert_(gnutls_x509_crt_t *c) { if (*c) gnutls_x509_crt_deinit(*c); }
static void own_key_(gnutls_x509_privkey_t *k) { if (*k) gnutls_x509_privkey_deinit(*k); }
static void own_datum_(gnutls_datum_t *d) { gnutls_free(d->data); }
#define own_cert __attribute__((cleanup(own_cert_)))
#define own_key __attribute__((cleanup(own_key_)))
#define own_datum __attribute__((cleanup(own_datum_)))

static int tls_error(struct err *e, int r, const char *what)
{
	return err_set(e, r == GNUTLS_E_MEMORY_ERROR ? ENOMEM : EINVAL, "%s: %s", what, gnutls_strerror(r));
}

static void pki_path(const char *root, const char *name, const char *suffix, char out[4096])
{
	snprintf(out, 4096, "%s/pki/%s%s", root, name, suffix);
}

static int new_key(gnutls_x509_privkey_t *key, struct err *e)
{
	int r = gnutls_x509_privkey_init(key);

	if (r >= 0)
		r = gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	return r < 0 ? tls_error(e, r, "make a key") : 0;
}

static int save_key(const char *path, gnutls_x509_privkey_t key, struct err *e)
{
	own_datum gnutls_datum_t pem = { NULL, 0 };
	int r = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem);

	return r < 0 ? tls_error(e, r, path) : file_write_atomic(path, pem.data, pem.size, 0600, e);
}

static int save_cert(const char *path, gnutls_x509_crt_t cert, struct err *e)
{
	own_datum gnutls_datum_t pem = { NULL, 0 };
	int r = gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem);

	return r < 0 ? tls_error(e, r, path) : file_write_atomic(path, pem.data, pem.size, 0600, e);
}

/* 0; -ENOENT: not there; other: unusable. */
static int load_cert(const char *path, gnutls_x509_crt_t *cert, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	gnutls_datum_t d;
	int r = file_read(path, FILE_MAX, &b, e);

	if (r)
		return r;
	d = (gnutls_datum_t){ (unsigned char *)b.data, b.len };
	r = gnutls_x509_crt_init(cert);
	if (r >= 0)
		r = gnutls_x509_crt_import(*cert, &d, GNUTLS_X509_FMT_PEM);
	return r < 0 ? tls_error(e, r, path) : 0;
}

static int load_key(const char *path, gnutls_x509_privkey_t *key, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	gnutls_datum_t d;
	int r = file_read(path, FILE_MAX, &b, e);

	if (r)
		return r;
	d = (gnutls_datum_t){ (unsigned char *)b.data, b.len };
	r = gnutls_x509_privkey_init(key);
	if (r >= 0)
		r = gnutls_x509_privkey_import(*key, &d, GNUTLS_X509_FMT_PEM);
	return r < 0 ? tls_error(e, r, path) : 0;
}

/* What every certificate has: serial number, times, name, key. */
static int cert_basics(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *cn, const char *org, int days)
{
	unsigned char serial[16];
	time_t now = time(NULL);
	int r = getrandom(serial, sizeof serial, 0) == sizeof serial ? 0 : GNUTLS_E_RANDOM_FAILED;

	serial[0] &= 0x7f;
	if (r >= 0)
		r = gnutls_x509_crt_set_version(cert, 3);
	if (r >= 0)
		r = gnutls_x509_crt_set_serial(cert, serial, sizeof serial);
	if (r >= 0)
		r = gnutls_x509_crt_set_activation_time(cert, now - 300);
	if (r >= 0)
		r = gnutls_x509_crt_set_expiration_time(cert, now + (time_t)days * DAY);
	if (r >= 0 && org)
		r = gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, org, strlen(org));
	if (r >= 0)
		r = gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, cn, strlen(cn));
	if (r >= 0)
		r = gnutls_x509_crt_set_key(cert, key);
	return r;
}

static int set_key_id(gnutls_x509_crt_t cert)
{
	unsigned char id[64];
	size_t size = sizeof id;
	int r = gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA1, id, &size);

	return r < 0 ? r : gnutls_x509_crt_set_subject_key_id(cert, id, size);
}

static int make_ca(const char *crt_path, const char *key_path, struct err *e)
{
	own_cert gnutls_x509_crt_t cert = NULL;
	own_key gnutls_x509_privkey_t key = NULL;
	int r = new_key(&key, e);

	if (r)
		return r;
	r = gnutls_x509_crt_init(&cert);
	if (r >= 0)
		r = cert_basics(cert, key, "bulkhead-ca", NULL, CA_DAYS);
	if (r >= 0)
		r = gnutls_x509_crt_set_basic_constraints(cert, 1, -1);
	if (r >= 0)
		r = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN | GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (r >= 0)
		r = set_key_id(cert);
	if (r >= 0)
		r = gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0);
	if (r < 0)
		return tls_error(e, r, "make the certificate authority");
	r = save_key(key_path, key, e);   // the key first: a certificate without its key would never be made again
	return r ? r : save_cert(crt_path, cert, e);
}

int pki_ensure_ca(const char *root, struct err *e)
{
	own_cert gnutls_x509_crt_t cert = NULL;
	char dir[4096], crt[4096], key[4096];
	int r;

	pki_path(root, "", "", dir);
	pki_path(root, "ca", ".crt", crt);
	pki_path(root, "ca", ".key", key);
	r = dir_make(dir, 0700, e);
	if (r)
		return r;
	r = load_cert(crt, &cert, e);
	if (r == -ENOENT)
		return make_ca(crt, key, e);
	if (!r && gnutls_x509_crt_get_expiration_time(cert) < time(NULL))
		return err_set(e, EKEYEXPIRED, "%s has expired; move ca.crt and ca.key away and start again: every client "
			       "then needs a new kubeconfig", crt);
	return r;
}

static int add_san(gnutls_x509_crt_t cert, const char *san)
{
	unsigned char addr[16];

	if (inet_pton(AF_INET, san, addr) == 1)
		return gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, addr, 4, GNUTLS_FSAN_APPEND);
	if (inet_pton(AF_INET6, san, addr) == 1)
		return gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, addr, 16, GNUTLS_FSAN_APPEND);
	return gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, san, strlen(san), GNUTLS_FSAN_APPEND);
}

static int set_extensions(gnutls_x509_crt_t cert, const struct pki_cert *c, const struct signer *ca)
{
	unsigned char id[64];
	size_t size = sizeof id;
	int r = gnutls_x509_crt_set_basic_constraints(cert, 0, -1);

	if (r >= 0)
		r = gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (r >= 0 && c->sans[0])
		r = gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_SERVER, 0);
	else if (r >= 0)
		r = gnutls_x509_crt_set_key_purpose_oid(cert, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	for (int i = 0; r >= 0 && i < PKI_SANS_MAX && c->sans[i]; i++)
		r = add_san(cert, c->sans[i]);
	if (r >= 0)
		r = set_key_id(cert);
	if (r >= 0 && gnutls_x509_crt_get_subject_key_id(ca->cert, id, &size, NULL) >= 0)
		r = gnutls_x509_crt_set_authority_key_id(cert, id, size);
	return r;
}

static int make_cert(const struct pki_cert *c, const struct signer *ca, const char *crt_path, const char *key_path, struct err *e)
{
	own_cert gnutls_x509_crt_t cert = NULL;
	own_key gnutls_x509_privkey_t key = NULL;
	int r = new_key(&key, e);

	if (r)
		return r;
	r = gnutls_x509_crt_init(&cert);
	if (r >= 0)
		r = cert_basics(cert, key, c->common_name, c->organization, CERT_DAYS);
	if (r >= 0)
		r = set_extensions(cert, c, ca);
	if (r >= 0)
		r = gnutls_x509_crt_sign2(cert, ca->cert, ca->key, GNUTLS_DIG_SHA256, 0);
	if (r < 0)
		return tls_error(e, r, c->base);
	unlink(crt_path);   // never an old certificate beside a new key
	r = save_key(key_path, key, e);
	return r ? r : save_cert(crt_path, cert, e);
}

static bool has_san(gnutls_x509_crt_t cert, const char *san)
{
	return gnutls_x509_crt_check_hostname2(cert, san, GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS);
}

/* Is the certificate there, ours, of this authority and good for a while? */
static bool still_good(const struct pki_cert *c, const struct signer *ca, const char *crt_path, const char *key_path)
{
	own_cert gnutls_x509_crt_t cert = NULL;
	own_key gnutls_x509_privkey_t key = NULL;
	char cn[256];
	size_t size = sizeof cn;
	unsigned verify = 0;

	if (load_cert(crt_path, &cert, NULL) || load_key(key_path, &key, NULL))
		return false;
	if (gnutls_x509_crt_get_expiration_time(cert) < time(NULL) + RENEW_DAYS * DAY)
		return false;
	if (gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, cn, &size) < 0 || strcmp(cn, c->common_name))
		return false;
	if (gnutls_x509_crt_list_verify(&cert, 1, &ca->cert, 1, NULL, 0, 0, &verify) < 0 || verify)
		return false;
	for (int i = 0; i < PKI_SANS_MAX && c->sans[i]; i++)
		if (!has_san(cert, c->sans[i]))
			return false;
	return true;
}

int pki_ensure_cert(const char *root, const struct pki_cert *c, struct err *e)
{
	own_cert gnutls_x509_crt_t ca_cert = NULL;
	own_key gnutls_x509_privkey_t ca_key = NULL;
	char path[4096], crt[4096], key[4096];
	struct signer ca;
	int r;

	pki_path(root, "ca", ".crt", path);
	r = load_cert(path, &ca_cert, e);
	if (r)
		return r;
	pki_path(root, "ca", ".key", path);
	r = load_key(path, &ca_key, e);
	if (r)
		return r;
	ca = (struct signer){ ca_cert, ca_key };
	pki_path(root, c->base, ".crt", crt);
	pki_path(root, c->base, ".key", key);
	return still_good(c, &ca, crt, key) ? 0 : make_cert(c, &ca, crt, key, e);
}

static int public_pem(gnutls_x509_privkey_t key, gnutls_datum_t *pem)
{
	gnutls_privkey_t any = NULL;
	gnutls_pubkey_t pub = NULL;
	int r = gnutls_privkey_init(&any);

	if (r >= 0)
		r = gnutls_privkey_import_x509(any, key, 0);
	if (r >= 0)
		r = gnutls_pubkey_init(&pub);
	if (r >= 0)
		r = gnutls_pubkey_import_privkey(pub, any, 0, 0);
	if (r >= 0)
		r = gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_PEM, pem);
	if (pub)
		gnutls_pubkey_deinit(pub);
	if (any)
		gnutls_privkey_deinit(any);
	return r;
}

int pki_ensure_sa_key(const char *root, struct err *e)
{
	own_key gnutls_x509_privkey_t key = NULL;
	own_datum gnutls_datum_t pem = { NULL, 0 };
	char path[4096];
	int r;

	pki_path(root, "sa", ".key", path);
	r = load_key(path, &key, e);
	if (r == -ENOENT) {
		own_key_(&key);
		key = NULL;
		r = new_key(&key, e);
		if (!r)
			r = save_key(path, key, e);
	}
	if (r)
		return r;
	pki_path(root, "sa", ".pub", path);
	if (!access(path, F_OK))
		return 0;
	r = public_pem(key, &pem);
	return r < 0 ? tls_error(e, r, path) : file_write_atomic(path, pem.data, pem.size, 0644, e);
}

static int put_base64_file(struct buf *out, const char *root, const char *name, const char *suffix, struct err *e)
{
	own_buf struct buf b = BUF_INIT;
	own_free char *text = NULL;
	char path[4096];
	int r;

	pki_path(root, name, suffix, path);
	r = file_read(path, FILE_MAX, &b, e);
	if (r)
		return r;
	text = base64_encode(b.data, b.len);
	return text && !buf_puts(out, text) ? 0 : err_set(e, ENOMEM, "out of memory");
}

int pki_write_kubeconfig(const char *root, const char *file, const char *server, const char *user, const char *base, struct err *e)
{
	own_buf struct buf b = BUF_INIT, old = BUF_INIT;
	char path[4096];
	int r;

	buf_puts(&b, "apiVersion: v1\nkind: Config\ncurrent-context: bulkhead\nclusters:\n- name: bulkhead\n  cluster:\n"
		     "    certificate-authority-data: ");
	r = put_base64_file(&b, root, "ca", ".crt", e);
	if (!r)
		buf_printf(&b, "\n    server: %s\ncontexts:\n- name: bulkhead\n  context:\n    cluster: bulkhead\n    user: %s\n"
			       "users:\n- name: %s\n  user:\n    client-certificate-data: ", server, user, user);
	if (!r)
		r = put_base64_file(&b, root, base, ".crt", e);
	if (!r)
		buf_puts(&b, "\n    client-key-data: ");
	if (!r)
		r = put_base64_file(&b, root, base, ".key", e);
	if (!r && buf_puts(&b, "\n"))
		r = err_set(e, ENOMEM, "out of memory");
	if (r)
		return r;
	snprintf(path, sizeof path, "%s/%s", root, file);
	if (!file_read(path, FILE_MAX, &old, NULL) && old.len == b.len && !memcmp(old.data, b.data, b.len))
		return 0;
	return file_write_atomic(path, b.data, b.len, 0600, e);
}
