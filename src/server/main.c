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
#include "server/audit.h"
#include "server/backup.h"
#include "server/bootstrap.h"
#include "server/controllers/controllers.h"
#include "server/duties.h"
#include "server/etcd_identity.h"
#include "server/fair.h"
#include "server/http.h"
#include "server/jwt.h"
#include "server/leader.h"
#include "server/metrics.h"
#include "server/pki.h"
#include "server/pump.h"
#include "server/rbac.h"
#include "server/recorder.h"
#include "server/server.h"
#include "server/service_alloc.h"
#include "server/store.h"
#include "server/streams.h"
#include "server/watch.h"

#define PUMP_THREADS 2   // write to watchers
#define PUMP_ANSWERS_MAX 65536

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
	"  --pod-listen ADDR:PORT  serve pods there too, where --listen is an address of this machine alone; may not exist yet\n"
	"  --service-cidr CIDR  addresses of Services (default 10.96.0.0/12)\n"
	"  --cluster-cidr CIDR  addresses of pods, divided among the nodes (default 10.88.0.0/16)\n"
	"  --node-prefix N      length of a node's prefix in it (default 24)\n"
	"  --audit-log FILE     write down who asked for what, one audit.k8s.io/v1 Event a line\n"
	"  --audit-policy FILE  audit.k8s.io/v1 Policy: of which requests, and how much (default: metadata of all but health checks)\n"
	"  --audit-max-mib N    start a new file at this size (default 100)\n"
	"  --audit-keep N       old files to keep: FILE.1, FILE.2, ... (default 5)\n"
	"  --user-share PERCENT of the time of the HTTP threads that users together may have, each a fair part; 100: no limit\n"
	"                       (default 80)\n"
	"  --help, --version\n";

struct options {
	const char *root, *listen, *advertise, *node_name, *node_addr, *kubelet_port, *store, *restore;
	const char *pod_listen, *service_cidr, *cluster_cidr, *node_prefix;
	const char *audit_log, *audit_policy, *audit_max_mib, *audit_keep, *user_share;
	unsigned share;
	struct audit_options audit;
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
		{ "pod-listen", required_argument, NULL, 'P' }, { "service-cidr", required_argument, NULL, 'S' },
		{ "cluster-cidr", required_argument, NULL, 'C' }, { "node-prefix", required_argument, NULL, 'N' },
		{ "audit-log", required_argument, NULL, 'A' },
		{ "audit-policy", required_argument, NULL, 'p' }, { "audit-max-mib", required_argument, NULL, 'm' },
		{ "user-share", required_argument, NULL, 'u' },
		{ "audit-keep", required_argument, NULL, 'K' },
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
		case 'P': o->pod_listen = optarg; break;
		case 'S': o->service_cidr = optarg; break;
		case 'C': o->cluster_cidr = optarg; break;
		case 'N': o->node_prefix = optarg; break;
		case 'A': o->audit_log = optarg; break;
		case 'p': o->audit_policy = optarg; break;
		case 'm': o->audit_max_mib = optarg; break;
		case 'K': o->audit_keep = optarg; break;
		case 'u': o->user_share = optarg; break;
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

static unsigned long parse_number(const char *text, const char *option, unsigned long min, unsigned long max)
{
	char *end, why[128];
	unsigned long n = strtoul(text, &end, 10);

	if (*text >= '0' && *text <= '9' && !*end && n >= min && n <= max)
		return n;
	snprintf(why, sizeof why, "%s: must be a number from %lu to %lu, not \"%.32s\"", option, min, max, text);
	die_usage(why);
	return 0;
}

static void parse_audit(struct options *o)
{
	if ((o->audit_policy || strcmp(o->audit_max_mib, "100") || strcmp(o->audit_keep, "5")) && !o->audit_log)
		die_usage("--audit-policy, --audit-max-mib and --audit-keep need --audit-log FILE");
	o->audit = (struct audit_options){
		.path = o->audit_log, .policy = o->audit_policy, .keep = (unsigned)parse_number(o->audit_keep, "--audit-keep", 0, 1000),
		.max_bytes = (uint64_t)parse_number(o->audit_max_mib, "--audit-max-mib", 1, 1 << 20) << 20,
	};
}

static void parse_range(const char *text, const char *option, unsigned longest, struct cidr *out)
{
	char why[128];

	if (!cidr_parse(text, out) && out->prefix >= 8 && out->prefix <= longest)
		return;
	snprintf(why, sizeof why, "%s: must be an IPv4 range from /8 to /%u such as 10.96.0.0/16, not \"%.32s\"", option, longest, text);
	die_usage(why);
}

/* The address part of "ADDR:PORT". */
static const char *address_of(const char *listen, char out[64])
{
	const char *colon = listen ? strrchr(listen, ':') : NULL;

	snprintf(out, 64, "%.*s", colon ? (int)(colon - listen) : 0, listen ? listen : "");
	return out;
}

static void parse_ranges(const struct options *o, struct server *srv)
{
	char *end;
	unsigned long prefix = strtoul(o->node_prefix, &end, 10);

	parse_range(o->service_cidr, "--service-cidr", 28, &srv->service_range);
	parse_range(o->cluster_cidr, "--cluster-cidr", 29, &srv->pod_range);
	if (*end || prefix < srv->pod_range.prefix || prefix > 29)
		die_usage("--node-prefix: must be from the prefix of --cluster-cidr to 29");
	srv->node_prefix = (unsigned)prefix;
}

/* Pods reach the server where it listens for them, or where clients do unless that is this machine's own address. */
static char *endpoint_of(const struct options *o, const struct server *srv)
{
	char *out = NULL;
	uint32_t addr;

	if (o->pod_listen)
		return strdup(o->pod_listen);
	if (!cidr_addr(srv->advertise, &addr) || addr >> 24 == 127 || asprintf(&out, "%s:%d", srv->advertise, srv->port) < 0)
		return NULL;
	return out;
}

static int make_certificates(const struct server *srv, const char *hostname, struct err *e)
{
	char node_user[300], url[300], service_addr[CIDR_TEXT], endpoint[64];
	const struct pki_cert certs[] = {
		{ "server", "kube-apiserver", NULL, { "127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local", srv->advertise, hostname,
			cidr_addr_text(srv->service_range.base + SERVICE_ADDR_API, service_addr),
			srv->endpoint ? address_of(srv->endpoint, endpoint) : NULL } },
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

static const struct unit_ops *const everywhere[] = { &custom_kinds_unit, &server_lease_unit, NULL };   // on each server, not on the leader alone

/* No request may be suspended when the listener stops: end what waits for events or nodes, let commits finish. */
static void stop_serving(struct server *srv, struct http *http, struct http *pod_http)
{
	srv->ready = false;
	srv->stopping = true;
	if (http)
		http_quiesce(http);
	if (pod_http)
		http_quiesce(pod_http);
	metrics_stop(srv->metrics);
	fair_stop(srv->fair);
	streams_stop(srv->streams);
	pump_stop(srv->pump);
	watch_set_end_all(store_watches(srv->store));
	while (srv->suspended)
		usleep(1000);
	if (http)
		http_stop(http);
	if (pod_http)
		http_stop(pod_http);
	pump_free(srv->pump);
	streams_free(srv->streams);
	metrics_free(srv->metrics);
	fair_free(srv->fair);
}

static int serve(struct server *srv, const struct options *o, const sigset_t *signals, struct err *e)
{
	struct duties *duties = duties_new(srv);
	struct leader *leader = NULL;
	struct loop *kinds = NULL;
	struct http *http = NULL, *pod_http = NULL;
	int r = srv->rbac && duties ? bootstrap_objects(srv, e) : err_set(e, ENOMEM, "out of memory");

	if (!r)
		r = audit_open(&o->audit, &srv->audit, e);
	if (!r)
		r = fair_start(o->share, &srv->fair, e);
	if (!r)
		r = recorder_start(srv, &srv->recorder, e);
	if (!r)
		r = streams_start(srv->root, &srv->streams, e);
	if (!r)
		r = pump_start(PUMP_THREADS, PUMP_ANSWERS_MAX, &srv->suspended, &srv->pump, e);
	if (!r)
		r = metrics_start(srv, &srv->metrics, e);
	if (!r)
		r = custom_kinds_load(srv, e);
	if (!r)
		r = loop_start(srv, "kinds", everywhere, &kinds, e);
	if (!r)
		r = leader_start(srv, &duties_ops, duties, &leader, e);
	if (!r)
		r = http_start(srv, o->listen, &http, e);
	if (!r && o->pod_listen)
		r = http_start(srv, o->pod_listen, &pod_http, e);
	if (!r) {
		srv->ready = true;
		log_info("main", "serving listen=%s root=%s objects=%zu", o->listen, srv->root, store_count(srv->store));
		wait_for_signal(signals);
	}
	leader_stop(leader);
	loop_stop(kinds);
	stop_serving(srv, http, pod_http);
	recorder_stop(srv->recorder);
	audit_close(srv->audit);
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
		r = serve(srv, o, signals, e);
	rbac_free(srv->rbac);
	jwt_key_close(srv->token_key);
	store_close(srv->store);
	return r;
}

int main(int argc, char **argv)
{
	struct options o = { .listen = "0.0.0.0:6443", .advertise = "127.0.0.1", .kubelet_port = "10250", .store = "sqlite",
			     .service_cidr = "10.96.0.0/12", .cluster_cidr = "10.88.0.0/16", .node_prefix = "24", .audit_max_mib = "100", .audit_keep = "5",
			     .user_share = "80" };
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
	if (o.pod_listen && !strrchr(o.pod_listen, ':'))
		die_usage("--pod-listen: must be ADDRESS:PORT");
	parse_ranges(&o, &srv);
	parse_audit(&o);
	o.share = (unsigned)parse_number(o.user_share, "--user-share", 1, 100);
	srv.endpoint = endpoint_of(&o, &srv);

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
