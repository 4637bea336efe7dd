// SPDX-License-Identifier: Apache-2.0
// One copy per processor: a request adds with plain instructions, readers sum.
#include "disk/counters.h"

#include <bulkhead/prda.h>

PRDA_DEFINE(prda_u64, disk_reads);
PRDA_DEFINE(prda_u64, disk_writes);
PRDA_DEFINE(prda_u64, disk_flushes);
PRDA_DEFINE(prda_u64, disk_discards);
PRDA_DEFINE(prda_u64, disk_write_zeroes);
PRDA_DEFINE(prda_u64, disk_extents);
PRDA_DEFINE(prda_u64, disk_read_bytes);
PRDA_DEFINE(prda_u64, disk_write_bytes);
PRDA_DEFINE(prda_u64, disk_discard_bytes);
PRDA_DEFINE(prda_u64, disk_write_zeroes_bytes);
PRDA_DEFINE(prda_u64, disk_errors);

/* bytes NULL: the operation has none worth counting. */
static const struct { prda_u64 *ops, *bytes; } counter[BH_DISK_OPS] = {
	[BH_DISK_READ] = { &disk_reads, &disk_read_bytes },
	[BH_DISK_WRITE] = { &disk_writes, &disk_write_bytes },
	[BH_DISK_FLUSH] = { &disk_flushes, NULL },
	[BH_DISK_DISCARD] = { &disk_discards, &disk_discard_bytes },
	[BH_DISK_WRITE_ZEROES] = { &disk_write_zeroes, &disk_write_zeroes_bytes },
	[BH_DISK_EXTENTS] = { &disk_extents, NULL },
};

void counters_done(const struct bh_disk_io *io, int result)
{
	if (io->op >= BH_DISK_OPS) return;
	prda_add(*counter[io->op].ops, 1);
	if (counter[io->op].bytes) prda_add(*counter[io->op].bytes, io->len);
	if (result < 0) prda_add(disk_errors, 1);
}

void bh_disk_counters(struct bh_disk_counters *out)
{
	for (int op = 0; op < BH_DISK_OPS; op++) {
		out->ops[op] = prda_sum(*counter[op].ops);
		out->bytes[op] = counter[op].bytes ? prda_sum(*counter[op].bytes) : 0;
	}
	out->errors = prda_sum(disk_errors);
}
