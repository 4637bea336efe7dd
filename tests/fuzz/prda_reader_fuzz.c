// SPDX-License-Identifier: Apache-2.0
// A region that another process wrote: its first bytes are the fuzzer's.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bulkhead/prda_reader.h"
#include "prda/metrics_name.h"
#include "prda/region.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int fd = -1;
	if (fd < 0) {
		fd = memfd_create("fuzz", MFD_ALLOW_SEALING);
		if (fd < 0 || ftruncate(fd, 4 * PRDA_STRIDE) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
			abort();
	}
	/* A good header for half of the inputs, or nothing behind it would ever be reached. */
	struct prda_shared s = { .magic = PRDA_MAGIC, .version = PRDA_VERSION, .entry_bytes = sizeof(struct prda_entry),
		.stride = PRDA_STRIDE, .cpus = 1, .slots = 3, .entries = 8, .locked_used = 1 };
	char entries[8 * sizeof(struct prda_entry)] = { 0 };
	if (len && data[0] & 1)
		memcpy(&s, data + 1, len - 1 < sizeof(s) ? len - 1 : sizeof(s));
	else if (len)
		memcpy(entries, data + 1, len - 1 < sizeof(entries) ? len - 1 : sizeof(entries));
	if (pwrite(fd, &s, sizeof(s), 0) < 0 || pwrite(fd, entries, sizeof(entries), PRDA_ENTRIES) < 0)
		abort();
	struct prda_reader *r;
	if (prda_reader_open_fd(fd, &r, NULL) < 0)
		return 0;
	struct prda_reader_info info;
	struct prda_stats stats;
	struct prda_variable v;
	prda_reader_info(r, &info);
	prda_reader_stats(r, &stats);
	volatile uint64_t sum = (uint64_t)info.name[0] + stats.restarts;
	for (uint32_t cursor = 0; prda_reader_next(r, &cursor, &v);) {
		sum += (uint64_t)metrics_name_good(v.name) + metrics_labels_good(v.labels) + strlen(v.help);
		for (uint32_t word = 0; word < 70; word++)
			sum += prda_reader_sum(r, &v, word);
		sum += prda_reader_sum(r, &v, v.size / 8 - 1);
	}
	(void)sum;
	prda_reader_close(r);
	return 0;
}
