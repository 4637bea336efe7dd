// SPDX-License-Identifier: Apache-2.0
// Every operation, on one CPU after the other. Runs three times: as it is, with rseq switched off in the C library, and
// with the system call refused (PRDA_TEST_SECCOMP).
#include "bulkhead/prda.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "region.h"

PRDA_DEFINE(prda_u64, defined_here);

static struct prda_region *region;
static int last_cpu;   // highest CPU that this process may use; 0 on a machine with one

static void run_on(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(sched_getcpu(), cpu);
}

/* The slot that operations of this thread must go to now. */
static uint32_t here(struct prda_region *r)
{
	uint32_t cpu = (uint32_t)sched_getcpu();
	return prda_have_rseq() && cpu < prda_region_cpus(r) ? cpu : prda_region_cpus(r) + cpu % prda_region_cpus(r);
}

static int make_region(void **state)
{
	(void)state;
	cpu_set_t set;
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			last_cpu = cpu;
	return prda_region_new(NULL, &region, NULL);
}

static int close_region(void **state)
{
	(void)state;
	prda_region_close(region);
	return 0;
}

/* The sentence of the mechanism: an alias taken on CPU 0, used again after a move to CPU 1, reaches CPU 1's area. */
static void test_alias_follows_the_thread(void **state)
{
	(void)state;
	if (last_cpu == 0)
		skip();
	prda_u64 alias;
	run_on(0);
	assert_int_equal(prda_alloc(region, &alias, "followed", NULL), 0);
	uint32_t on_0 = here(region);
	prda_add(alias, 5);
	run_on(last_cpu);
	uint32_t on_1 = here(region);
	assert_int_not_equal(on_0, on_1);
	assert_int_equal(prda_read(alias, on_1), 0);
	prda_add(alias, 7);
	assert_int_equal(prda_read(alias, on_1), 7);
	assert_int_equal(prda_read(alias, on_0), 5);
	assert_int_equal(prda_sum(alias), 12);
	prda_free(alias);
}

static void test_words(void **state)
{
	(void)state;
	prda_u64 n;
	prda_pointer p;
	assert_int_equal(prda_alloc(region, &n, NULL, NULL), 0);
	assert_int_equal(prda_alloc(region, &p, NULL, NULL), 0);
	for (int cpu = 0; cpu <= last_cpu; cpu += last_cpu ? last_cpu : 1) {
		run_on(cpu);
		uint32_t slot = here(region);
		assert_int_equal(prda_load(n), 0);
		prda_store(n, 40);
		prda_add(n, 3);
		prda_add(n, -1);
		assert_int_equal(prda_load(n), 42);
		assert_int_equal(prda_exchange(n, 1ull << 40), 42);
		assert_false(prda_compare_store(n, 7, 8));
		assert_true(prda_load(n) == 1ull << 40);
		assert_true(prda_compare_store(n, 1ull << 40, 0x123456789abcdefull));
		assert_true(prda_read(n, slot) == 0x123456789abcdefull);
		assert_null(prda_exchange(p, &region));
		assert_true(prda_compare_store(p, &region, NULL));
		assert_null(prda_load(p));
	}
	assert_true(prda_sum(n) == (last_cpu ? 2 : 1) * 0x123456789abcdefull);
	prda_free(n);
	prda_free(p);
}

static void test_list(void **state)
{
	(void)state;
	prda_list list;
	struct prda_node node[4];
	assert_int_equal(prda_alloc(region, &list, NULL, NULL), 0);
	run_on(0);
	assert_null(prda_pop(list));
	for (int i = 0; i < 4; i++)
		prda_push(list, &node[i]);
	assert_ptr_equal(prda_at(list, here(region))->head, &node[3]);
	if (last_cpu) {
		run_on(last_cpu);
		assert_null(prda_pop(list));
		run_on(0);
	}
	assert_ptr_equal(prda_pop(list), &node[3]);
	assert_ptr_equal(prda_pop(list), &node[2]);
	prda_push(list, &node[3]);
	struct prda_node *chain = prda_pop_all(list);
	assert_ptr_equal(chain, &node[3]);
	assert_ptr_equal(chain->next, &node[1]);
	assert_ptr_equal(chain->next->next, &node[0]);
	assert_null(chain->next->next->next);
	assert_null(prda_pop(list));
	prda_free(list);
}

static void test_ring(void **state)
{
	(void)state;
	prda_ring ring;
	uint64_t v = 0;
	assert_int_equal(prda_ring_alloc(region, &ring, 3, NULL, NULL), -EINVAL);
	assert_int_equal(prda_ring_alloc(region, &ring, 4, NULL, NULL), 0);
	run_on(0);
	assert_false(prda_get(ring, &v));
	for (uint64_t round = 0; round < 5; round++) {
		for (uint64_t i = 0; i < 4; i++)
			assert_true(prda_put(ring, round * 100 + i));
		assert_false(prda_put(ring, 999));
		for (uint64_t i = 0; i < 3; i++) {
			assert_true(prda_get(ring, &v));
			assert_int_equal(v, round * 100 + i);
		}
		run_on(last_cpu);   // drained from elsewhere
		uint32_t slot = prda_have_rseq() ? 0 : prda_region_cpus(region);
		assert_true(prda_drain(ring, slot, &v));
		assert_int_equal(v, round * 100 + 3);
		assert_false(prda_drain(ring, slot, &v));
		run_on(0);
		assert_false(prda_get(ring, &v));
	}
	prda_free(ring);
}

static void test_buffer(void **state)
{
	(void)state;
	enum { SIZE = 1000 };
	prda_buffer buffer;
	unsigned char record[200], want[SIZE], got[SIZE];
	assert_int_equal(prda_buffer_alloc(region, &buffer, SIZE, NULL, NULL), 0);
	run_on(0);
	for (size_t len = 0; len <= sizeof(record); len++) {
		size_t used = 0;
		for (unsigned char mark = 1; used + len <= SIZE && mark < 8; mark++) {
			for (size_t i = 0; i < len; i++)
				want[used + i] = record[i] = (unsigned char)(mark * 31 + i);
			assert_true(prda_append(buffer, record, len));
			used += len;
		}
		const void *data;
		assert_int_equal(prda_peek(buffer, here(region), &data), used);
		assert_memory_equal(data, want, used);
		if (used > 0)
			assert_int_equal(prda_flush(buffer, got, used - 1), -ENOSPC);
		assert_int_equal(prda_flush(buffer, got, sizeof(got)), used);
		assert_memory_equal(got, want, used);
		assert_int_equal(prda_flush(buffer, got, sizeof(got)), 0);
	}
	/* Exactly full, and one byte too many; for records of constant size too. */
	for (int i = 0; i < 15; i++)
		assert_true(prda_append(buffer, want + 64 * i, 64));
	assert_false(prda_append(buffer, want, 64));
	assert_false(prda_append(buffer, want, 41));
	assert_true(prda_append(buffer, want + 960, 40));
	assert_false(prda_append(buffer, want, 1));
	assert_true(prda_append(buffer, want, 0));
	assert_int_equal(prda_flush(buffer, got, sizeof(got)), SIZE);
	assert_memory_equal(got, want, SIZE);
	prda_free(buffer);
}

static void test_cache(void **state)
{
	(void)state;
	prda_cache cache;
	uint64_t in[10], out[10];
	for (uint64_t i = 0; i < 10; i++)
		in[i] = 1000 + i;
	assert_int_equal(prda_cache_alloc(region, &cache, 6, NULL, NULL), 0);
	run_on(0);
	assert_int_equal(prda_take(cache, out, 10), 0);
	assert_int_equal(prda_give(cache, in, 0), 0);
	assert_int_equal(prda_give(cache, in, 4), 4);
	assert_int_equal(prda_give(cache, in + 4, 6), 2);
	assert_int_equal(prda_give(cache, in, 1), 0);
	assert_int_equal(prda_take(cache, out, 2), 2);
	assert_int_equal(out[0], 1004);
	assert_int_equal(out[1], 1005);
	assert_int_equal(prda_take(cache, out, 0), 0);
	assert_int_equal(prda_take(cache, out, 10), 4);
	assert_memory_equal(out, in, 4 * sizeof(*in));
	assert_int_equal(prda_take(cache, out, 1), 0);
	prda_free(cache);
}

#if defined(__x86_64__)
#ifdef __clang__   // takes outputs of an asm goto for uninitialized
#pragma clang diagnostic ignored "-Wconditional-uninitialized"
#endif
struct pool { uint64_t free, used; };
PRDA_TYPE(pool_prda, struct pool);

static bool pool_take(pool_prda pool)
{
	uint64_t left = 0;
	PRDA_SECTION(pool,
		"movq " PRDA_HERE_("0") ", %[left]\n\t"
		"subq $1, %[left]\n\t"
		"jb 2f\n\t"
		"movq %[left], " PRDA_HERE_("0"),
		([left] "=&r"(left)), (),
		left = here->free - 1;
		if (here->free)
			__atomic_store_n(&here->free, left, __ATOMIC_RELEASE));
	return left != UINT64_MAX;
}

static void test_own_section(void **state)
{
	(void)state;
	pool_prda pool;
	assert_int_equal(prda_alloc(region, &pool, NULL, NULL), 0);
	run_on(0);
	prda_u64 free_pages = prda_member(prda_u64, pool, free);
	prda_store(free_pages, 2);
	assert_true(pool_take(pool));
	assert_true(pool_take(pool));
	assert_false(pool_take(pool));
	assert_int_equal(prda_load(free_pages), 0);
	assert_int_equal(prda_load(prda_member(prda_u64, pool, used)), 0);
	prda_free(pool);
}

/* Of two stores: a journal of pairs, valid as far as its count says. */
struct journal { uint64_t count, entry[2][64]; };
PRDA_TYPE(journal_prda, struct journal);

static void journal_add(journal_prda journal, uint64_t x, uint64_t y)
{
	uint64_t n;
	PRDA_SECTION(journal,
		PRDA_COPY_ADDRESS_
		"movq (%[t]), %[n]\n\t"
		"movq %[x], 8(%[t], %[n], 8)\n\t"
		"movq %[y], 520(%[t], %[n], 8)\n\t"
		"incq %[n]\n\t"
		"movq %[n], (%[t])",
		([n] "=&r"(n)), ([x] "r"(x), [y] "r"(y)),
		here->entry[0][here->count] = x;
		here->entry[1][here->count] = y;
		__atomic_store_n(&here->count, here->count + 1, __ATOMIC_RELEASE));
}

static void test_own_section_of_several_stores(void **state)
{
	(void)state;
	journal_prda journal;
	assert_int_equal(prda_alloc(region, &journal, NULL, NULL), 0);
	run_on(0);
	for (uint64_t i = 0; i < 64; i++)
		journal_add(journal, i, i * i);
	struct journal *j = prda_at(journal, here(region));
	assert_int_equal(j->count, 64);
	for (uint64_t i = 0; i < 64; i++) {
		assert_int_equal(j->entry[0][i], i);
		assert_int_equal(j->entry[1][i], i * i);
	}
	prda_free(journal);
}

/* A section that is interrupted before its commit, `traps` times: by a handler that runs the same section. */
static pool_prda handler_pool;
static prda_u64 handler_count;
static volatile uint64_t traps;

static void handler(int sig)
{
	(void)sig;
	if (traps)
		traps--;
	pool_take(handler_pool);
	prda_add(handler_count, 1);
}

static void take_interrupted(void)
{
	uint64_t left = 0;
	PRDA_SECTION(handler_pool,
		"movq " PRDA_HERE_("0") ", %[left]\n\t"
		"cmpq $0, %[traps]\n\t"
		"je 10f\n\t"
		"int3\n"
		"10:\tsubq $1, %[left]\n\t"
		"movq %[left], " PRDA_HERE_("0"),
		([left] "=&r"(left)), ([traps] "m"(traps)),
		left = here->free - 1;
		if (traps)
			raise(SIGTRAP);
		__atomic_store_n(&here->free, left, __ATOMIC_RELEASE));
}

static void test_own_section_interrupted_by_handler(void **state)
{
	(void)state;
	assert_int_equal(prda_alloc(region, &handler_pool, NULL, NULL), 0);
	assert_int_equal(prda_alloc(region, &handler_count, NULL, NULL), 0);
	run_on(0);
	prda_u64 free_pages = prda_member(prda_u64, handler_pool, free);
	void (*before)(int) = signal(SIGTRAP, handler);
	struct prda_stats old, now;
	prda_region_stats(region, &old);

	/* Restart form: what the handlers took is taken, and the section begins anew. Locked: they were in another slot, empty. */
	prda_store(free_pages, 10);
	traps = 3;
	take_interrupted();
	prda_region_stats(region, &now);
	assert_int_equal(traps, prda_have_rseq() ? 0 : 2);
	assert_int_equal(prda_sum(handler_count), prda_have_rseq() ? 3 : 1);
	assert_int_equal(prda_sum(free_pages), prda_have_rseq() ? 10 - 3 - 1 : 10 - 1);
	assert_int_equal(now.restarts - old.restarts >= 3, prda_have_rseq());

	/* One that is always interrupted gets through in the end, under the lock. */
	if (prda_have_rseq()) {
		traps = 1000000;
		take_interrupted();
		assert_in_range(prda_sum(handler_count), 3 + 100, 3 + 10000);
		assert_int_equal(prda_read(free_pages, 0), 0);                            // the handlers emptied this CPU's
		assert_int_equal(prda_read(free_pages, prda_region_cpus(region)), UINT64_MAX);   // and the lock's had none
	}
	signal(SIGTRAP, before);
	prda_free(handler_pool);
	prda_free(handler_count);
}
#endif

static void test_allocation(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	prda_u64 a, b, c;
	assert_int_equal(prda_alloc(region, &a, "a", &e), 0);
	assert_int_equal(prda_alloc(region, &b, "b", &e), 0);
	assert_true(prda_number(b) >= prda_number(a) + 8);
	run_on(0);
	prda_store(a, 0xdead);
	prda_store(b, 1);
	prda_free(a);
	assert_int_equal(prda_alloc(region, &c, "c", &e), 0);
	assert_int_equal(prda_number(c), prda_number(a));
	assert_int_equal(prda_sum(c), 0);   // zeroed
	assert_int_equal(prda_sum(b), 1);
	prda_free(b);
	prda_free(c);
	prda_free((prda_u64){ 0 });

	PRDA_TYPE(huge_prda, unsigned char[PRDA_STRIDE]);
	huge_prda huge;
	assert_int_equal(prda_alloc(region, &huge, NULL, &e), -EINVAL);
	prda_ring ring;
	assert_int_equal(prda_ring_alloc(region, &ring, (size_t)1 << 62, NULL, &e), -EINVAL);
	char long_name[100];
	memset(long_name, 'n', sizeof(long_name));
	long_name[99] = '\0';
	assert_int_equal(prda_alloc(region, &a, long_name, &e), -EINVAL);
	/* Until it is full, and everything back. */
	prda_buffer buffer[10];
	int n = 0;
	while (n < 10 && prda_buffer_alloc(region, &buffer[n], 100000, NULL, &e) == 0)
		n++;
	assert_int_equal(n, 5);
	assert_non_null(strstr(e.text, "full"));
	while (n > 0)
		prda_free(buffer[--n]);
	assert_int_equal(prda_buffer_alloc(region, &buffer[0], 500000, NULL, &e), 0);
	prda_free(buffer[0]);
}

static void test_static_variable(void **state)
{
	(void)state;
	prda_add(defined_here, 3);
	assert_int_equal(prda_sum(defined_here), 3);
	assert_ptr_equal(prda_region_of(prda_number(defined_here)), prda_process_region());
}

/* A region made for one CPU on a machine with more: threads on the others have a place, and nothing is lost. */
static void test_more_cpus_than_configured(void **state)
{
	(void)state;
	if (last_cpu == 0)
		skip();
	struct prda_region *small;
	prda_u64 n;
	assert_int_equal(prda_region_new(&(struct prda_options){ .cpus = 1 }, &small, NULL), 0);
	assert_int_equal(prda_alloc(small, &n, NULL, NULL), 0);
	run_on(0);
	prda_add(n, 1);
	run_on(last_cpu);
	prda_add(n, 10);
	assert_int_equal(prda_region_form(small), PRDA_LOCKED);
	assert_int_equal(prda_read(n, 1), 11);   // its only area for CPUs
	assert_int_equal(prda_sum(n), 11);
	prda_region_close(small);
}

static void test_stray_dereference_faults(void **state)
{
	(void)state;
	prda_u64 n;
	assert_int_equal(prda_alloc(region, &n, NULL, NULL), 0);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint64_t *)n.alias_ = 1;
		_exit(0);
	}
	int status = 0;
	waitpid(child, &status, 0);
#if !defined(__SANITIZE_ADDRESS__)
	assert_true(WIFSIGNALED(status));
#endif
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	prda_free(n);
}

static void test_fork_private(void **state)
{
	(void)state;
	prda_u64 n;
	assert_int_equal(prda_alloc(region, &n, NULL, NULL), 0);
	prda_add(n, 1);
	pid_t child = fork();
	if (child == 0) {
		prda_add(n, 1);
		_exit(prda_sum(n) == 2 ? 0 : 1);
	}
	int status = 1;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(prda_sum(n), 1);
	prda_free(n);
}

/* A program that is not a child of ours attaches and uses an alias that it is given as a number. */
static int other_process(int fd, uintptr_t number)
{
	struct prda_region *r;
	struct err e = ERR_INIT;
	if (prda_region_attach(fd, &r, &e) < 0) {
		fprintf(stderr, "# %s\n", e.text);
		return 1;
	}
	prda_u64 n = prda_from_number(prda_u64, number);
	prda_add(n, 5);
	prda_u64 mine;
	if (prda_alloc(r, &mine, "from_other", &e) < 0)
		return 2;
	prda_add(mine, 3);
	printf("# other process: alias %#lx\n", (unsigned long)prda_number(mine));
	return prda_number(mine) == number + 8 ? 0 : 3;
}

static void share_with_another_program(const char *tunables)
{
	struct prda_region *r;
	prda_u64 n, after;
	assert_int_equal(prda_region_new(&(struct prda_options){ .name = "test", .shared = true }, &r, NULL), 0);
	assert_int_equal(prda_alloc(r, &n, "n", NULL), 0);
	prda_add(n, 1);
	char fd_text[20], number_text[30];
	pid_t child = fork();
	if (child == 0) {
		int fd = dup(prda_region_fd(r));   // without close-on-exec
		setenv("GLIBC_TUNABLES", tunables, 1);
		snprintf(fd_text, sizeof(fd_text), "%d", fd);
		snprintf(number_text, sizeof(number_text), "%lu", (unsigned long)prda_number(n));
		execl("/proc/self/exe", "prda_test", "other", fd_text, number_text, (char *)NULL);
		_exit(9);
	}
	int status = 1;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(prda_sum(n), 6);
	assert_int_equal(prda_alloc(r, &after, "after", NULL), 0);
	assert_true(prda_number(after) > prda_number(n) + 8);   // the other's variable is still there
	assert_int_equal(prda_sum(prda_from_number(prda_u64, prda_number(n) + 8)), 3);

	/* Here the addresses are taken: by r itself. */
	struct prda_region *twice;
	struct err e = ERR_INIT;
	assert_int_equal(prda_region_attach(prda_region_fd(r), &twice, &e), -EADDRNOTAVAIL);
	prda_region_close(r);
}

static void test_shared_with_another_program(void **state)
{
	(void)state;
	share_with_another_program("glibc.pthread.rseq=1");
	share_with_another_program("glibc.pthread.rseq=0");
}

static void test_attach_refuses_nonsense(void **state)
{
	(void)state;
	struct prda_region *r, *other;
	struct err e = ERR_INIT;
	int fd = open("/proc/self/exe", O_RDONLY);
	assert_int_equal(prda_region_attach(fd, &other, &e), -EINVAL);
	close(fd);
	assert_int_equal(prda_region_attach(-1, &other, &e), -EBADF);
	assert_int_equal(prda_region_new(&(struct prda_options){ .shared = true }, &r, NULL), 0);
	struct prda_shared good = *r->shared;
	r->shared->version++;
	assert_int_equal(prda_region_attach(prda_region_fd(r), &other, &e), -EINVAL);
	*r->shared = good;
	r->shared->cpus = 0x80000001;
	assert_int_equal(prda_region_attach(prda_region_fd(r), &other, &e), -EINVAL);
	*r->shared = good;
	r->shared->alias += 4096;
	assert_int_equal(prda_region_attach(prda_region_fd(r), &other, &e), -EINVAL);
	*r->shared = good;
	prda_region_close(r);
	assert_int_equal(prda_region_new(&(struct prda_options){ .cpus = 100000 }, &r, &e), -EINVAL);
}

static void test_many_regions(void **state)
{
	(void)state;
	enum { N = 40 };
	struct prda_region *r[N];
	prda_u64 n[N];
	for (int i = 0; i < N; i++) {
		assert_int_equal(prda_region_new(&(struct prda_options){ .shared = i & 1 }, &r[i], NULL), 0);
		assert_int_equal(prda_alloc(r[i], &n[i], NULL, NULL), 0);
		prda_add(n[i], i);
	}
	for (int i = 0; i < N; i++)
		assert_int_equal(prda_sum(n[i]), i);
	for (int i = 0; i < N; i++)
		prda_region_close(r[i]);
}

static void test_locked_form_by_choice(void **state)
{
	(void)state;
	struct prda_region *r;
	struct prda_stats s;
	prda_u64 n;
	assert_int_equal(prda_region_new(&(struct prda_options){ .form = PRDA_LOCKED }, &r, NULL), 0);
	assert_int_equal(prda_region_form(r), PRDA_LOCKED);
	assert_int_equal(prda_alloc(r, &n, NULL, NULL), 0);
	run_on(0);
	prda_add(n, 2);
	prda_add(n, 2);
	assert_int_equal(prda_read(n, prda_region_cpus(r)), 4);
	prda_region_stats(r, &s);
	assert_int_equal(s.locked, 2);
	assert_int_equal(s.restarts, 0);
	prda_region_close(r);
}

static bool refuse_rseq(void)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);
	bool ok = c && seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(rseq), 0) == 0 && seccomp_load(c) == 0;
	seccomp_release(c);
	return ok;
}

/* A thread without rseq beside one that has it: they do not disturb each other. */
static void *add_many(void *n)
{
	for (int i = 0; i < 20000; i++)
		prda_add(*(prda_u64 *)n, 1);
	return NULL;
}

static void *unregister_and_add(void *n)
{
	struct rseq *own = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	if (prda_have_rseq() && syscall(SYS_rseq, own, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) < 0)
		return n;
	return prda_have_rseq() ? n : add_many(n);
}

static void test_thread_without_rseq(void **state)
{
	(void)state;
	prda_u64 n;
	pthread_t with, without;
	void *rc = NULL;
	assert_int_equal(prda_alloc(region, &n, NULL, NULL), 0);
	assert_int_equal(pthread_create(&with, NULL, add_many, &n), 0);
	assert_int_equal(pthread_create(&without, NULL, unregister_and_add, &n), 0);
	pthread_join(with, NULL);
	pthread_join(without, &rc);
	assert_null(rc);
	assert_int_equal(prda_sum(n), 40000);
	prda_free(n);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "other") == 0)
		return other_process(atoi(argv[2]), strtoul(argv[3], NULL, 10));
	if (getenv("PRDA_TEST_SECCOMP") && argc == 1) {
		if (!refuse_rseq())
			return 77;
		execl("/proc/self/exe", argv[0], "refused", (char *)NULL);
		return 1;
	}
	printf("# rseq: %s\n", prda_have_rseq() ? "yes" : "no");
	if (prda_have_rseq() && argc == 2)
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alias_follows_the_thread), cmocka_unit_test(test_words), cmocka_unit_test(test_list),
		cmocka_unit_test(test_ring), cmocka_unit_test(test_buffer), cmocka_unit_test(test_cache),
#if defined(__x86_64__)
		cmocka_unit_test(test_own_section), cmocka_unit_test(test_own_section_of_several_stores),
		cmocka_unit_test(test_own_section_interrupted_by_handler),
#endif
		cmocka_unit_test(test_allocation), cmocka_unit_test(test_static_variable),
		cmocka_unit_test(test_more_cpus_than_configured), cmocka_unit_test(test_stray_dereference_faults),
		cmocka_unit_test(test_fork_private), cmocka_unit_test(test_shared_with_another_program),
		cmocka_unit_test(test_attach_refuses_nonsense), cmocka_unit_test(test_many_regions),
		cmocka_unit_test(test_locked_form_by_choice), cmocka_unit_test(test_thread_without_rseq),
	};
	return cmocka_run_group_tests(tests, make_region, close_region);
}
