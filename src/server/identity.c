// SPDX-License-Identifier: Apache-2.0
#include "server/identity.h"

#include <stdlib.h>
#include <string.h>

#include "base/own.h"

#define DN_MAX 512
#define GROUPS_MAX 64

const struct identity *identity_anonymous(void)
{
	static char *groups[] = { (char *)"system:unauthenticated" };
	static const struct identity anonymous = { (char *)"system:anonymous", (char *)"", groups, 1, NULL };

	return &anonymous;
}

void identity_free(struct identity *i)
{
	if (!i)
		return;
	for (size_t g = 0; g < i->group_count; g++)
		free(i->groups[g]);
	free(i->groups);
	free(i->name);
	free(i->uid);
	json_decref(i->extra);
	free(i);
}

struct identity *identity_exact(const char *name, const char *uid, const char *const *groups)
{
	struct identity *i = calloc(1, sizeof *i);
	size_t n = 0;

	if (!i)
		return NULL;
	while (groups[n])
		n++;
	i->name = strdup(name);
	i->uid = strdup(uid);
	i->groups = calloc(n + 1, sizeof *i->groups);
	for (; i->groups && i->group_count < n; i->group_count++) {
		i->groups[i->group_count] = strdup(groups[i->group_count]);
		if (!i->groups[i->group_count])
			break;
	}
	if (!i->name || !i->uid || !i->groups || i->group_count < n) {
		identity_free(i);
		return NULL;
	}
	return i;
}

struct identity *identity_new(const char *name, const char *uid, const char *const *groups)
{
	const char *all[GROUPS_MAX + 2];
	size_t n = 0;

	for (; n < GROUPS_MAX && groups[n]; n++)
		all[n] = groups[n];
	all[n++] = "system:authenticated";
	all[n] = NULL;
	return identity_exact(name, uid, all);
}

/* One part of the subject's name; NULL when there is no such one or it does not fit or holds a NUL. */
static char *subject_part(gnutls_x509_crt_t cert, const char *oid, unsigned index)
{
	char text[DN_MAX];
	size_t size = sizeof text;

	if (gnutls_x509_crt_get_dn_by_oid(cert, oid, index, 0, text, &size) < 0 || strlen(text) != size)
		return NULL;
	return strdup(text);
}

struct identity *identity_from_certificate(gnutls_x509_crt_t cert)
{
	own_free char *name = subject_part(cert, GNUTLS_OID_X520_COMMON_NAME, 0);
	const char *groups[GROUPS_MAX + 1] = { NULL };
	struct identity *i;
	unsigned n = 0;

	while (n < GROUPS_MAX && (groups[n] = subject_part(cert, GNUTLS_OID_X520_ORGANIZATION_NAME, n)))
		n++;
	groups[n] = NULL;
	i = name ? identity_new(name, "", groups) : NULL;
	while (n)
		free((char *)groups[--n]);
	return i;
}

bool identity_in(const struct identity *i, const char *group)
{
	for (size_t g = 0; g < i->group_count; g++)
		if (!strcmp(i->groups[g], group))
			return true;
	return false;
}
