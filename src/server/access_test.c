// SPDX-License-Identifier: Apache-2.0
// Who may do what, over a real store: RBAC, hosts, tokens of service accounts.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/jpath.h"
#include "base/own.h"
#include "server/auth.h"
#include "server/node_auth.h"
#include "server/obj.h"
#include "server/rbac.h"
#include "server/scale.h"
#include "server/service_token.h"
#include "server/status.h"
#include "server/test_place.h"

#define RBAC "rbac.authorization.k8s.io"

static bool may(struct test_place *p, const char *user, const char *group, const char *verb, const char *api_group, const char *resource,
		const char *ns, const char *name)
{
	struct identity *who = identity_new(user, "", (const char *const[]){ group, NULL });
	char plain[64];
	const char *slash = strchr(resource, '/');
	struct auth_ask a = { .verb = verb, .group = api_group, .resource = plain, .subresource = slash ? slash + 1 : "", .ns = ns,
			      .name = name };
	bool yes;

	snprintf(plain, sizeof plain, "%.*s", (int)strcspn(resource, "/"), resource);
	yes = auth_allowed(&p->srv, who, &a);
	identity_free(who);
	return yes;
}

static void test_rbac(void **state)
{
	struct test_place *p = *state;

	assert_true(may(p, "x", "system:masters", "delete", "", "nodes", "", "n"));
	assert_false(may(p, "ann", NULL, "get", "", "pods", "default", "a"));
	test_make(p, RBAC, "rolebindings", "default", "{'metadata':{'name':'v'},'roleRef':{'apiGroup':'" RBAC "','kind':'ClusterRole',"
	     "'name':'view'},'subjects':[{'kind':'User','apiGroup':'" RBAC "','name':'ann'}]}");
	assert_true(may(p, "ann", NULL, "get", "", "pods", "default", "a"));       // at once
	assert_true(may(p, "ann", NULL, "get", "", "pods/log", "default", "a"));
	assert_false(may(p, "ann", NULL, "get", "", "pods/exec", "default", "a"));
	assert_false(may(p, "ann", NULL, "get", "", "secrets", "default", "a"));
	assert_false(may(p, "ann", NULL, "get", "", "pods", "kube-system", "a"));
	assert_false(may(p, "ann", NULL, "list", "", "pods", "", ""));
	assert_false(may(p, "bob", NULL, "get", "", "pods", "default", "a"));
	test_make(p, RBAC, "roles", "default", "{'metadata':{'name':'one'},'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['secrets'],"
	     "'resourceNames':['s']}]}");
	test_make(p, RBAC, "rolebindings", "default", "{'metadata':{'name':'one'},'roleRef':{'apiGroup':'" RBAC "','kind':'Role','name':'one'},"
	     "'subjects':[{'kind':'ServiceAccount','name':'sa','namespace':'default'},{'kind':'Group','apiGroup':'" RBAC "','name':'g'}]}");
	assert_true(may(p, "carl", "g", "get", "", "secrets", "default", "s"));
	assert_true(may(p, "system:serviceaccount:default:sa", NULL, "get", "", "secrets", "default", "s"));
	assert_false(may(p, "system:serviceaccount:default:sb", NULL, "get", "", "secrets", "default", "s"));
	assert_false(may(p, "carl", "g", "get", "", "secrets", "default", "t"));
	assert_false(may(p, "carl", "g", "list", "", "secrets", "default", ""));
}

/* A ClusterRole of the administrator's becomes part of view by its label. */
static void test_aggregation(void **state)
{
	struct test_place *p = *state;

	test_make(p, RBAC, "clusterrolebindings", "", "{'metadata':{'name':'d'},'roleRef':{'apiGroup':'" RBAC "','kind':'ClusterRole',"
	     "'name':'view'},'subjects':[{'kind':'User','apiGroup':'" RBAC "','name':'dora'}]}");
	assert_false(may(p, "dora", NULL, "get", "example.com", "things", "default", "a"));
	test_make(p, RBAC, "clusterroles", "", "{'metadata':{'name':'things','labels':{'" RBAC "/aggregate-to-view':'true'}},'rules':[{'verbs':"
	     "['get'],'apiGroups':['example.com'],'resources':['*']}]}");
	assert_true(may(p, "dora", NULL, "get", "example.com", "things", "default", "a"));
	assert_true(may(p, "dora", NULL, "get", "example.com", "things/scale", "default", "a"));
	assert_false(may(p, "dora", NULL, "update", "example.com", "things", "default", "a"));
}

static int grant(struct test_place *p, const char *user, const char *plural, const char *text)
{
	struct identity *who = identity_new(user, "", (const char *const[]){ NULL });
	own_json json_t *j = test_parse(text), *s = rbac_admit(p->srv.rbac, who, k8s_kind_find(RBAC, "v1", plural), j, NULL);

	identity_free(who);
	return s ? status_code(s) : 0;
}

static void test_nobody_gives_what_he_has_not(void **state)
{
	struct test_place *p = *state;

	test_make(p, RBAC, "rolebindings", "default", "{'metadata':{'name':'e'},'roleRef':{'apiGroup':'" RBAC "','kind':'ClusterRole',"
	     "'name':'admin'},'subjects':[{'kind':'User','apiGroup':'" RBAC "','name':'eve'}]}");
	assert_true(may(p, "eve", NULL, "create", RBAC, "rolebindings", "default", ""));
	assert_int_equal(grant(p, "eve", "roles", "{'metadata':{'name':'r','namespace':'default'},'rules':[{'verbs':['get','list'],"
			       "'apiGroups':[''],'resources':['pods','secrets']}]}"), 0);
	assert_int_equal(grant(p, "eve", "roles", "{'metadata':{'name':'r','namespace':'default'},'rules':[{'verbs':['*'],"
			       "'apiGroups':[''],'resources':['pods']}]}"), 403);
	assert_int_equal(grant(p, "eve", "roles", "{'metadata':{'name':'r','namespace':'kube-system'},'rules':[{'verbs':['get'],"
			       "'apiGroups':[''],'resources':['pods']}]}"), 403);
	assert_int_equal(grant(p, "eve", "rolebindings", "{'metadata':{'name':'r','namespace':'default'},'roleRef':{'kind':'ClusterRole',"
			       "'name':'cluster-admin'}}"), 403);
	assert_int_equal(grant(p, "eve", "rolebindings", "{'metadata':{'name':'r','namespace':'default'},'roleRef':{'kind':'ClusterRole',"
			       "'name':'edit'}}"), 0);
}

static void test_node_pods(void **state)
{
	static const struct { const char *pod, *why; } tries[] = {
		{ "{'metadata':{'name':'a'},'spec':{'nodeName':'one'}}", "can only create mirror pods" },
		{ "{'metadata':{'name':'a','annotations':{'kubernetes.io/config.mirror':'x'}},'spec':{'nodeName':'two'}}", "set to itself" },
		{ "{'metadata':{'name':'a','annotations':{'kubernetes.io/config.mirror':'x'}},'spec':{'nodeName':'one','containers':[{'name':'c',"
		  "'envFrom':[{'secretRef':{'name':'s'}}]}]}}", "refers to other objects (secretRef)" },
		{ "{'metadata':{'name':'a','annotations':{'kubernetes.io/config.mirror':'x'}},'spec':{'nodeName':'one','serviceAccountName':'default'}}",
		  "refers to other objects (serviceAccountName)" },
		{ "{'metadata':{'name':'a','annotations':{'kubernetes.io/config.mirror':'x'}},'spec':{'nodeName':'one','serviceAccountName':'',"
		  "'containers':[{'name':'c','image':'i'}]}}", NULL },
	};
	struct identity *who = identity_exact("system:node:one", "", (const char *[]){ "system:nodes", NULL });
	const struct k8s_kind *pods = k8s_kind_find("", "v1", "pods");

	(void)state;
	for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
		char *text = strdup(tries[i].pod);
		for (char *c = text; *c; c++)
			*c = *c == '\'' ? '"' : *c;
		own_json json_t *pod = json_loads(text, 0, NULL), *s = node_auth_admit(who, pods, pod, true);
		assert_non_null(pod);
		if (tries[i].why)
			assert_non_null(strstr(jpath_str(s, "message", ""), tries[i].why));
		else
			assert_null(s);
		free(text);
	}
	identity_free(who);
}

static void test_node(void **state)
{
	struct test_place *p = *state;
	const char *n1 = "system:node:n1", *nodes = "system:nodes";

	test_make(p, "", "pods", "default", "{'metadata':{'name':'mine'},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i','env':[{"
	     "'name':'A','valueFrom':{'secretKeyRef':{'name':'s1','key':'k'}}}]}],'volumes':[{'name':'v','configMap':{'name':'m1'}},"
	     "{'name':'w','persistentVolumeClaim':{'claimName':'c1'}},{'name':'x','projected':{'sources':[{'secret':{'name':'s2'}}]}}]}}");
	test_make(p, "", "pods", "default", "{'metadata':{'name':'other'},'spec':{'nodeName':'n2','containers':[{'name':'c','image':'i'}],"
	     "'volumes':[{'name':'v','secret':{'secretName':'s3'}}]}}");
	assert_true(may(p, n1, nodes, "get", "", "secrets", "default", "s1"));
	assert_true(may(p, n1, nodes, "get", "", "secrets", "default", "s2"));
	assert_true(may(p, n1, nodes, "get", "", "configmaps", "default", "m1"));
	assert_true(may(p, n1, nodes, "get", "", "configmaps", "default", "kube-root-ca.crt"));   // of the token's volume
	assert_true(may(p, n1, nodes, "get", "", "persistentvolumeclaims", "default", "c1"));
	assert_false(may(p, n1, nodes, "get", "", "secrets", "default", "m1"));
	assert_false(may(p, n1, nodes, "get", "", "secrets", "default", "s3"));
	assert_false(may(p, n1, nodes, "get", "", "secrets", "kube-system", "s1"));
	assert_false(may(p, n1, nodes, "list", "", "secrets", "default", ""));
	assert_true(may(p, "system:node:n2", nodes, "get", "", "secrets", "default", "s3"));
	assert_true(may(p, n1, nodes, "patch", "", "pods/status", "default", "mine"));
	assert_false(may(p, n1, nodes, "patch", "", "pods/status", "default", "other"));
	assert_false(may(p, n1, nodes, "delete", "", "pods", "default", "other"));
	assert_true(may(p, n1, nodes, "patch", "", "nodes/status", "", "n1"));
	assert_false(may(p, n1, nodes, "patch", "", "nodes/status", "", "n2"));
	assert_false(may(p, n1, nodes, "update", "coordination.k8s.io", "leases", "kube-node-lease", "n2"));
	assert_false(may(p, "n1", nodes, "get", "", "secrets", "default", "s1"));
}

static char *sign(struct test_place *p, const char *claims)
{
	own_json json_t *j = test_parse(claims);

	return jwt_sign(p->srv.token_key, j);
}

static const char *refused(struct test_place *p, const char *claims)
{
	own_free char *token = sign(p, claims);
	const char *why;
	struct identity *who = service_token_identity(&p->srv, token, NULL, NULL, &why);

	if (who)
		fail_msg("accepted: %s", claims);
	return why;
}

static void test_tokens(void **state)
{
	struct test_place *p = *state;
	own_json json_t *account = NULL;
	own_obj struct obj *o = NULL;
	own_free char *token = NULL;
	char key[REG_KEY_MAX], claims[800];
	const char *why, *uid, *form = "{'aud':['%s'],'iss':'" TOKEN_ISSUER "','exp':%lld,'nbf':1,'sub':'system:serviceaccount:default:%s',"
				       "'kubernetes.io':{'namespace':'default','serviceaccount':{'name':'%s','uid':'%s'}%s}}";
	struct identity *who;

	test_make(p, "", "serviceaccounts", "default", "{'metadata':{'name':'sa'}}");
	o = store_get(p->srv.store, reg_key(k8s_kind_find("", "v1", "serviceaccounts"), "default", "sa", key));
	account = obj_json(o);
	uid = jpath_str(account, "metadata.uid", "");
#define CLAIMS(...) (snprintf(claims, sizeof claims, form, __VA_ARGS__), claims)
	token = sign(p, CLAIMS(TOKEN_ISSUER, 4000000000ll, "sa", "sa", uid, ""));
	who = service_token_identity(&p->srv, token, NULL, NULL, &why);
	assert_non_null(who);
	assert_string_equal(who->name, "system:serviceaccount:default:sa");
	assert_string_equal(who->uid, uid);
	assert_true(identity_in(who, "system:serviceaccounts:default"));
	identity_free(who);
	assert_non_null(strstr(refused(p, CLAIMS(TOKEN_ISSUER, 1000ll, "sa", "sa", uid, "")), "expired"));
	assert_non_null(strstr(refused(p, CLAIMS("vault", 4000000000ll, "sa", "sa", uid, "")), "audience"));
	assert_non_null(strstr(refused(p, CLAIMS(TOKEN_ISSUER, 4000000000ll, "sa", "sa", "other", "")), "gone"));
	assert_non_null(strstr(refused(p, CLAIMS(TOKEN_ISSUER, 4000000000ll, "root", "sa", uid, "")), "contradict"));
	assert_non_null(strstr(refused(p, CLAIMS(TOKEN_ISSUER, 4000000000ll, "sa", "sa", uid, ",'pod':{'name':'p','uid':'u'}")), "bound"));
	assert_non_null(refused(p, "{}"));
}

static void test_selector_text(void **state)
{
	static const char *const cases[][2] = {
		{ "{'b':'2','a':'1'}", "a=1,b=2" },
		{ "{'matchLabels':{'z':'1'},'matchExpressions':[{'key':'a','operator':'In','values':['y','x']},{'key':'c','operator':"
		  "'DoesNotExist'},{'key':'d','operator':'Exists'},{'key':'e','operator':'NotIn','values':['q']}]}",
		  "a in (x,y),!c,d,e notin (q),z=1" },
		{ "{}", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		own_json json_t *j = test_parse(cases[i][0]);
		own_buf struct buf b = BUF_INIT;
		assert_int_equal(scale_selector_text(j, &b), 0);
		assert_string_equal(b.data ? b.data : "", cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_selector_text),
		cmocka_unit_test_setup_teardown(test_rbac, test_place_open, test_place_close),
		cmocka_unit_test_setup_teardown(test_aggregation, test_place_open, test_place_close),
		cmocka_unit_test_setup_teardown(test_nobody_gives_what_he_has_not, test_place_open, test_place_close),
		cmocka_unit_test_setup_teardown(test_node, test_place_open, test_place_close),
		cmocka_unit_test(test_node_pods),
		cmocka_unit_test_setup_teardown(test_tokens, test_place_open, test_place_close),
	};
	return cmocka_run_group_tests_name("server/access", tests, NULL, NULL);
}
