// SPDX-License-Identifier: Apache-2.0
// The first and only process of a guest with two CPUs (tools/prda-guest): takes a CPU away and gives it back while threads
// count, and lets the kernel hold back preemption where it can. Prints TAP, then powers the guest off.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "prda/delay.h"
#include "prda/region.h"
#include "prda/storm.h"

enum { THREADS = 4, ROUNDS = 10 };

static int tests, failures;

static void result(bool good, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	printf("%sok %d - ", good ? "" : "not ", ++tests);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	failures += !good;
}

static bool cpu_1(bool on)
{
	int fd = open("/sys/devices/system/cpu/cpu1/online", O_WRONLY);
	bool good = fd >= 0 && write(fd, on ? "1" : "0", 1) == 1;
	if (fd >= 0)
		close(fd);
	return good;
}

static void run_on(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static prda_u64 count;
static prda_list list;
static _Atomic bool stop;

struct worker { pthread_t thread; int cpu; uint64_t adds; bool wrong; struct prda_node node; };

/* Half of them bound to the CPU that goes: the kernel moves them, and they go on. */
static void *work(void *arg)
{
	struct worker *w = arg;
	run_on(w->cpu);
	prda_push(list, &w->node);
	while (!stop) {
		prda_add(count, 1);
		w->adds++;
		struct prda_node *n = prda_pop(list);
		if (n)
			prda_push(list, n);
		if (w->adds % 1000 == 0)
			sched_yield();
	}
	return NULL;
}

static uint64_t nodes(const struct prda_region *r)
{
	uint64_t n = 0;
	prda_for_each_slot(slot, r)
		for (struct prda_node *p = prda_at(list, slot)->head; p && n < 100; p = p->next)
			n++;
	return n;
}

static void hotplug(void)
{
	struct prda_region *r, *late;
	prda_u64 a;
	static struct worker w[THREADS];
	if (!cpu_1(false) || !cpu_1(true)) {
		printf("ok %d - # SKIP this kernel does not let CPU 1 go\n", ++tests);
		return;
	}
	prda_region_new(NULL, &r, NULL);
	prda_alloc(r, &count, "count", NULL);
	prda_alloc(r, &list, "list", NULL);
	run_on(1);
	prda_add(count, 7);
	uint64_t sum = 7;
	cpu_1(false);
	result(prda_read(count, prda_have_rseq() ? 1 : r->cpus + 1) == 7, "the copy of a CPU that is gone is still there");
	prda_region_new(NULL, &late, NULL);
	result(prda_region_cpus(late) >= 2 && prda_region_form(late) == prda_region_form(r), "a region made meanwhile has an area for it (%u areas)",
		prda_region_cpus(late));
	prda_alloc(late, &a, NULL, NULL);
	cpu_1(true);
	run_on(1);
	prda_add(a, 1);
	result(prda_read(a, prda_have_rseq() ? 1 : late->cpus + 1) == 1, "and uses it when the CPU is back");
	for (int i = 0; i < THREADS; i++) {
		w[i].cpu = i % 2;
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	int changes = 0;
	for (int i = 0; i < ROUNDS; i++) {
		usleep(20000);
		changes += cpu_1(false);
		usleep(20000);
		changes += cpu_1(true);
	}
	stop = true;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		sum += w[i].adds;
	}
	result(prda_sum(count) == sum, "counting while CPU 1 went and came %d times: %llu of %llu", changes,
		(unsigned long long)prda_sum(count), (unsigned long long)sum);
	result(nodes(r) == THREADS, "list whole: %llu of %d nodes", (unsigned long long)nodes(r), THREADS);
}

static void storm(enum prda_form form, const char *name, double seconds)
{
	static struct storm s;
	struct prda_region *r;
	struct prda_stats p;
	prda_region_new(&(struct prda_options){ .form = form }, &r, NULL);
	storm_init(&s, r);
	storm_run(&s, 8, seconds);
	prda_region_stats(r, &p);
	int bad = storm_check(&s, 0);
	printf("# %s: %llu operations, %llu moves, %llu signals; %llu restarts, %llu delayed, %llu yields\n", name,
		(unsigned long long)s.sums->operations, (unsigned long long)s.sums->moves, (unsigned long long)s.sums->signals,
		(unsigned long long)p.restarts, (unsigned long long)p.delayed, (unsigned long long)p.yields);
	result(bad == 0 && s.sums->operations > 0, "storm, %s", name);
	if (form == PRDA_DELAY)
		result(p.delayed > 0, "sections ran with preemption held back: %llu, %llu of them ended by giving up the CPU",
			(unsigned long long)p.delayed, (unsigned long long)p.yields);
}

/* A long section, again and again, beside others that want the CPU: sooner or later the kernel grants. */
static void grants(void)
{
	prda_u64 a;
	struct prda_region *r;
	struct prda_stats p = { 0 };
	static struct worker w[THREADS];
	prda_region_new(&(struct prda_options){ .form = PRDA_DELAY }, &r, NULL);
	prda_alloc(r, &a, NULL, NULL);
	stop = false;
	for (int i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .cpu = 0 };
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	run_on(0);
	uint64_t n = 0;
	for (; n < 20000000 && p.yields == 0; n++) {
		PRDA_SECTION(a,
			"movl $10000, %%eax\n"
			"10:\tdecl %%eax\n\t"
			"jnz 10b\n\t"
			"addq $1, " PRDA_HERE_("0"),
			(), (), __atomic_store_n(here, *here + 1, __ATOMIC_RELEASE), "rax");
		if (n % 64 == 0)
			prda_region_stats(r, &p);
	}
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	prda_region_stats(r, &p);
	result(p.yields > 0, "preemption was held back and then allowed: %llu times in %llu sections", (unsigned long long)p.yields,
		(unsigned long long)n);
	result(prda_sum(a) == n, "and nothing was lost");
}

int main(void)
{
	struct utsname u;
	mkdir("/proc", 0755), mkdir("/sys", 0755);
	mount("none", "/proc", "proc", 0, NULL);
	mount("none", "/sys", "sysfs", 0, NULL);
	setvbuf(stdout, NULL, _IONBF, 0);
	uname(&u);
	printf("TAP version 13\n# Linux %s; rseq: %s; time slice extension: %s\n", u.release, prda_have_rseq() ? "yes" : "no",
		prda_delay_available() ? "yes" : "no");
	hotplug();
	storm(PRDA_RESTART, "restart", 2);
	if (prda_delay_available()) {
		storm(PRDA_DELAY, "delay", 2);
		grants();
	} else {
		printf("ok %d - # SKIP this kernel has no time slice extension\n", ++tests);
	}
	printf("1..%d\n# %s\n", tests, failures ? "FAILED" : "PASSED");
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
