// SPDX-License-Identifier: Apache-2.0
// For tests: a server without listeners, over a real store in a folder of its own.
#ifndef BH_SERVER_TEST_PLACE_H
#define BH_SERVER_TEST_PLACE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cidr.h"
#include "base/file.h"
#include "base/own.h"
#include "server/bootstrap.h"
#include "server/controllers/change.h"
#include "server/jwt.h"
#include "server/pki.h"
#include "server/rbac.h"
#include "server/registry.h"
#include "server/server.h"
#include "server/store.h"

struct test_place {
	char dir[64];
	struct server srv;
};

static inline int test_place_open(void **state)
{
	struct test_place *p = calloc(1, sizeof *p);
	struct err e = ERR_INIT;
	char path[128];

	strcpy(p->dir, "/tmp/bulkhead-unit-XXXXXX");
	if (!mkdtemp(p->dir))
		return -1;
	p->srv = (struct server){ .root = p->dir, .advertise = "127.0.0.1", .node_name = "n", .node_addr = "127.0.0.1", .kubelet_port = 10250 };
	cidr_parse("10.96.0.0/28", &p->srv.service_range);
	snprintf(path, sizeof path, "%s/store.db", p->dir);
	if (pki_ensure_ca(p->dir, &e) || pki_ensure_sa_key(p->dir, &e) || store_open(&store_sqlite_ops, path, &p->srv.store, &e))
		fail_msg("%s", e.text);
	snprintf(path, sizeof path, "%s/pki/sa.key", p->dir);
	if (jwt_key_open(path, &p->srv.token_key, &e))
		fail_msg("%s", e.text);
	p->srv.rbac = rbac_new(&p->srv);
	if (bootstrap_objects(&p->srv, &e))
		fail_msg("%s", e.text);
	*state = p;
	return 0;
}

static inline int test_place_close(void **state)
{
	struct test_place *p = *state;

	rbac_free(p->srv.rbac);
	jwt_key_close(p->srv.token_key);
	store_close(p->srv.store);
	dir_remove(p->dir, NULL);
	free(p);
	return 0;
}

/* Single quotes stand for double ones. */
static inline json_t *test_parse(const char *text)
{
	own_free char *copy = strdup(text);
	json_t *j;

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	j = json_loads(copy, 0, NULL);
	if (!j)
		fail_msg("not JSON: %s", text);
	return j;
}

static inline void test_make(struct test_place *p, const char *group, const char *plural, const char *ns, const char *text)
{
	json_t *j = test_parse(text);
	struct err e = ERR_INIT;
	int r = create_object(&p->srv, k8s_kind_find(group, "v1", plural), ns, j, &e);

	json_decref(j);
	if (r)
		fail_msg("%s: %s", plural, e.text);
}

#endif
