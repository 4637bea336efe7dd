// SPDX-License-Identifier: Apache-2.0
// Opening agent streams on the side; see streaming_open.h. The thread and the caller each hold the attempt; the last
// one frees it.
#include "streaming_open.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK_SIZE (128u << 10)

struct agent_opening {
	pthread_mutex_t lock;
	bool over, abandoned;     // by the thread, by the caller
	int notify_fd, result;
	struct err e;
	uint32_t timeout_ms;
	char *path;
	size_t len;
	uint8_t packed[];         // StreamOpen
};

static void opening_free(struct agent_opening *o)
{
	pthread_mutex_destroy(&o->lock);
	free(o->path);
	free(o);
}

static void *opening_thread(void *user)
{
	struct agent_opening *o = user;
	Bulkhead__Agent__StreamOpen *open = bulkhead__agent__stream_open__unpack(NULL, o->len, o->packed);
	int result = open ? agent_stream_open(o->path, open, o->timeout_ms, &o->e) : err_set(&o->e, ENOMEM, "no memory");
	if (open)
		bulkhead__agent__stream_open__free_unpacked(open, NULL);
	pthread_mutex_lock(&o->lock);
	bool abandoned = o->abandoned;
	o->result = result;
	o->over = true;
	if (!abandoned)
		eventfd_write(o->notify_fd, 1);
	pthread_mutex_unlock(&o->lock);
	if (abandoned) {
		if (result >= 0)
			close(result);
		opening_free(o);
	}
	return NULL;
}

static int start_thread(struct agent_opening *o)
{
	pthread_attr_t attr;
	pthread_t thread;
	if (pthread_attr_init(&attr))
		return -ENOMEM;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int rc = pthread_create(&thread, &attr, opening_thread, o);
	pthread_attr_destroy(&attr);
	return -rc;
}

struct agent_opening *agent_opening_start(const char *path, const Bulkhead__Agent__StreamOpen *open, uint32_t timeout_ms, int notify_fd)
{
	size_t len = bulkhead__agent__stream_open__get_packed_size(open);
	struct agent_opening *o = calloc(1, sizeof(*o) + len);
	if (!o)
		return NULL;
	pthread_mutex_init(&o->lock, NULL);
	o->notify_fd = notify_fd;
	o->timeout_ms = timeout_ms;
	o->len = len;
	o->path = strdup(path);
	bulkhead__agent__stream_open__pack(open, o->packed);
	if (!o->path || start_thread(o)) {
		opening_free(o);
		return NULL;
	}
	return o;
}

int agent_opening_collect(struct agent_opening *o, struct err *e)
{
	pthread_mutex_lock(&o->lock);
	bool over = o->over;
	pthread_mutex_unlock(&o->lock);
	if (!over)
		return -EINPROGRESS;
	int result = o->result;
	if (result < 0 && e)
		*e = o->e;
	opening_free(o);
	return result;
}

void agent_opening_abandon(struct agent_opening *o)
{
	if (!o)
		return;
	pthread_mutex_lock(&o->lock);
	bool over = o->over;
	o->abandoned = true;
	pthread_mutex_unlock(&o->lock);
	if (!over)
		return;   // the thread frees it
	if (o->result >= 0)
		close(o->result);
	opening_free(o);
}
