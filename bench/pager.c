// SPDX-License-Identifier: Apache-2.0
// From a guest page to its VAD: the pager's walk beside what other fault handlers search, in the same run and in turns:
// a linear list, a sorted array with binary search, a red-black tree (glibc's tsearch). Prints tables for docs/pager.md.
//
//	pager-bench [ROUNDS]        (default 40 of each case; medians)
//
// Warm: the same 16, 64 or 4096 pages (of any of the guests), once before the clock runs and then over and over; cold: one
// look-up after 64 MiB of other memory was read, which empties caches and TLB. List and tree get 10^4 and 10^5 regions at
// most: setting them up takes too long.
//
// "bare" is the machine's floor for each row: as many loads, each waiting for the one before it, from as many distinct cache
// lines, in huge pages, as far apart as the pager's tables and records are. What grows with it is cache and TLB, not the walk.
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/err.h"
#include "pager/pager.h"

enum { PROBES = 4096, COLD = 64, LOADS = 4, SETS = 3 };
static const uint32_t set_size[SETS] = { 16, 64, PROBES };

struct region { uint64_t first, pages; struct region *next; };

static struct pager *pager;
static struct pager_vm *vm[1000];
static uint32_t vms;
static struct region *region, *list;
static uint32_t regions;
static void *tree;
static struct probe { uint64_t page; uint32_t at, loads; } probe[PROBES];
static uint64_t *bare[PROBES][LOADS];      // for each probe, stand-ins for the lines that its walk reads
static unsigned char *bare_memory;
static size_t bare_size;
static unsigned char *other;
static volatile uintptr_t sink;
static unsigned rounds = 40;

static int by_place(const void *a, const void *b)
{
	const struct region *x = a, *y = b;
	return x->first + x->pages <= y->first ? -1 : x->first >= y->first + y->pages;
}

static uintptr_t find_walk(const struct probe *p, uint64_t zero) { return (uintptr_t)pager_lookup(vm[p->at], p->page + zero); }

static uintptr_t find_bare(const struct probe *p, uint64_t zero)
{
	uint64_t *const *line = bare[p - probe];
	for (uint32_t i = 0; i < p->loads; i++)
		zero = line[i][zero];
	return zero;
}

static uintptr_t find_array(const struct probe *p, uint64_t zero)
{
	uint32_t low = 0, high = regions;
	uint64_t page = p->page + zero;
	while (high - low > 1) {
		uint32_t mid = (low + high) / 2;
		if (region[mid].first <= page)
			low = mid;
		else
			high = mid;
	}
	return (uintptr_t)&region[low];
}

static uintptr_t find_list(const struct probe *p, uint64_t zero)
{
	uint64_t page = p->page + zero;
	for (struct region *r = list; r; r = r->next)
		if (page - r->first < r->pages)
			return (uintptr_t)r;
	return 0;
}

static uintptr_t find_tree(const struct probe *p, uint64_t zero)
{
	struct region key = { p->page + zero, 1, NULL };
	return *(uintptr_t *)tfind(&key, &tree, by_place);
}

typedef uintptr_t find_fn(const struct probe *p, uint64_t zero);
static const struct { const char *name; find_fn *find; } way[] = {
	{ "walk", find_walk }, { "bare", find_bare }, { "sorted array", find_array }, { "red-black tree", find_tree }, { "list", find_list },
};
enum { WAYS = 5, LIST = 4 };

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

/* ns for each look-up; each depends on the one before it, as the next fault of a thread does. n: a power of two. */
static double lookups(find_fn *find, uint32_t n, uint32_t times)
{
	uintptr_t x = 0;
	for (uint32_t i = 0; i < n && i < times; i++)
		x = find(&probe[i], x == 1);
	uint64_t start = clock_mono_ns();
	for (uint32_t i = 0; i < times; i++)
		x = find(&probe[i & (n - 1)], x == 1);
	sink = x;
	return (double)(clock_mono_ns() - start) / times;
}

static double cold(find_fn *find, uint32_t i)
{
	uint64_t sum = 0;
	for (size_t k = 0; k < 64u << 20; k += 64)
		sum += other[k];
	sink = sum;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint64_t start = clock_mono_ns();
	sink = find(&probe[i * 37 % PROBES], 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (double)(clock_mono_ns() - start);
}

static double clock_cost(void)
{
	double v[101];
	for (int i = 0; i < 101; i++) {
		uint64_t start = clock_mono_ns();
		v[i] = (double)(clock_mono_ns() - start);
	}
	return median(v, 101);
}

static void must(int rc, const struct err *e)
{
	if (rc) {
		fprintf(stderr, "%s\n", e->text);
		exit(1);
	}
}

static void measure(bool with_cold)
{
	static double warm[SETS][WAYS][1000], far[WAYS][COLD];
	bool use[WAYS] = { true, true, vms == 1, vms == 1 && tree, vms == 1 && regions <= 10000 };
	for (unsigned r = 0; r < rounds; r++)
		for (int k = 0; k < SETS; k++)
			for (int w = 0; w < WAYS; w++) {
				uint32_t times = w == LIST && regions > 100 ? 200 : 20000;
				warm[k][w][r] = use[w] ? lookups(way[w].find, set_size[k], times) : 0;
			}
	double clock = clock_cost();
	for (uint32_t i = 0; with_cold && i < COLD; i++)
		for (int w = 0; w < WAYS; w++)
			far[w][i] = use[w] ? cold(way[w].find, i) - clock : 0;
	for (int w = 0; w < WAYS; w++) {
		for (int k = 0; use[w] && k < SETS; k++)
			printf(" %.1f /", median(warm[k][w], rounds));
		if (use[w] && with_cold)
			printf(" %.0f", median(far[w], COLD));
		printf(" |");
	}
}

static int by_number(const void *a, const void *b)
{
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
	return x < y ? -1 : x > y;
}

/* Which lines the walks read, and as many others, as far apart, in memory that holds zeros. */
static void set_up_bare(size_t size)
{
	static uintptr_t line[PROBES * LOADS], used[PROBES * LOADS];
	size_t n = 0, distinct = 0;
	for (uint32_t i = 0; i < PROBES; i++) {
		struct pager_trace t;
		pager_lookup_traced(vm[probe[i].at], probe[i].page, &t);
		probe[i].loads = probe[i].page >> 19 < 3 ? 3 : 4;   // the VM's own (its directory's), the entry's, the record's
		for (uint32_t k = 0; k < probe[i].loads; k++)
			line[n++] = t.line[k];
	}
	memcpy(used, line, n * sizeof(*used));
	qsort(used, n, sizeof(*used), by_number);
	for (size_t i = 0; i < n; i++)
		if (!i || used[i] != used[i - 1])
			used[distinct++] = used[i];
	size_t apart = size / 64 / distinct ? size / 64 / distinct : 1, at = 0;
	bare_size = (distinct * apart * 64 / (2u << 20) + 2) * (2u << 20);
	bare_memory = mmap(NULL, bare_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bare_memory == MAP_FAILED)
		exit(1);
	madvise(bare_memory, bare_size, MADV_HUGEPAGE);
	memset(bare_memory, 0, bare_size);
	for (uint32_t i = 0; i < PROBES; i++)
		for (uint32_t k = 0; k < probe[i].loads; k++, at++) {
			size_t id = (size_t)((uintptr_t *)bsearch(&line[at], used, distinct, sizeof(*used), by_number) - used);
			size_t place = id * apart + id * 0x9e3779b97f4a7c15ull % apart;
			bare[i][k] = (uint64_t *)(void *)(bare_memory + (2u << 20) - (uintptr_t)bare_memory % (2u << 20) + place * 64);
		}
}

static void set_up(uint64_t pages, uint32_t vads, uint32_t guests, bool touched)
{
	struct err e = ERR_INIT;
	uint64_t size = pages / vads;
	vms = guests;
	regions = vads;
	must(pager_new(&(struct pager_options){ .frames = (1u << 25), .vads = 1100000, .vms = 1000 }, &pager, &e), &e);
	for (uint32_t v = 0; v < guests; v++) {
		must(pager_vm_new(pager, pages, NULL, &vm[v], &e), &e);
		for (uint32_t i = 0; i < vads; i++)
			must(pager_map(vm[v], i * size, size, backing_zero(), 0, &e), &e);
	}
	for (uint32_t i = 0; i < PROBES; i++) {
		uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull;
		probe[i] = (struct probe){ .page = (x >> 20) % (size * vads), .at = (uint32_t)((x * 31 >> 40) % guests) };
	}
	for (uint64_t page = 0; touched && page < size * vads; page += PAGER_CLUSTER_MAX)
		for (uint32_t v = 0; v < guests; v++) {
			struct pager_claim c;
			if (!pager_claim(vm[v], page, PAGER_CLUSTER_MAX, &c))
				pager_loaded(&c, c.count);
		}
	set_up_bare((pages * 4 + vads * 128 + (touched ? pages * 32 : 0)) * guests);
	if (guests > 1)
		return;
	region = calloc(vads, sizeof(*region));
	list = NULL;
	tree = NULL;
	for (uint32_t i = vads; i-- > 0; list = &region[i])
		region[i] = (struct region){ i * size, size, list };
	for (uint32_t i = 0; vads <= 100000 && i < vads; i++) {
		/* In random order, as nodes of a long-lived tree lie in memory. */
		uint32_t k = (uint32_t)((uint64_t)i * 7919 % vads);
		tsearch(&region[k], &tree, by_place);
	}
	for (uint32_t i = 0; vads <= 100000 && i < vads; i++)
		tsearch(&region[i], &tree, by_place);   // those that 7919 missed
}

static void no_free(void *p) { (void)p; }

static void tear_down(void)
{
	for (uint32_t v = 0; v < vms; v++)
		pager_vm_free(vm[v]);
	pager_free(pager);
	munmap(bare_memory, bare_size);
	if (tree)
		tdestroy(tree, no_free);
	free(region);
	region = list = NULL;
	tree = NULL;
}

static void row(uint64_t mib, uint32_t vads, uint32_t guests, bool touched, bool with_cold)
{
	struct pager_trace t;
	uint32_t steps = 0, most = 0, lines = 0;
	set_up(mib << 8, vads, guests, touched);
	printf("| %lu | %u | %u | %s |", (unsigned long)mib, vads, guests, touched ? "resident" : "never");
	measure(with_cold);
	for (uint32_t i = 0; i < PROBES; i++) {
		pager_lookup_traced(vm[probe[i].at], probe[i].page, &t);
		uint32_t own = probe[i].page >> 19 < 3 ? 1 : 2;      // the VM's line, and that of its directory behind 6 GiB
		most = t.steps > most ? t.steps : most;
		steps += t.steps;
		lines = t.lines - own > lines ? t.lines - own : lines;
	}
	printf(" %u%s | %u |\n", most, steps == most * PROBES ? "" : " (varies!)", lines);
	fflush(stdout);
	tear_down();
}

int main(int argc, char **argv)
{
	if (argc > 1)
		rounds = (unsigned)atoi(argv[1]) < 1000 ? (unsigned)atoi(argv[1]) : 1000;
	other = mmap(NULL, 64u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(other, 1, 64u << 20);
	puts("ns: 16 pages / 64 pages / 4096 pages / cold; steps of the walk; cache lines beside the VM's own\n");
	puts("| MiB | VADs | VMs | pages | walk | bare | sorted array | red-black tree | list | steps | lines |");
	puts("|---|---|---|---|---|---|---|---|---|---|---|");
	for (uint32_t vads = 1; vads <= 1000000; vads *= 10)
		row(4096, vads, 1, false, true);
	row(4096, 1000, 1, true, true);
	row(4096, 100000, 1, true, true);
	for (uint64_t mib = 64; mib <= 65536; mib *= 4)
		row(mib, 1000, 1, false, mib == 64 || mib == 65536);
	for (uint32_t guests = 1; guests <= 1000; guests *= 10)
		row(64, 16, guests, false, true);
	return 0;
}
