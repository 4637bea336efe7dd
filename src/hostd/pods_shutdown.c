// SPDX-License-Identifier: Apache-2.0
// A host that goes down; see pods_shutdown.h. One thread goes through the groups; the pods' workers end them.
#include "pods_shutdown.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jpath.h"
#include "base/log.h"
#include "base/own.h"
#include "events.h"
#include "pod.h"
#include "pods_internal.h"

#define LOOK_NS 50000000L
#define KILL_NS (5 * NS_PER_S)     // behind a group's time: for killing, and for the last status

struct shutdown {
	struct pods *pods;
	struct shutdown_plan plan;
	pthread_t thread;
	volatile int stop, done;
};

static int by_priority(const void *a, const void *b)
{
	long long x = ((const struct shutdown_group *)a)->priority, y = ((const struct shutdown_group *)b)->priority;
	return x < y ? -1 : x > y;
}

int shutdown_plan_parse(const char *text, struct shutdown_plan *plan, struct err *e)
{
	struct shutdown_plan out = {0};
	for (const char *at = text; *at || at == text;) {
		char *end, *last = NULL;
		errno = 0;
		long long priority = strtoll(at, &end, 10);
		long seconds = *end == '=' ? strtol(end + 1, &last, 10) : -1;
		if (end == at || *end != '=' || last == end + 1 || errno || seconds < 0 || seconds > 86400 || (*last && *last != ','))
			return err_set(e, EINVAL, "\"%s\" is not PRIORITY=SECONDS,... with seconds from 0 to 86400", text);
		if (out.count == SHUTDOWN_GROUPS_MAX)
			return err_set(e, EINVAL, "\"%s\": %d groups of priorities at most", text, SHUTDOWN_GROUPS_MAX);
		out.groups[out.count++] = (struct shutdown_group){priority, (unsigned)seconds};
		if (*last == ',' && !last[1])
			return err_set(e, EINVAL, "\"%s\" ends with a comma", text);
		at = *last ? last + 1 : last;
	}
	qsort(out.groups, out.count, sizeof(out.groups[0]), by_priority);
	for (size_t i = 1; i < out.count; i++)
		if (out.groups[i].priority == out.groups[i - 1].priority)
			return err_set(e, EINVAL, "\"%s\" has priority %lld twice", text, out.groups[i].priority);
	*plan = out;
	return 0;
}

size_t shutdown_plan_group(const struct shutdown_plan *plan, long long priority)
{
	size_t i = plan->count - 1;
	while (i && priority < plan->groups[i].priority)
		i--;
	return i;
}

/* With the pod's lock held. */
static void end_pod(struct pod *p, unsigned seconds)
{
	p->shutdown_grace_s = (int)seconds;
	snprintf(p->shut_reason, sizeof(p->shut_reason), "Terminated");
	p->cancel = p->boot_cancel = p->dirty = 1;
	pthread_cond_signal(&p->wake);
}

/* With the pod's lock held: its VM is gone and the API has been told. */
static bool is_over(const struct pod *p)
{
	const char *told = jpath_str(p->reported, "phase", "");
	return p->finished || p->mirror_over || (!p->vm && !p->vm_number && (!strcmp(told, "Failed") || !strcmp(told, "Succeeded")));
}

/* How many pods of the group are left; those that were not told so yet are. */
static size_t end_group(struct shutdown *s, size_t group)
{
	struct pods *ps = s->pods;
	size_t left = 0;
	pthread_mutex_lock(&ps->lock);
	for (struct pod *p = ps->head; p; p = p->next) {
		pthread_mutex_lock(&p->lock);
		if (shutdown_plan_group(&s->plan, jpath_int(p->obj, "spec.priority", 0)) == group && !is_over(p)) {
			left++;
			if (p->shutdown_grace_s < 0)
				end_pod(p, s->plan.groups[group].seconds);
		}
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&ps->lock);
	return left;
}

static void *run(void *arg)
{
	struct shutdown *s = arg;
	for (size_t i = 0; i < s->plan.count && !s->stop; i++) {
		uint64_t end = clock_mono_ns() + s->plan.groups[i].seconds * NS_PER_S + KILL_NS;
		size_t left = end_group(s, i);
		if (left)
			log_info("shutdown", "priority=%lld pods=%zu seconds=%u", s->plan.groups[i].priority, left, s->plan.groups[i].seconds);
		while ((left = end_group(s, i)) && clock_mono_ns() < end && !s->stop)
			nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
		if (left)
			log_warn("shutdown", "priority=%lld: %zu pods have not ended in their time", s->plan.groups[i].priority, left);
	}
	log_info("shutdown", "done");
	s->done = 1;
	return NULL;
}

int pods_shutdown_begin(struct pods *ps, const struct shutdown_plan *plan, struct err *e)
{
	int rc = 0;
	pthread_mutex_lock(&ps->lock);
	if (!ps->shutdown) {
		struct shutdown *s = calloc(1, sizeof(*s));
		if (s) {
			*s = (struct shutdown){.pods = ps, .plan = *plan};
			rc = pthread_create(&s->thread, NULL, run, s);
		}
		if (!s || rc) {
			free(s);
			rc = err_sys(e, rc ? rc : ENOMEM, "shut down");
		} else {
			ps->shutdown = s;
		}
	}
	pthread_mutex_unlock(&ps->lock);
	if (rc)
		return rc;
	own_json json_t *node = json_pack("{s:s, s:s, s:{s:s, s:s}}", "kind", "Node", "apiVersion", "v1", "metadata", "name", ps->host->node_name,
					  "uid", ps->host->node_name);
	events_emit(ps->host->events, node, NULL, "Normal", "Shutdown", "The host goes down: pods end in order of priority");
	return 0;
}

static struct shutdown *shutdown_of(struct pods *ps)
{
	pthread_mutex_lock(&ps->lock);
	struct shutdown *s = ps->shutdown;
	pthread_mutex_unlock(&ps->lock);
	return s;
}

bool pods_shutting_down(struct pods *ps) { return shutdown_of(ps) != NULL; }

bool pods_shutdown_done(struct pods *ps)
{
	const struct shutdown *s = shutdown_of(ps);
	return s && s->done;
}

void pods_shutdown_end(struct pods *ps)
{
	struct shutdown *s = shutdown_of(ps);
	if (!s)
		return;
	s->stop = 1;
	pthread_join(s->thread, NULL);
	ps->shutdown = NULL;
	free(s);
}
