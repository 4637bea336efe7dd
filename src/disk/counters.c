// SPDX-License-Identifier: Apache-2.0
// One copy per processor: a request adds with plain instructions, readers sum.
#include "disk/counters.h"

#include <bulkhead/prda.h>

PRDA_DEFINE_COUNTER(disk_reads, "bulkhead_disk_reads_total", "read requests finished by disks");
PRDA_DEFINE_COUNTER(disk_writes, "bulkhead_disk_writes_total", "write requests finished by disks");
PRDA_DEFINE_COUNTER(disk_flushes, "bulkhead_disk_flushes_total", "flush requests finished by disks");
PRDA_DEFINE_COUNTER(disk_discards, "bulkhead_disk_discards_total", "discard requests finished by disks");
PRDA_DEFINE_COUNTER(disk_write_zeroes, "bulkhead_disk_write_zeroes_total", "write-zeroes requests finished by disks");
PRDA_DEFINE_COUNTER(disk_extents, "bulkhead_disk_extents_total", "extent queries finished by disks");
PRDA_DEFINE_COUNTER(disk_read_bytes, "bulkhead_disk_read_bytes_total", "bytes read from disks");
PRDA_DEFINE_COUNTER(disk_write_bytes, "bulkhead_disk_written_bytes_total", "bytes written to disks");
PRDA_DEFINE_COUNTER(disk_discard_bytes, "bulkhead_disk_discarded_bytes_total", "bytes discarded on disks");
PRDA_DEFINE_COUNTER(disk_write_zeroes_bytes, "bulkhead_disk_zeroed_bytes_total", "bytes of disks overwritten by zeroes");
PRDA_DEFINE_COUNTER(disk_errors, "bulkhead_disk_errors_total", "disk requests that failed");

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
