// SPDX-License-Identifier: Apache-2.0
// bulkhead-hostd: the pod VM controller of one host. Starts the parts in order, waits for a signal, stops them in
// reverse. Pods' VMs go on without it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "admin.h"
#include "certs.h"
#include "base/cidr.h"
#include "base/file.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "claims.h"
#include "events.h"
#include "host.h"
#include "image.h"
#include "k8s/client.h"
#include "kubelet_auth.h"
#include "log_collector.h"
#include "netw.h"
#include "node.h"
#include "pager_client.h"
#include "pods.h"
#include "pods_shutdown.h"
#include "prda/metrics.h"
#include "pressure.h"
#include "routes.h"
#include "services.h"
#include "static_pods.h"
#include "streaming.h"
#include "template.h"
#include "vm.h"
#include "volume_store.h"
#include "waiting.h"

#define KUBECONFIG_WAIT_MS 10000

struct options {
	struct host host;
	const char *tag, *pod_cidr, *cluster_cidr, *cni_conf, *cni_bin, *bootstrap, *pager, *manifests;
	bool shutdown, no_templates;
	struct pressure *pressure;
	struct shutdown_plan plan;
};

static const char usage[] =
	"usage: bulkhead-hostd --root DIR [--kubeconfig FILE] [--node-name NAME] [--node-addr IP] [--kubelet-port N]\n"
	"                      [--vmx PROGRAM] [--guest DIR] [--engine qemu|kvm] [--tag TAG] [--pod-cidr CIDR]\n"
	"                      [--cluster-cidr CIDR] [--cni-conf FILE]\n"
	"                      [--bootstrap KUBECONFIG] [--cluster-dns IP] [--cluster-domain NAME] [--vm-uid-base N] [--max-pods N]\n"
	"                      [--templates on|off] [--waiting N] [--pager SOCKET] [--pod-manifest-path DIR]\n"
	"                      [--shutdown-grace PRIORITY=SECONDS,...]\n"
	"       bulkhead-hostd --root DIR --tag TAG --shutdown     end all VMs of DIR, remove its network\n";

static char *default_path(const char *fmt, const char *root)
{
	char *path = NULL;
	if (asprintf(&path, fmt, root) < 0)
		exit(1);
	return path;
}

static unsigned number(const char *name, const char *text, unsigned long max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (*end || !*text || n > max) {
		fprintf(stderr, "bulkhead-hostd: --%s: \"%s\" is not a number from 0 to %lu\n", name, text, max);
		exit(2);
	}
	return (unsigned)n;
}

static bool on_or_off(const char *name, const char *text)
{
	if (strcmp(text, "on") && strcmp(text, "off")) {
		fprintf(stderr, "bulkhead-hostd: --%s is on or off, not \"%s\"\n", name, text);
		exit(2);
	}
	return !strcmp(text, "on");
}

/* Beside this program, as the build and the packages put it. */
static char *sibling(const char *name)
{
	char self[PATH_MAX], *path = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		exit(1);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	if (asprintf(&path, "%s/%s", self, name) < 0)
		exit(1);
	return path;
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"root", 1, 0, 'r'}, {"kubeconfig", 1, 0, 'k'}, {"node-name", 1, 0, 'n'}, {"node-addr", 1, 0, 'a'},
		{"kubelet-port", 1, 0, 'p'}, {"vmx", 1, 0, 'v'}, {"guest", 1, 0, 'g'}, {"engine", 1, 0, 'e'}, {"tag", 1, 0, 't'},
		{"pod-cidr", 1, 0, 'c'}, {"cni-conf", 1, 0, 'C'}, {"cni-bin", 1, 0, 'B'}, {"cluster-cidr", 1, 0, 'Q'},
		{"bootstrap", 1, 0, 'b'}, {"cluster-dns", 1, 0, 'd'}, {"cluster-domain", 1, 0, 'D'}, {"vm-uid-base", 1, 0, 'u'},
		{"max-pods", 1, 0, 'm'}, {"templates", 1, 0, 'T'}, {"waiting", 1, 0, 'W'}, {"pager", 1, 0, 'P'}, {"shutdown", 0, 0, 'S'},
		{"pod-manifest-path", 1, 0, 'M'}, {"shutdown-grace", 1, 0, 'G'},
		{"help", 0, 0, 'h'}, {0, 0, 0, 0}};
	static char hostname[256];
	gethostname(hostname, sizeof(hostname) - 1);
	*o = (struct options){.host = {.node_name = hostname, .node_addr = "127.0.0.1", .kubelet_port = 10250, .engine = "qemu",
				       .cluster_domain = "cluster.local", .vm_uid_base = 700000, .max_pods = 110, .waiting_count = 1},
			      .tag = "main", .cni_bin = "/usr/lib/cni"};
	struct host *h = &o->host;
	const char *grace = SHUTDOWN_DEFAULT;
	struct err e = ERR_INIT;
	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (c) {
		case 'r': h->root = optarg; break;
		case 'k': h->kubeconfig = optarg; break;
		case 'n': h->node_name = optarg; break;
		case 'a': h->node_addr = optarg; break;
		case 'p': h->kubelet_port = (uint16_t)number("kubelet-port", optarg, 65535); break;
		case 'v': h->vmx_path = optarg; break;
		case 'g': h->guest_dir = optarg; break;
		case 'e': h->engine = optarg; break;
		case 't': o->tag = optarg; break;
		case 'c': o->pod_cidr = optarg; break;
		case 'b': o->bootstrap = optarg; break;
		case 'Q': o->cluster_cidr = optarg; break;
		case 'C': o->cni_conf = optarg; break;
		case 'B': o->cni_bin = optarg; break;
		case 'd': h->cluster_dns = optarg; break;
		case 'D': h->cluster_domain = optarg; break;
		case 'u': h->vm_uid_base = number("vm-uid-base", optarg, 0x7fff0000); break;
		case 'm': h->max_pods = number("max-pods", optarg, 4000); break;
		case 'T': o->no_templates = !on_or_off("templates", optarg); break;
		case 'W': h->waiting_count = number("waiting", optarg, WAITING_MAX); break;
		case 'P': o->pager = optarg; break;
		case 'M': o->manifests = optarg; break;
		case 'G': grace = optarg; break;
		case 'S': o->shutdown = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (!h->root || optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
	if (shutdown_plan_parse(grace, &o->plan, &e)) {
		fprintf(stderr, "bulkhead-hostd: --shutdown-grace: %s\n", e.text);
		exit(2);
	}
	h->plan = &o->plan;
	if (!h->kubeconfig)
		h->kubeconfig = default_path("%s/node.kubeconfig", h->root);
	if (!h->vmx_path)
		h->vmx_path = sibling("bulkhead-vmx");
	h->share_path = sibling("bulkhead-share");
	if (!h->guest_dir)
		h->guest_dir = sibling("../guest");
}

/* One hostd per ROOT: the lock is released by the kernel with the process, so it is never stale. */
static int lock_root(const char *root, struct err *e)
{
	char *path = default_path("%s/hostd.lock", root);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		return err_sys(e, errno, "another bulkhead-hostd works in %s", root);
	return fd;
}

/* The server makes the node's kubeconfig at its first start, which may be going on. */
static void await_kubeconfig(const char *path)
{
	for (int i = 0; i < KUBECONFIG_WAIT_MS / 10 && access(path, R_OK); i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

/* The range of this host's pods: the operator's, the one of the last time, or 10.88.0.0/24 for a host that nobody gives one. */
static void choose_range(struct options *o)
{
	own_buf struct buf text = BUF_INIT;
	char *path = default_path("%s/pod-cidr", o->host.root);
	if (!o->pod_cidr && !file_read(path, 64, &text, NULL) && text.len)
		o->pod_cidr = strdup(text.data);
	if (!o->pod_cidr && !o->bootstrap)
		o->pod_cidr = "10.88.0.0/24";
	free(path);
	o->host.pod_cidr = o->pod_cidr;
}

/* What a host that has joined learns from the API: its range, the resolver's address. */
static int learn(struct options *o, struct err *e)
{
	char range[64], *path = default_path("%s/pod-cidr", o->host.root);
	own_json json_t *dns = NULL;
	int rc = node_register(&o->host, range, e);
	if (!rc && o->pod_cidr && strcmp(o->pod_cidr, range))
		log_warn("main", "the API gives this node the pod range %s, it had %s", range, o->pod_cidr);
	if (!rc) {
		o->host.pod_cidr = o->pod_cidr = strdup(range);
		rc = file_write_atomic(path, range, strlen(range), 0644, e);
	}
	free(path);
	if (!rc && !o->host.cluster_dns &&
	    !k8s_client_call(o->host.api, "GET", "/api/v1/namespaces/kube-system/services/kube-dns", NULL, NULL, 10000, &dns, NULL)) {
		const char *ip = jpath_str(dns, "spec.clusterIP", "");
		o->host.cluster_dns = strcmp(ip, "None") && *ip ? strdup(ip) : NULL;
	}
	return rc ? rc : certs_serving(&o->host, e);
}

static void reload(void *streaming)
{
	struct err e = ERR_INIT;
	if (streaming_reload(streaming, &e))
		log_warn("main", "serving with the old certificate: %s", e.text);
}

/* The bridge has the first address of the host's range. */
static int start_services(struct options *o, struct err *e)
{
	char gateway[CIDR_TEXT];
	struct cidr range;
	struct services_config c = {.tag = o->tag};
	if (!o->cni_conf && !cidr_parse(o->pod_cidr, &range))
		c.gateway = cidr_addr_text(range.base + 1, gateway);
	return services_start(&o->host, &c, &o->host.services, e);
}

struct parts {                  // what main stops again
	struct node *node;
	struct admin *admin;
	struct streaming *streaming;
	struct kubelet_auth *auth;
	struct certs *certs;
	struct routes *routes;
	struct static_pods *static_pods;
	char *cert, *key, *ca;
};

static int start_streaming(struct options *o, struct parts *p, struct err *e)
{
	struct host *h = &o->host;
	p->cert = default_path(o->bootstrap ? "%s/pki/serving.pem" : "%s/pki/node-serving.crt", h->root);
	p->key = default_path(o->bootstrap ? "%s/pki/serving.pem" : "%s/pki/node-serving.key", h->root);
	p->ca = default_path("%s/pki/ca.crt", h->root);
	int rc = kubelet_auth_new(h, &p->auth, e);
	struct streaming_config sc = {.listen_addr = h->node_addr, .port = h->kubelet_port, .cert_path = p->cert, .key_path = p->key,
				      .client_ca_path = p->ca, .ops = &pods_streaming_ops, .ctx = h->pods, .auth = &kubelet_auth_ops,
				      .auth_ctx = p->auth};
	if (!rc)
		rc = streaming_start(&sc, &p->streaming, e);
	if (!rc && o->bootstrap)
		rc = certs_start(h, reload, p->streaming, &p->certs, e);
	return rc;
}

/* Whom this host talks to, and as whom. */
static int connect_api(struct options *o, struct err *e)
{
	struct host *h = &o->host;
	int rc = dir_make(h->root, 0755, e);
	if (!rc && (rc = lock_root(h->root, e)) > 0)
		rc = 0;
	if (!rc && o->bootstrap) {
		await_kubeconfig(o->bootstrap);
		rc = certs_client(h, o->bootstrap, e);
	}
	if (!rc)
		await_kubeconfig(h->kubeconfig);
	return rc ? rc : k8s_client_open(h->kubeconfig, &h->api, e);
}

static int start_network(struct options *o, struct parts *p, struct err *e)
{
	struct host *h = &o->host;
	struct netw_config net = {.root = h->root, .tag = o->tag, .pod_cidr = o->pod_cidr, .cluster_cidr = o->cluster_cidr,
				  .cni_bin = o->cni_bin, .cni_conf = o->cni_conf};
	int rc = netw_open(&net, &h->net, e);
	if (!rc)
		rc = start_services(o, e);
	return rc ? rc : routes_start(h, o->pod_cidr, &p->routes, e);
}

/* Those that an earlier hostd left, those of the folder, those of the API: in this order, each may know those before. */
static int start_pods(struct options *o, struct parts *p, struct err *e)
{
	own_free char *dir = default_path("%s/manifests", o->host.root);
	pods_adopt(o->host.pods);
	int rc = static_pods_start(&o->host, o->manifests ? o->manifests : dir, &p->static_pods, e);
	return rc ? rc : pods_watch(o->host.pods, e);
}

static int start(struct options *o, struct parts *p, struct err *e)
{
	struct host *h = &o->host;
	int rc = connect_api(o, e);
	if (!rc)
		rc = image_store_open(h->root, &h->images, e);
	if (!rc && o->bootstrap)
		rc = learn(o, e);
	if (!rc)
		rc = start_network(o, p, e);
	if (!rc)
		rc = events_start(h->api, h->node_name, &h->events, e);
	if (!rc)
		rc = log_collector_start(&h->logs, e);
	if (!rc && o->pager)
		rc = pager_client_start(o->pager, &h->pager, e);
	if (!rc)
		rc = volume_store_open(h->root, &h->volumes, e);
	if (!rc)
		rc = pods_open(h, &h->pods, e);
	if (!rc && !o->no_templates)
		rc = templates_open(h, &h->templates, e);
	if (!rc)
		rc = waiting_start(h, h->waiting_count, &h->waiting, e);
	if (!rc)
		rc = start_streaming(o, p, e);
	if (!rc)
		rc = admin_start(h, &p->admin, e);
	if (!rc)
		rc = start_pods(o, p, e);
	if (!rc)
		rc = claims_start(h, &h->claims, e);
	if (!rc)
		rc = pressure_start(h, &o->pressure, e);
	if (!rc)
		rc = node_start(h, &p->node, e);
	h->node = p->node;
	return rc;
}

/* The VMs in the folders of ROOT/what: of pods, and of a template that was being made. */
static void end_vms(const char *root, const char *what)
{
	own_free char *dir_path = NULL;
	if (asprintf(&dir_path, "%s/%s", root, what) < 0)
		exit(1);
	own_dir DIR *d = opendir(dir_path);
	struct dirent *ent;
	while (d && (ent = readdir(d))) {
		own_free char *dir = NULL;
		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, "..") || asprintf(&dir, "%s/%s/vm", dir_path, ent->d_name) < 0)
			continue;
		vm_end_leftover(dir);
	}
}

static int shut_down(struct options *o)
{
	struct err e = ERR_INIT;
	struct netw *n = NULL;
	struct netw_config c = {.root = o->host.root, .tag = o->tag, .pod_cidr = o->pod_cidr, .cni_bin = o->cni_bin, .cni_conf = o->cni_conf};
	int lock = lock_root(o->host.root, &e);
	if (lock < 0) {
		log_error("main", "%s", e.text);
		return 1;
	}
	end_vms(o->host.root, "pods");
	end_vms(o->host.root, "templates");
	end_vms(o->host.root, "waiting");
	routes_remove(o->host.root, &e);
	if (netw_open(&c, &n, &e) || netw_purge(n, &e)) {
		log_error("main", "network not removed: %s", e.text);
		return 1;
	}
	netw_close(n);
	if (services_remove(o->tag, &e)) {
		log_error("main", "rules of Services not removed: %s", e.text);
		return 1;
	}
	return 0;
}

/* Until a signal ends it, or until the pods have ended when one asked for that. */
static void serve(struct options *o, struct parts *p, const sigset_t *set)
{
	struct err e = ERR_INIT;
	const struct timespec often = {.tv_nsec = 100000000}, seldom = {.tv_sec = 3600};
	bool ending = false;
	while (!ending || !pods_shutdown_done(o->host.pods)) {
		int sig = sigtimedwait(set, NULL, ending ? &often : &seldom);
		if (sig == SIGTERM || sig == SIGINT)
			break;
		if (sig == SIGHUP && p->certs)
			certs_rotate(p->certs);
		if (sig == SIGPWR && !(ending = !pods_shutdown_begin(o->host.pods, &o->plan, &e)))
			log_error("main", "%s", e.text);
		if (sig == SIGPWR)
			node_poke(p->node);
	}
	log_info("main", "stopping%s", ending ? "" : ", VMs go on");
}

int main(int argc, char **argv)
{
	struct options o;
	struct err e = ERR_INIT;
	struct parts p = {0};
	struct metrics *metrics = NULL;
	sigset_t set;

	mallopt(M_ARENA_MAX, 2);   // a thread per pod must not mean a heap per pod
	mallopt(M_MMAP_THRESHOLD, 128 << 10);   // large buffers go back when they are freed: templates and images take some
	mallopt(M_TRIM_THRESHOLD, 128 << 10);
	log_init("hostd");
	log_rotate(LOG_ROTATE_BYTES);
	parse(argc, argv, &o);
	choose_range(&o);
	if (o.shutdown)
		return shut_down(&o);
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPWR);   // end the pods first
	sigaddset(&set, SIGHUP);   // new certificates, now
	pthread_sigmask(SIG_BLOCK, &set, NULL);   // before any thread; helpers unblock it for their children
	o.host.metrics_dir = default_path("%s/run/metrics", o.host.root);
	if (metrics_open(o.host.metrics_dir, "hostd", NULL, &metrics, &e))   // before threads
		log_warn("main", "%s", e.text);
	curl_global_init(CURL_GLOBAL_DEFAULT);

	if (start(&o, &p, &e)) {
		log_error("main", "%s", e.text);
		return 1;
	}
	log_info("main", "ready root=%s node=%s engine=%s", o.host.root, o.host.node_name, o.host.engine);
	serve(&o, &p, &set);
	certs_stop(p.certs);
	admin_stop(p.admin);       // it asks the node
	node_stop(p.node);
	streaming_stop(p.streaming);
	kubelet_auth_free(p.auth);
	pressure_stop(o.pressure);
	static_pods_stop(p.static_pods);
	claims_stop(take(o.host.claims));
	waiting_stop(o.host.waiting);   // these do not go on
	pods_close(o.host.pods);
	waiting_free(o.host.waiting);
	templates_close(o.host.templates);
	volume_store_close(o.host.volumes);
	services_stop(o.host.services);
	routes_stop(p.routes);
	log_collector_stop(o.host.logs);
	events_stop(o.host.events);
	pager_client_stop(o.host.pager);
	netw_close(o.host.net);
	image_store_close(o.host.images);
	k8s_client_close(o.host.api);
	metrics_close(metrics);
	return 0;
}
