// SPDX-License-Identifier: Apache-2.0
// imagePullSecrets to one docker configuration; see image_auth.h.
#include "image_auth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/log.h"
#include "k8s/base64.h"
#include "pod.h"

/* .dockerconfigjson holds {"auths": {...}}; the older .dockercfg is what stands inside "auths". */
static void merge_secret(json_t *auths, const json_t *secret)
{
	static const char *const keys[] = {".dockerconfigjson", ".dockercfg"};
	for (size_t k = 0; k < 2; k++) {
		const char *text = json_string_value(json_object_get(jpath_get(secret, "data"), keys[k]));
		size_t len = 0;
		unsigned char *plain = text ? base64_decode(text, strlen(text), &len) : NULL;
		own_json json_t *config = plain ? json_loadb((char *)plain, len, 0, NULL) : NULL;
		free(plain);
		json_t *found = k == 0 ? json_object_get(config, "auths") : config;
		if (json_is_object(found))
			json_object_update_missing(auths, found);
	}
}

int image_auth(struct pod *p, const char *ref, char **auth, struct err *e)
{
	own_json json_t *auths = json_object();
	size_t i;
	json_t *item;
	(void)ref;
	json_array_foreach(jpath_get(p->seen, "spec.imagePullSecrets"), i, item) {
		own_json json_t *secret = NULL;
		struct err why = ERR_INIT;
		if (pod_object_get(p, "secrets", jpath_str(item, "name", ""), &secret, &why))
			log_warn("pods", "%s/%s: image pull secret: %s", p->ns, p->name, why.text);
		else
			merge_secret(auths, secret);
	}
	*auth = NULL;
	if (!json_object_size(auths))
		return 0;
	own_json json_t *config = json_pack("{s:O}", "auths", auths);
	*auth = config ? json_dumps(config, JSON_COMPACT) : NULL;
	return *auth ? 0 : err_sys(e, ENOMEM, "image pull secrets");
}
