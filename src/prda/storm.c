// SPDX-License-Identifier: Apache-2.0
#include "storm.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

enum { RING = 64, BUFFER = 4096, CACHE = 64, RECORD_MAX = 120 };

struct worker {
	struct storm *s;
	int number;
	uint32_t random;
	pthread_t thread;
	_Atomic int tid;
	uint64_t adds, compares, sections, marks, records_in, records_out, put, put_sum, got, got_sum, swapped_in, swapped_out, ops;
	uint64_t signals, faults;
	struct worker_handler { uint64_t records_in, signals, faults; uint32_t random; } h;   // of the signal handler
};

static _Thread_local struct worker *self;

static uint32_t next(uint32_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 17;
	*random ^= *random << 5;
	return *random;
}

/* A record says its length and is filled with bytes that follow from its first. */
static size_t record_make(unsigned char *record, uint32_t random)
{
	size_t len = random & 1 ? 64 : 8 + random / 2 % (RECORD_MAX - 8);
	record[0] = (unsigned char)len;
	record[1] = (unsigned char)(random >> 8);
	for (size_t i = 2; i < len; i++)
		record[i] = (unsigned char)(record[1] + i * 7);
	return len;
}

/* Returns the number of records in data, or -1 when one of them is not whole. */
static int records_check(const unsigned char *data, size_t len)
{
	int n = 0;
	while (len > 0) {
		size_t size = data[0];
		if (size < 8 || size > len)
			return -1;
		for (size_t i = 2; i < size; i++)
			if (data[i] != (unsigned char)(data[1] + i * 7))
				return -1;
		data += size;
		len -= size;
		n++;
	}
	return n;
}

static bool append(struct storm *s, uint32_t random)
{
	unsigned char record[RECORD_MAX];
	size_t len = record_make(record, random);
	return len == 64 ? prda_append(s->buffer, record, 64) : prda_append(s->buffer, record, len);
}

/* Take a node off the list, see that nobody else has it, put it back. */
static bool list_turn(struct storm *s)
{
	struct prda_node *n = prda_pop(s->list);
	if (!n)
		return true;
	struct storm_node *node = (struct storm_node *)n;
	bool mine = atomic_exchange(&node->taken, 1) == 0;
	n->next = (struct prda_node *)(uintptr_t)0xdead;
	atomic_store(&node->taken, 0);
	prda_push(s->list, n);
	return mine;
}

static void on_signal(int sig)
{
	(void)sig;
	struct worker *w = self;
	if (!w)
		return;
	int saved = errno;
	struct worker_handler *h = &w->h;
	h->signals++;
	prda_add(w->s->signalled, 1);
	h->records_in += append(w->s, next(&h->random));
	h->faults += !list_turn(w->s);
	errno = saved;
}

/* At a numbered point. Not a system call there, which newer kernels do not look for. */
static void on_trap(int sig)
{
	(void)sig;
	int saved = errno;
	sched_yield();
	errno = saved;
}

static void cache_turn(struct worker *w)
{
	uint64_t token[8];
	size_t n = prda_take(w->s->cache, token, 1 + next(&w->random) % 8);
	for (size_t i = 0; i < n; i++) {
		if (token[i] >= STORM_TOKENS || atomic_exchange(&w->s->sums->token[token[i]], 1) != 0) {
			w->faults++;
			return;
		}
	}
	for (size_t i = 0; i < n; i++)
		atomic_store(&w->s->sums->token[token[i]], 0);
	for (size_t put = 0; put < n;)
		put += prda_give(w->s->cache, token + put, n - put);
}

/* Sections of one's own: a word is read, and stored one higher, with points between. */
static void section_turn(struct worker *w)
{
#if defined(__x86_64__)
	uint64_t v;
	PRDA_SECTION(w->s->section,
		PRDA_COPY_ADDRESS_
		PRDA_POINT_(2)
		"movq (%[t]), %[v]\n\t"
		"incq %[v]\n\t"
		PRDA_POINT_(3)
		"movq %[v], (%[t])",
		([v] "=&r"(v)), (),
		__atomic_store_n(here, *here + 1, __ATOMIC_RELEASE));
	w->sections++;
#else
	(void)w;
#endif
}

/* Store, in a section, the number of the CPU as the processor itself knows it. */
static void mark_turn(struct worker *w)
{
#if defined(__x86_64__)
	bool locked = false;
	PRDA_SECTION(w->s->mark,
		PRDA_COPY_ADDRESS_
		PRDA_POINT_(2)
		"rdtscp\n\t"
		"andl $0xfff, %%ecx\n\t"
		"incl %%ecx\n\t"
		"movq %%rcx, (%[t])",
		(), (), (locked = true, (void)here), "rax", "rcx", "rdx");
	w->marks += !locked;
#else
	(void)w;
#endif
}

static void turn(struct worker *w)
{
	struct storm *s = w->s;
	uint64_t v;
	switch (next(&w->random) % 12) {
	case 0: case 1:
		atomic_fetch_add_explicit(&s->sums->begun[w->number], 1, memory_order_relaxed);
		prda_add(s->count, 1);
		atomic_fetch_add_explicit(&s->sums->ended[w->number], 1, memory_order_relaxed);
		w->adds++;
		break;
	case 2:
		v = prda_load(s->compare);
		w->compares += prda_compare_store(s->compare, v, v + 1);
		break;
	case 3:
		section_turn(w);
		break;
	case 4:
		mark_turn(w);
		break;
	case 5:
		w->records_in += append(s, next(&w->random));
		break;
	case 6: {
		unsigned char data[BUFFER];
		ssize_t len = prda_flush(s->buffer, data, sizeof(data));
		int n = len < 0 ? -1 : records_check(data, (size_t)len);
		if (n < 0)
			w->faults++;
		else
			w->records_out += (uint64_t)n;
		break;
	}
	case 7:
		v = next(&w->random);
		if (prda_put(s->ring, v)) {
			w->put++;
			w->put_sum += v;
		}
		break;
	case 8:
		if (prda_get(s->ring, &v)) {
			w->got++;
			w->got_sum += v;
		}
		break;
	case 9:
		v = next(&w->random);
		w->swapped_out += prda_exchange(s->swap, v);
		w->swapped_in += v;
		break;
	case 10:
		cache_turn(w);
		break;
	default:
		w->faults += !list_turn(s);
	}
	w->ops++;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	self = w;
	atomic_store(&w->tid, gettid());
	while (!atomic_load_explicit(&w->s->sums->stop, memory_order_relaxed))
		turn(w);
	self = NULL;
	struct storm_sums *t = w->s->sums;
	t->adds += w->adds;
	t->records_in += w->records_in + w->h.records_in;
	t->faults += w->faults + w->h.faults;
	t->signals += w->h.signals;
	t->compares += w->compares;
	t->sections += w->sections;
	t->marks += w->marks;
	t->records_out += w->records_out;
	t->put += w->put;
	t->put_sum += w->put_sum;
	t->got += w->got;
	t->got_sum += w->got_sum;
	t->swapped_in += w->swapped_in;
	t->swapped_out += w->swapped_out;
	t->operations += w->ops;
	return NULL;
}

/* Which CPUs there are to be moved to. */
static int usable_cpus(int *cpus, int max)
{
	cpu_set_t set;
	int n = 0;
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && n < max; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	return n;
}

static void weather(struct storm *s, struct worker *w, int threads, double seconds)
{
	int cpus[STORM_SLOTS], n = usable_cpus(cpus, STORM_SLOTS);
	uint32_t random = s->seed * 2654435761u + (uint32_t)getpid();
	uint64_t end = clock_mono_ns() + (uint64_t)(seconds * 1e9);
	for (uint64_t i = 0; clock_mono_ns() < end && !atomic_load(&s->sums->stop); i++) {
		struct worker *who = &w[next(&random) % (uint32_t)threads];
		int tid = atomic_load(&who->tid);
		if (tid == 0) {
			sched_yield();
			continue;
		}
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(cpus[next(&random) % (uint32_t)n], &set);
		s->sums->moves += sched_setaffinity(tid, sizeof(set), &set) == 0;
		if (i % 8 == 0)
			pthread_kill(who->thread, SIGUSR1);
#ifdef PRDA_TEST_HOOKS
		if (i % 16 == 0) {
			uint32_t kind = next(&random) % 8;
			int what = kind < 3 ? 0 : kind < 5 ? (int)(next(&random) % 500) : -1;
			__atomic_store_n(&prda_hook[next(&random) % 4], what, __ATOMIC_RELAXED);
		}
#endif
	}
#ifdef PRDA_TEST_HOOKS
	for (int i = 0; i < 4; i++)
		__atomic_store_n(&prda_hook[i], 0, __ATOMIC_RELAXED);
#endif
}

void storm_run(struct storm *s, int threads, double seconds)
{
	static struct worker workers[STORM_THREADS];
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;
	struct sigaction trap = { .sa_handler = on_trap, .sa_flags = SA_RESTART | SA_NODEFER }, trap_before;
	sigaction(SIGUSR1, &act, &before);
	sigaction(SIGTRAP, &trap, &trap_before);
	memset(workers, 0, sizeof(workers));
	for (int i = 0; i < threads; i++) {
		workers[i] = (struct worker){ .s = s, .number = i, .random = s->seed * 7919u + (uint32_t)(i + 1) * 104729u };
		workers[i].h.random = workers[i].random ^ 0x5bd1e995u;
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	weather(s, workers, threads, seconds);
	atomic_store(&s->sums->stop, 1);
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	sigaction(SIGUSR1, &before, NULL);
	sigaction(SIGTRAP, &trap_before, NULL);
}

int storm_init(struct storm *s, struct prda_region *r)
{
	*s = (struct storm){ .region = r, .seed = 1 };
	int rc = prda_alloc(r, &s->count, "count", NULL);
	rc = rc ? rc : prda_alloc(r, &s->signalled, "signalled", NULL);
	rc = rc ? rc : prda_alloc(r, &s->compare, "compare", NULL);
	rc = rc ? rc : prda_alloc(r, &s->section, "section", NULL);
	rc = rc ? rc : prda_alloc(r, &s->mark, "mark", NULL);
	rc = rc ? rc : prda_alloc(r, &s->swap, "swap", NULL);
	rc = rc ? rc : prda_alloc(r, &s->list, "list", NULL);
	rc = rc ? rc : prda_ring_alloc(r, &s->ring, RING, "ring", NULL);
	rc = rc ? rc : prda_buffer_alloc(r, &s->buffer, BUFFER, "buffer", NULL);
	rc = rc ? rc : prda_cache_alloc(r, &s->cache, STORM_TOKENS, "cache", NULL);
	if (rc)
		return rc;
	s->sums = mmap(NULL, sizeof(*s->sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->sums == MAP_FAILED)
		return -errno;
	for (int i = 0; i < STORM_NODES; i++)
		prda_push(s->list, &s->sums->node[i].node);
	for (uint64_t i = 0; i < STORM_TOKENS; i++)
		prda_give(s->cache, &i, 1);
	return 0;
}

void storm_fini(struct storm *s)
{
	munmap(s->sums, sizeof(*s->sums));
}

static int wrong(const char *what, uint64_t is, uint64_t should)
{
	printf("# %s: %llu, should be %llu\n", what, (unsigned long long)is, (unsigned long long)should);
	return 1;
}

/* Every node and token in one slot's list and cache, once. Counts them; returns what is wrong. */
static int things_check(struct storm *s, uint32_t slot, unsigned *nodes, unsigned *tokens, unsigned char *seen_node,
	unsigned char *seen_token)
{
	int bad = 0, steps = 0;
	for (struct prda_node *n = prda_at(s->list, slot)->head; n && steps <= STORM_NODES; n = n->next, steps++) {
		ptrdiff_t i = (struct storm_node *)n - s->sums->node;
		if (i < 0 || i >= STORM_NODES || seen_node[i]++)
			return wrong("node on a list that is not one, or twice; slot", slot, 0);
		++*nodes;
	}
	struct prda_cache_ *c = prda_at(s->cache, slot);
	if (c->count > c->size)
		return wrong("cache count", c->count, c->size);
	for (uint64_t i = 0; i < c->count; i++) {
		if (c->item[i] >= STORM_TOKENS || seen_token[c->item[i]]++)
			return bad + wrong("token twice in the caches", c->item[i], 0);
		++*tokens;
	}
	return bad;
}

int storm_check(struct storm *s, int killed)
{
	struct storm_sums *t = s->sums;
	unsigned char seen_node[STORM_NODES] = { 0 }, seen_token[STORM_TOKENS] = { 0 };
	unsigned nodes = 0, tokens = 0;
	uint64_t ring = 0, ring_sum = 0, records = 0;
	int bad = t->faults ? wrong("faults seen by workers", t->faults, 0) : 0;
	prda_for_each_slot(slot, s->region) {
		bad += things_check(s, slot, &nodes, &tokens, seen_node, seen_token);
		struct prda_ring_ *r = prda_at(s->ring, slot);
		if (r->tail - r->head > r->mask + 1)
			bad += wrong("ring filled", r->tail - r->head, r->mask + 1);
		for (uint64_t i = r->head; i != r->tail && r->tail - i <= r->mask + 1; i++, ring++)
			ring_sum += r->slot[i & r->mask];
		const void *data;
		size_t len = prda_peek(s->buffer, slot, &data);
		int n = len > BUFFER ? -1 : records_check(data, len);
		if (n < 0)
			bad += wrong("torn record in slot", slot, 0);
		else
			records += (uint64_t)n;
		uint64_t mark = prda_read(s->mark, slot);
		if (mark != 0 && mark != slot + 1)
			bad += wrong("mark of a CPU in another's area", mark, slot + 1);
	}
	/* A killed thread takes what it held with it: a node (its handler another), up to 8 tokens. */
	if (nodes > STORM_NODES || nodes + 2 * (unsigned)killed < STORM_NODES)
		bad += wrong("nodes", nodes, STORM_NODES);
	if (tokens > STORM_TOKENS || tokens + 8 * (unsigned)killed < STORM_TOKENS)
		bad += wrong("tokens", tokens, STORM_TOKENS);
	if (killed) {
		uint64_t begun = 0, ended = 0, count = prda_sum(s->count);
		for (int i = 0; i < STORM_THREADS; i++) {
			begun += t->begun[i];
			ended += t->ended[i];
		}
		if (count < ended || count > begun)
			bad += wrong("count after a kill", count, ended);
		return bad;
	}
	bad += prda_sum(s->count) == t->adds ? 0 : wrong("count", prda_sum(s->count), t->adds);
	bad += prda_sum(s->signalled) == t->signals ? 0 : wrong("count of signals", prda_sum(s->signalled), t->signals);
	bad += prda_sum(s->compare) == t->compares ? 0 : wrong("compare-and-store", prda_sum(s->compare), t->compares);
	bad += prda_sum(s->section) == t->sections ? 0 : wrong("own sections", prda_sum(s->section), t->sections);
	bad += prda_sum(s->swap) + t->swapped_out == t->swapped_in ? 0
		: wrong("exchanged", prda_sum(s->swap) + t->swapped_out, t->swapped_in);
	bad += ring + t->got == t->put ? 0 : wrong("ring words", ring + t->got, t->put);
	bad += ring_sum + t->got_sum == t->put_sum ? 0 : wrong("sum of ring words", ring_sum + t->got_sum, t->put_sum);
	bad += records + t->records_out == t->records_in ? 0 : wrong("records", records + t->records_out, t->records_in);
	return bad;
}
