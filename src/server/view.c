// SPDX-License-Identifier: Apache-2.0
#include "server/view.h"

#include <pthread.h>
#include <stdio.h>

#define SLOTS 256             // of the latest
#define TEXT_MAX 32768        // larger ones are not kept

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct obj_view slots[SLOTS];
static unsigned next;         // the slot to be taken: the oldest

void obj_view_free(struct obj_view *v)
{
	obj_unref(v->obj);
	json_decref(v->tree);
	*v = (struct obj_view){ 0 };
}

static json_t *find(const struct obj *o)
{
	const struct obj_view *s;
	json_t *tree;

	pthread_mutex_lock(&lock);
	s = &slots[o->view];
	tree = s->obj == o ? json_incref(s->tree) : NULL;
	pthread_mutex_unlock(&lock);
	return tree;
}

static void keep(struct obj *o, json_t *tree, struct obj_view *old)
{
	obj_ref(o);
	pthread_mutex_lock(&lock);
	o->view = next++ % SLOTS;
	*old = slots[o->view];
	slots[o->view] = (struct obj_view){ o, tree };
	pthread_mutex_unlock(&lock);
}

json_t *obj_view(struct obj *o)
{
	struct obj_view old = { 0 };
	json_t *tree = find(o);

	if (tree)
		return tree;
	tree = obj_json(o);
	if (tree && o->text_len <= TEXT_MAX)
		keep(o, json_incref(tree), &old);
	obj_view_free(&old);
	return tree;
}

void obj_view_give(struct obj *o, json_t *tree, struct obj_view *old)
{
	*old = (struct obj_view){ .tree = tree };
	if (tree && o->text_len <= TEXT_MAX)
		keep(o, tree, old);
}

void obj_view_committed(struct obj *o)
{
	struct obj_view *s, dropped = { 0 };
	char digits[OBJ_RV_DIGITS + 1];

	snprintf(digits, sizeof digits, "%llu", (unsigned long long)o->rv);
	pthread_mutex_lock(&lock);
	s = &slots[o->view];
	if (s->obj == o && json_object_set_new(json_object_get(s->tree, "metadata"), "resourceVersion", json_string(digits))) {
		dropped = *s;           // no memory: it will be parsed
		*s = (struct obj_view){ 0 };
	}
	pthread_mutex_unlock(&lock);
	obj_view_free(&dropped);
}

__attribute__((destructor)) static void drop_all(void)
{
	for (int i = 0; i < SLOTS; i++)
		obj_view_free(&slots[i]);
}
