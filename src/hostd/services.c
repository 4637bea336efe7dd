// SPDX-License-Identifier: Apache-2.0
#include "services.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cidr.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "dns.h"
#include "k8s/client.h"
#include "service_model.h"
#include "service_rules.h"

#define GATHER_MS 20                   // changes that come together are applied together
#define RETRY_S 5

struct collection {                    // of one kind
	struct services *owner;
	struct k8s_informer *informer;
	json_t *objs;                  // "ns/name" -> object
	bool synced;
};

struct services {
	const struct host *host;
	struct service_rules_config rules;
	char table[24];
	struct dns *dns;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct collection services, slices;
	bool dirty, stop;
	char *applied;                 // the thread's: rules as they are now
};

/* --- what the API says --- */

static void wake(struct services *s)
{
	s->dirty = true;
	pthread_cond_signal(&s->wake);
}

static void put(struct collection *c, json_t *obj)
{
	char key[600];
	json_t *meta = json_object_get(obj, "metadata");
	snprintf(key, sizeof(key), "%s/%s", jpath_str(meta, "namespace", ""), jpath_str(meta, "name", ""));
	json_object_del(meta, "managedFields");
	json_object_del(meta, "annotations");
	json_object_set(c->objs, key, obj);
}

static void on_sync(void *user, json_t *items)
{
	struct collection *c = user;
	size_t i;
	json_t *v;
	pthread_mutex_lock(&c->owner->lock);
	json_object_clear(c->objs);
	json_array_foreach(items, i, v)
		put(c, v);
	c->synced = true;
	wake(c->owner);
	pthread_mutex_unlock(&c->owner->lock);
}

static void on_event(void *user, const char *type, json_t *obj)
{
	struct collection *c = user;
	char key[600];
	pthread_mutex_lock(&c->owner->lock);
	snprintf(key, sizeof(key), "%s/%s", jpath_str(obj, "metadata.namespace", ""), jpath_str(obj, "metadata.name", ""));
	if (!strcmp(type, "DELETED"))
		json_object_del(c->objs, key);
	else
		put(c, obj);
	wake(c->owner);
	pthread_mutex_unlock(&c->owner->lock);
}

static void on_state(void *user, int connected, const char *why)
{
	struct collection *c = user;
	if (!connected)
		log_limited(LOG_LEVEL_WARN, "services", "%s are not followed: %s", c == &c->owner->services ? "Services" : "EndpointSlices", why);
}

static const struct k8s_informer_ops informer_ops = {.on_sync = on_sync, .on_event = on_event, .on_state = on_state};

/* --- rules and names --- */

static json_t *values(const json_t *objs)
{
	json_t *out = json_array(), *v;
	const char *key;
	json_object_foreach((json_t *)objs, key, v)
		json_array_append(out, v);
	return out;
}

static struct service_model *build(struct services *s)
{
	pthread_mutex_lock(&s->lock);
	own_json json_t *services = values(s->services.objs), *slices = values(s->slices.objs);
	struct service_model *m = service_model_new(services, slices, s->host->node_name);
	pthread_mutex_unlock(&s->lock);
	return m;
}

static int apply_rules(struct services *s, const struct service_model *m)
{
	struct err e = ERR_INIT;
	char *script = service_rules_script(&s->rules, m);
	int rc = script ? 0 : -ENOMEM;
	if (script && s->applied && !strcmp(script, s->applied)) {
		free(script);
		return 0;
	}
	if (!rc)
		rc = service_rules_apply(&s->rules, m, &e);
	if (rc) {
		log_limited(LOG_LEVEL_WARN, "services", "not applied: %s", e.text);
		free(script);
		return rc;
	}
	free(s->applied);
	s->applied = script;
	return 0;
}

static int apply(struct services *s)
{
	struct service_model *m = build(s);
	if (!m)
		return -ENOMEM;
	int rc = apply_rules(s, m);
	if (s->dns)
		dns_set(s->dns, m);
	else
		service_model_free(m);
	return rc;
}

static void *run(void *arg)
{
	struct services *s = arg;
	bool retry = false;
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		if (retry && !s->dirty) {
			struct timespec until;
			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_sec += RETRY_S;
			pthread_cond_timedwait(&s->wake, &s->lock, &until);
		} else if (!s->dirty) {
			pthread_cond_wait(&s->wake, &s->lock);
		}
		if (s->stop || !s->services.synced || !s->slices.synced) {   // half of it would cut connections off
			s->dirty = false;
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		nanosleep(&(struct timespec){.tv_nsec = GATHER_MS * 1000000}, NULL);
		pthread_mutex_lock(&s->lock);
		s->dirty = false;
		pthread_mutex_unlock(&s->lock);
		retry = apply(s) != 0;
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* --- variables --- */

static void set(json_t *env, const char *prefix, const char *suffix, const char *value)
{
	char name[300];
	snprintf(name, sizeof(name), "%.100s%.190s", prefix, suffix);
	json_object_set_new(env, name, json_string(value));
}

static void upper(char *out, size_t size, const char *text)
{
	size_t n = 0;
	for (; text[n] && n + 1 < size; n++)
		out[n] = text[n] == '-' ? '_' : (char)toupper((unsigned char)text[n]);
	out[n] = '\0';
}

static void env_port(json_t *env, const char *prefix, const char *ip, const json_t *port, bool is_first)
{
	char number[16], url[80], name[80], word[80], protocol[8];
	snprintf(number, sizeof(number), "%lld", jpath_int(port, "port", 0));
	upper(word, sizeof(word), jpath_str(port, "name", ""));
	upper(protocol, sizeof(protocol), jpath_str(port, "protocol", "TCP"));
	if (is_first)
		set(env, prefix, "_SERVICE_PORT", number);
	snprintf(name, sizeof(name), "_SERVICE_PORT_%.60s", word);
	if (*word)
		set(env, prefix, name, number);
	for (char *p = strcpy(name, protocol); *p; p++)
		*p = (char)tolower((unsigned char)*p);
	snprintf(url, sizeof(url), "%.7s://%.45s:%.15s", name, ip, number);
	if (is_first)
		set(env, prefix, "_PORT", url);
	static const char *const suffixes[] = {"", "_PROTO", "_PORT", "_ADDR"};
	const char *const what[] = {url, name, number, ip};
	char lower[8];
	snprintf(lower, sizeof(lower), "%.7s", name);
	for (size_t i = 0; i < 4; i++) {
		char suffix[80];
		snprintf(suffix, sizeof(suffix), "_PORT_%.15s_%.7s%s", number, protocol, suffixes[i]);
		set(env, prefix, suffix, i == 1 ? lower : what[i]);
	}
}

static void env_service(json_t *env, const json_t *service)
{
	const char *ip = jpath_str(service, "spec.clusterIP", "");
	char prefix[80];
	uint32_t addr;
	size_t i;
	json_t *port;
	if (!cidr_addr(ip, &addr))
		return;
	upper(prefix, sizeof(prefix), jpath_str(service, "metadata.name", ""));
	set(env, prefix, "_SERVICE_HOST", ip);
	json_array_foreach(jpath_get(service, "spec.ports"), i, port)
		env_port(env, prefix, ip, port, i == 0);
}

int services_env(struct services *s, const char *ns, bool all, json_t *env, struct err *e)
{
	const char *key;
	json_t *v;
	pthread_mutex_lock(&s->lock);
	if (!s->services.synced) {
		pthread_mutex_unlock(&s->lock);
		return err_set(e, EAGAIN, "services have not yet been read at least once, cannot construct envvars");
	}
	env_service(env, json_object_get(s->services.objs, "default/kubernetes"));
	json_object_foreach(s->services.objs, key, v)
		if (all && !strcmp(jpath_str(v, "metadata.namespace", ""), ns))
			env_service(env, v);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* --- life --- */

static void table_name(const char *tag, char out[24])
{
	snprintf(out, 24, "bkh-%.6s-services", tag);
}

int services_remove(const char *tag, struct err *e)
{
	char table[24];
	table_name(tag, table);
	return service_rules_remove(table, e);
}

static int follow(struct services *s, struct collection *c, const char *path, struct err *e)
{
	c->owner = s;
	c->objs = json_object();
	return c->objs ? k8s_informer_start(s->host->api, path, &informer_ops, c, &c->informer, e) : err_sys(e, ENOMEM, "services");
}

/* Servers before 1.21 have the version before. */
static const char *slices_path(const struct host *h)
{
	bool old = k8s_client_call(h->api, "GET", "/apis/discovery.k8s.io/v1", NULL, NULL, 5000, NULL, NULL) == -ENOENT;
	return old ? "/apis/discovery.k8s.io/v1beta1/endpointslices" : "/apis/discovery.k8s.io/v1/endpointslices";
}

int services_start(const struct host *h, const struct services_config *c, struct services **out, struct err *e)
{
	struct services *s = calloc(1, sizeof(*s));
	struct err why = ERR_INIT;
	if (!s)
		return err_sys(e, ENOMEM, "services");
	s->host = h;
	table_name(c->tag, s->table);
	s->rules = (struct service_rules_config){.table = s->table};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	if (h->cluster_dns && c->gateway) {
		cidr_addr(h->cluster_dns, &s->rules.dns_addr);
		cidr_addr(c->gateway, &s->rules.dns_local);
		if (dns_start(c->gateway, h->cluster_domain, &s->dns, &why)) {   // pods run without names too
			log_warn("services", "%s", why.text);
			s->rules.dns_local = 0;
		}
	}
	int rc = pthread_create(&s->thread, NULL, run, s);
	if (rc) {
		dns_stop(s->dns);
		free(s);
		return err_sys(e, rc, "services");
	}
	rc = follow(s, &s->services, "/api/v1/services", e);
	if (!rc)
		rc = follow(s, &s->slices, slices_path(h), e);
	if (rc) {
		services_stop(s);
		return rc;
	}
	*out = s;
	return 0;
}

void services_stop(struct services *s)
{
	if (!s)
		return;
	k8s_informer_stop(s->services.informer);
	k8s_informer_stop(s->slices.informer);
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	dns_stop(s->dns);
	json_decref(s->services.objs);
	json_decref(s->slices.objs);
	free(s->applied);
	free(s);
}
