// SPDX-License-Identifier: Apache-2.0
// Runs inside a pod: "toucher MIB" writes so much memory and reads it again without end, a few words of each page, and every
// second page full of what does not compress. Prints "filled", then "round" for each time that all was as it was left;
// "wrong bytes" and exit code 1 if not. Freestanding, so that it is small enough for a ConfigMap.
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))

static long call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long rc;
	__asm__ volatile("syscall" : "=a"(rc) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return rc;
}

static void say(const char *text)
{
	long n = 0;
	while (text[n])
		n++;
	call6(SYS_write, 1, (long)text, n, 0, 0, 0);
}

static _Noreturn void leave(int code)
{
	for (;;)
		call6(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33, x *= 0xff51afd7ed558ccdull, x ^= x >> 33;
	return x * 0xc4ceb9fe1a85ec53ull;
}

static void put(volatile uint64_t *p, uint64_t page, uint64_t round)
{
	uint64_t step = page % 2 && !round ? 1 : 64;
	for (uint64_t i = 0; i < WORDS; i += step)
		p[i] = mix(page << 20 ^ (i % 64 ? 0 : round) << 9 ^ i);
}

static int same(const volatile uint64_t *p, uint64_t page, uint64_t round)
{
	for (uint64_t i = 0; i < WORDS; i += 64)
		if (p[i] != mix(page << 20 ^ round << 9 ^ i))
			return 0;
	return page % 2 == 0 || p[WORDS - 1] == mix(page << 20 ^ (WORDS - 1));
}

__attribute__((used)) static void run(long *stack)
{
	const char *text = stack[0] > 1 ? (const char *)stack[2] : "";
	uint64_t mib = 0;
	while (*text >= '0' && *text <= '9')
		mib = mib * 10 + (uint64_t)(*text++ - '0');
	long at = call6(SYS_mmap, 0, (long)(mib << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!mib || (at < 0 && at > -4096)) {
		say("usage: toucher MIB\n");
		leave(2);
	}
	uint64_t *memory = (uint64_t *)at, pages = mib << 8;
	for (uint64_t i = 0; i < pages; i++)
		put(memory + i * WORDS, i, 0);
	say("filled\n");
	for (uint64_t round = 1;; round++) {
		for (uint64_t i = 0; i < pages; i++) {
			if (!same(memory + i * WORDS, i, round - 1)) {
				say("wrong bytes\n");
				leave(1);
			}
			put(memory + i * WORDS, i, round);
		}
		say("round\n");
	}
}

__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call run\n hlt\n");
