// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli), with the processor's instruction where there is one.
#ifndef BH_DISK_CRC32C_H
#define BH_DISK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t seed, const void *data, size_t len);   // seed: 0, or an earlier result to go on from

#endif
