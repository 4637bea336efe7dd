// SPDX-License-Identifier: Apache-2.0
// What tiny guests share: ports, the console, memory-mapped registers and a virtio driver that can also misbehave.
// 32-bit code without paging, one processor, no interrupts: they poll.
#ifndef TINY_H
#define TINY_H

#include <stdbool.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory"); }
static inline uint32_t inl(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}
static inline uint32_t mmio_read(uint32_t at) { return *(volatile uint32_t *)at; }
static inline void mmio_write(uint32_t at, uint32_t v) { *(volatile uint32_t *)at = v; }

struct start_info {
	uint32_t magic, version, flags, nmodules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t nmemmap, reserved;
};
struct start_module { uint64_t addr, size, cmdline, reserved; };
struct start_memory { uint64_t addr, size; uint32_t type, reserved; };

void guest_main(const struct start_info *info);

void put(const char *text);
void put_number(uint64_t v);                  // hexadecimal
void power_off(void) __attribute__((noreturn));
void check(bool good, const char *what);      // prints "ok what" or "FAILED what"

#define SLOT_AT(n) (0xfeb00000u + (n) * 0x200u)
#define RING 16

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct avail { uint16_t flags, idx, ring[RING], used_event; };
struct used_elem { uint32_t id, len; };
struct used { uint16_t flags, idx; struct used_elem ring[RING]; uint16_t avail_event; };

struct ring {                                 // desc 16-byte aligned, in memory of the guest
	struct desc desc[RING] __attribute__((aligned(16)));
	struct avail avail;
	struct used used __attribute__((aligned(4)));
	uint16_t seen;
};

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

bool dev_reset(uint32_t at);                          // to status 0
bool dev_features(uint32_t at, uint64_t features);    // acknowledge, driver, features; whether they were accepted
void dev_queue(uint32_t at, unsigned n, struct ring *r);
void dev_go(uint32_t at);                             // DRIVER_OK
void ring_desc(struct ring *r, unsigned i, const void *p, uint32_t len, unsigned flags, unsigned next);
void ring_offer(struct ring *r, unsigned head);
/* Kick and wait until a buffer comes back, the device asks for a reset or a time has passed. 1, -1, 0. */
int ring_wait(uint32_t at, unsigned n, struct ring *r);

#endif
