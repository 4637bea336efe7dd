// SPDX-License-Identifier: Apache-2.0
#include "base/kvm_probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "base/proc.h"

#define ANSWER "/run/bulkhead/engine.json"
#define PROBE_MS 3000      // for each of the two guests; BULKHEAD_PROBE_MS

static json_t *remembered(void)
{
	own_buf struct buf text = BUF_INIT;
	return file_read(ANSWER, 4096, &text, NULL) ? NULL : json_loadb(text.data, text.len, 0, NULL);
}

/* NULL: it gave no answer, which says nothing about the next time. */
static json_t *try_kvm(const char *vmx, const char *kernel, struct err *e)
{
	own_buf struct buf out = BUF_INIT, said = BUF_INIT;
	if (access("/dev/kvm", R_OK | W_OK))
		return json_pack("{s:b, s:s}", "usable", 0, "reason", "there is no /dev/kvm that we may open");
	const char *asked = getenv("BULKHEAD_PROBE_MS");
	int ms = asked ? atoi(asked) : 0;
	char limit[16];
	ms = ms > 0 && ms < 600000 ? ms : PROBE_MS;
	snprintf(limit, sizeof(limit), "%d", ms);
	struct proc_opts o = {.timeout_ms = 2 * ms + 24000};
	int rc = proc_run((const char *[]){vmx, "--probe-kvm", kernel, limit, NULL}, &o, &out, &said, e);
	json_t *answer = rc >= 0 && out.data ? json_loadb(out.data, out.len, 0, NULL) : NULL;
	if (!answer && rc >= 0)
		err_set(e, EPROTO, "the probe gave no answer");
	return answer;
}

bool kvm_usable(const char *vmx, const char *kernel, char *reason, size_t len)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;   // at a time: two would slow each other down
	struct err e = ERR_INIT;
	pthread_mutex_lock(&one);
	own_json json_t *answer = remembered();
	if (!answer) {
		answer = try_kvm(vmx, kernel, &e);
		own_free char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
		if (text && (!mkdir("/run/bulkhead", 0755) || !access("/run/bulkhead", W_OK)))
			file_replace(ANSWER, text, strlen(text), 0644, NULL);
	}
	pthread_mutex_unlock(&one);
	snprintf(reason, len, "%s", answer ? jpath_str(answer, "reason", "") : e.text);
	return jpath_bool(answer, "usable", false);
}
