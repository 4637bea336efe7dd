// SPDX-License-Identifier: Apache-2.0
#include "server/view.h"

#include <pthread.h>

#define SLOTS 256             // by resourceVersion: the latest changes fall into different ones
#define TEXT_MAX 32768        // larger ones are not kept

struct slot {
	struct obj *obj;      // a reference: its address stays taken
	json_t *json;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot slots[SLOTS];

static json_t *find(const struct obj *o)
{
	const struct slot *s = &slots[o->rv % SLOTS];
	json_t *j;

	pthread_mutex_lock(&lock);
	j = s->obj == o ? json_incref(s->json) : NULL;
	pthread_mutex_unlock(&lock);
	return j;
}

static void keep(struct obj *o, json_t *j)
{
	struct slot *s = &slots[o->rv % SLOTS], old;

	obj_ref(o);
	json_incref(j);
	pthread_mutex_lock(&lock);
	old = *s;
	*s = (struct slot){ o, j };
	pthread_mutex_unlock(&lock);
	obj_unref(old.obj);
	json_decref(old.json);
}

json_t *obj_view(struct obj *o)
{
	json_t *j = find(o);

	if (j)
		return j;
	j = obj_json(o);
	if (j && o->text_len <= TEXT_MAX && o->rv)
		keep(o, j);
	return j;
}

__attribute__((destructor)) static void drop_all(void)
{
	for (int i = 0; i < SLOTS; i++) {
		obj_unref(slots[i].obj);
		json_decref(slots[i].json);
		slots[i] = (struct slot){ 0 };
	}
}
