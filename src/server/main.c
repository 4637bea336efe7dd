// SPDX-License-Identifier: Apache-2.0
// bulkhead-server: the master server. Options, start, stop.
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <gnutls/gnutls.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "server/backup.h"
#include "server/bootstrap.h"
#include "server/controllers/controllers.h"
#include "server/duties.h"
#include "server/etcd_identity.h"
#include "server/http.h"
#include "server/jwt.h"
#include "server/leader.h"
#include "server/pki.h"
#include "server/rbac.h"
#include "server/recorder.h"
#include "server/server.h"
#include "server/store.h"
#include "server/streams.h"
#include "server/watch.h"

static const char usage[] =
	"Usage: bulkhead-server --root DIR [OPTION]...\n"
	"The master server: a Kubernetes API over HTTPS, scheduler and controllers.\n\n"
	"  --root DIR           folder of the store, certificates and kubeconfigs (made if missing)\n"
	"  --listen ADDR:PORT   where to serve (default 0.0.0.0:6443)\n"
	"  --advertise ADDR     address written into kubeconfigs (default 127.0.0.1)\n"
	"  --node-name NAME     node to make certificates for (default: host name)\n"
	"  --node-addr IP       its address (default: the advertised one)\n"
	"  --kubelet-port PORT  port of nodes that report none (default 10250)\n"
	"  --store WHERE        sqlite (default: ROOT/store.db), sqlite=FILE, or etcd=URL,URL,...[,ca=FILE][,cert=FILE,key=FILE]\n"
	"                       [,keep=SECONDS]: shared by several servers; keep: how long etcd keeps old revisions (300)\n"
	"  --restore FILE       fill an empty root and an empty store from a backup, and end\n"
	"  --help, --version\n";

struct options {
	const char *root, *listen, *advertise, *node_name, *node_addr, *kubelet_port, *store, *restore;
};

static void die_usage(const char *why)
{
	fprintf(stderr, "bulkhead-server: %s\n%s", why, usage);
	exit(2);
}

static void parse_options(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{ "root", required_argument, NULL, 'r' }, { "listen", required_argument, NULL, 'l' },
		{ "advertise", required_argument, NULL, 'a' }, { "node-name", required_argument, NULL, 'n' },
		{ "node-addr", required_argument, NULL, 'i' }, { "kubelet-port", required_argument, NULL, 'k' },
		{ "store", required_argument, NULL, 's' }, { "restore", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1)
		switch (c) {
		case 'r': o->root = optarg; break;
		case 'l': o->listen = optarg; break;
		case 'a': o->advertise = optarg; break;
		case 'n': o->node_name = optarg; break;
		case 'i': o->node_addr = optarg; break;
		case 'k': o->kubelet_port = optarg; break;
		case 's': o->store = optarg; break;
		case 'b': o->restore = optarg; break;
		case 'h': fputs(usage, stdout); exit(0);
		case 'v': puts("bulkhead-server " BULKHEAD_VERSION); exit(0);
		default: die_usage("unknown option");
		}
	if (optind < argc)
		die_usage("takes no arguments");
	if (!o->root || !*o->root)
		die_usage("--root DIR is needed");
	if (strcmp(o->store, "sqlite") && strncmp(o->store, "sqlite=", 7) && strncmp(o->store, "etcd=", 5))
		die_usage("--store: must be sqlite, sqlite=FILE or etcd=URL,URL,...");
}

static int parse_port(const char *text, const char *option)
{
	char *end, why[128];
	long port = strtol(text, &end, 10);

	if (*end || port < 1 || port > 65535) {
		snprintf(why, sizeof why, "%s: must be a port from 1 to 65535, not \"%.32s\"", option, text);
		die_usage(why);
	}
	return port;
}

static int make_certificates(const struct server *srv, const char *hostname, struct err *e)
{
	char node_user[300], url[300];
	const struct pki_cert certs[] = {
		{ "server", "kube-apiserver", NULL, { "127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local", srv->advertise, hostname } },
		{ "admin", "kubernetes-admin", "system:masters", { NULL } },
		{ "node", node_user, "system:nodes", { NULL } },
		{ "node-serving", node_user, "system:nodes", { srv->node_name, srv->node_addr, "127.0.0.1" } },
		{ "kubelet-client", "kube-apiserver-kubelet-client", "system:masters", { NULL } },
	};
	int r = pki_ensure_ca(srv->root, e);

	snprintf(node_user, sizeof node_user, "system:node:%s", srv->node_name);
	snprintf(url, sizeof url, strchr(srv->advertise, ':') ? "https://[%s]:%d" : "https://%s:%d", srv->advertise, srv->port);
	for (size_t i = 0; i < sizeof certs / sizeof *certs && !r; i++)
		r = pki_ensure_cert(srv->root, &certs[i], e);
	if (!r)
		r = pki_ensure_sa_key(srv->root, e);
	if (!r)
		r = pki_write_kubeconfig(srv->root, "admin.kubeconfig", url, "kubernetes-admin", "admin", e);
	if (!r)
		r = pki_write_kubeconfig(srv->root, "node.kubeconfig", url, node_user, "node", e);
	return r;
}

static void raise_limits(void)
{
	struct rlimit l;

	if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static void wait_for_signal(const sigset_t *set)
{
	int sig = 0;

	while (sigwait(set, &sig))
		;
	log_info("main", "stopping on signal %d", sig);
}

static const struct unit_ops *const everywhere[] = { &custom_kinds_unit, NULL };   // on each server, not on the leader alone

/* No request may be suspended when the listener stops: end what waits for events or nodes, let commits finish. */
static void stop_serving(struct server *srv, struct http *http)
{
	srv->ready = false;
	srv->stopping = true;
	if (http)
		http_quiesce(http);
	streams_stop(srv->streams);
	while (srv->suspended) {
		watch_set_end_all(store_watches(srv->store));
		usleep(1000);
	}
	if (http)
		http_stop(http);
	streams_free(srv->streams);
}

static int serve(struct server *srv, const char *listen, const sigset_t *signals, struct err *e)
{
	struct duties *duties = duties_new(srv);
	struct leader *leader = NULL;
	struct loop *kinds = NULL;
	struct http *http = NULL;
	int r = srv->rbac && duties ? bootstrap_objects(srv, e) : err_set(e, ENOMEM, "out of memory");

	if (!r)
		r = recorder_start(srv, &srv->recorder, e);
	if (!r)
		r = streams_start(srv->root, &srv->streams, e);
	if (!r)
		r = custom_kinds_load(srv, e);
	if (!r)
		r = loop_start(srv, "kinds", everywhere, &kinds, e);
	if (!r)
		r = leader_start(srv, &duties_ops, duties, &leader, e);
	if (!r)
		r = http_start(srv, listen, &http, e);
	if (!r) {
		srv->ready = true;
		log_info("main", "serving listen=%s root=%s objects=%zu", listen, srv->root, store_count(srv->store));
		wait_for_signal(signals);
	}
	leader_stop(leader);
	loop_stop(kinds);
	stop_serving(srv, http);
	recorder_stop(srv->recorder);
	duties_free(duties);
	return r;
}

static int open_store(struct server *srv, const char *store, struct err *e)
{
	char path[4096];
	int r;

	snprintf(path, sizeof path, "%s/store.db", srv->root);
	if (!strncmp(store, "etcd=", 5))
		r = store_open(&store_etcd_ops, store + 5, &srv->store, e);
	else
		r = store_open(&store_sqlite_ops, strncmp(store, "sqlite=", 7) ? path : store + 7, &srv->store, e);
	return r;
}

static int run(struct server *srv, const struct options *o, const char *hostname, const sigset_t *signals, struct err *e)
{
	char path[4096];
	int r = dir_make(srv->root, 0700, e);

	if (!r && o->restore)
		r = backup_restore_files(o->restore, srv->root, e);
	if (!r && !strncmp(o->store, "etcd=", 5))
		r = etcd_identity(o->store + 5, srv->root, e);
	if (!r)
		r = make_certificates(srv, hostname, e);
	if (!r)
		r = open_store(srv, o->store, e);
	if (r)
		return r;
	if (o->restore) {
		r = backup_restore_objects(o->restore, srv->store, e);
		store_close(srv->store);
		return r;
	}
	snprintf(path, sizeof path, "%s/pki/sa.key", srv->root);
	r = jwt_key_open(path, &srv->token_key, e);
	srv->rbac = rbac_new(srv);
	if (!r)
		r = serve(srv, o->listen, signals, e);
	rbac_free(srv->rbac);
	jwt_key_close(srv->token_key);
	store_close(srv->store);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = { .listen = "0.0.0.0:6443", .advertise = "127.0.0.1", .kubelet_port = "10250", .store = "sqlite" };
	struct server srv = { 0 };
	char hostname[256] = "localhost";
	struct err e = ERR_INIT;
	sigset_t signals;

	umask(077);
	parse_options(argc, argv, &o);
	gethostname(hostname, sizeof hostname - 1);
	srv.root = o.root;
	srv.advertise = o.advertise;
	srv.node_name = o.node_name ? o.node_name : hostname;
	srv.node_addr = o.node_addr ? o.node_addr : o.advertise;
	srv.kubelet_port = parse_port(o.kubelet_port, "--kubelet-port");
	if (!strrchr(o.listen, ':'))
		die_usage("--listen: must be ADDRESS:PORT");
	srv.port = parse_port(strrchr(o.listen, ':') + 1, "--listen");

	log_init("bulkhead-server");
	log_rotate(LOG_ROTATE_BYTES);
	raise_limits();
	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);   // before threads
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);   // before threads: they inherit it
	if (run(&srv, &o, hostname, &signals, &e)) {
		log_error("main", "%s", e.text);
		return 1;
	}
	return 0;
}
