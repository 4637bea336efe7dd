// SPDX-License-Identifier: Apache-2.0
#include "pods_series.h"

#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/own.h"
#include "base/utf8.h"
#include "prda/metrics.h"

void pods_series_label(struct buf *labels, const char *key, const char *value)
{
	own_free char *text = utf8_clean(strdup(value));
	metrics_label(labels, key, text ? text : "");
}

static struct buf *series(struct buf *b, const char *name, const struct buf *labels)
{
	buf_printf(b, "%s{%s}", name, labels->data ? labels->data : "");
	return b;
}

struct buf *pods_series_short(struct buf *b, const char *name, const struct pods_running *p, const char *container)
{
	own_buf struct buf labels = BUF_INIT;
	if (container)
		pods_series_label(&labels, "container", container);
	pods_series_label(&labels, "namespace", p->ns);
	pods_series_label(&labels, "pod", p->name);
	return series(b, name, &labels);
}

const json_t *pods_series_about(const struct pods_running *p, const char *container)
{
	return json_object_get(json_object_get(p->about, "containers"), container);
}

struct buf *pods_series(struct buf *b, const char *name, const struct pods_running *p, const char *container, const char *labels)
{
	const json_t *c = container ? pods_series_about(p, container) : NULL;
	const char *id = jpath_str(c, "id", "");
	own_buf struct buf all = BUF_INIT, path = BUF_INIT;
	buf_printf(&path, "/kubepods/pod%s%s%s", p->uid, *id ? "/" : "", id);
	pods_series_label(&all, "container", container ? container : "");
	if (*labels)
		buf_printf(&all, ",%s", labels);
	pods_series_label(&all, "id", path.data ? path.data : "");
	pods_series_label(&all, "image", jpath_str(c, "image", ""));
	pods_series_label(&all, "name", id);
	pods_series_label(&all, "namespace", p->ns);
	pods_series_label(&all, "pod", p->name);
	return series(b, name, &all);
}
