// SPDX-License-Identifier: Apache-2.0
// Selectors, quantities, cron schedules and times from any text: one byte says which.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "k8s/cron.h"
#include "k8s/quantity.h"
#include "k8s/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = size ? malloc(size) : NULL, out[K8S_QUANTITY_TEXT_MAX];
	struct k8s_selector *s = NULL;
	struct err e = ERR_INIT;
	struct cron cron;
	int64_t milli, again;
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	json_t *labels = json_pack("{s:s,s:s}", "a", "1", "b", "x");
	switch (data[0] % 4) {
	case 0:
		if (k8s_label_selector_parse(text, &s, &e) == 0)
			k8s_label_selector_match(s, labels);
		break;
	case 1:
		if (k8s_field_selector_parse(text, &s, &e) == 0 &&
		    k8s_field_selector_match(s, labels) != k8s_field_selector_match_text(s, "{\"a\":\"1\",\"b\":\"x\"}", 17))
			abort();
		break;
	case 2:
		if (k8s_quantity_parse(text, &milli) == 0) {
			k8s_quantity_text(milli, 0, out);
			if (k8s_quantity_parse(out, &again) || again != milli)
				abort();
			if (!k8s_quantity_canonical(text, out) || k8s_quantity_parse(out, &again))
				abort();
		}
		break;
	default:
		if (cron_parse(text, &cron, &e) == 0)
			cron_next(&cron, 1767225600);
	}
	k8s_selector_free(s);
	json_decref(labels);
	free(text);
	return 0;
}
