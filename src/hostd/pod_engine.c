// SPDX-License-Identifier: Apache-2.0
#include "pod_engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/jpath.h"
#include "base/kvm_probe.h"
#include "base/own.h"
#include "pod.h"

static int use_kvm(struct pod *p, struct err *e)
{
	const struct host *h = p->host;
	char kernel[4096], reason[256];
	p->engine = "kvm";
	if (!strcmp(h->engine, "kvm"))
		return 0;      // whoever started us has tried
	snprintf(kernel, sizeof(kernel), "%s/vmlinux", h->guest_dir);
	return kvm_usable(h->vmx_path, kernel, reason, sizeof(reason)) ? 0
		: err_set(e, ENOTSUP, "KVM is not usable on this host: %s", reason);
}

int pod_engine_choose(struct pod *p, struct err *e)
{
	const char *name = jpath_str(p->seen, "spec.runtimeClassName", "");
	own_json json_t *class = NULL;
	p->engine = p->host->engine;
	if (!*name)
		return 0;
	int rc = pod_runtime_class(p, name, &class, e);
	if (rc) {
		err_wrap(e, "RuntimeClass \"%.250s\"", name);
		return rc == -EAGAIN ? -EIO : rc;   // the caller takes that for a volume that is not there yet
	}
	const char *handler = jpath_str(class, "handler", "");
	if (!strcmp(handler, "qemu"))
		p->engine = "qemu";
	else if (!strcmp(handler, "kvm"))
		rc = use_kvm(p, e);
	else if (strcmp(handler, "bulkhead"))
		rc = err_set(e, ENOENT, "there are the handlers bulkhead (the engine of the host), qemu and kvm");
	return rc ? err_wrap(e, "no runtime for \"%.63s\" is configured", handler) : 0;
}
