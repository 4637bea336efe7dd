// SPDX-License-Identifier: Apache-2.0
#include "server/view.h"

#include <pthread.h>
#include <stdio.h>

#define SLOTS 256             // of the latest
#define TEXT_MAX 32768        // larger ones are not kept

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared_tree slots[SLOTS];
static unsigned oldest;       // the slot to be taken

void obj_view_free(struct shared_tree *s)
{
	obj_unref(s->obj);
	json_decref(s->tree);
	*s = (struct shared_tree){ 0 };
}

static json_t *find(const struct obj *o)
{
	const struct shared_tree *s;
	json_t *tree;

	pthread_mutex_lock(&lock);
	s = &slots[o->view];
	tree = s->obj == o ? json_incref(s->tree) : NULL;
	pthread_mutex_unlock(&lock);
	return tree;
}

/* What *old is afterwards has lost its place: another, or this one if somebody else was faster. */
static void keep(struct obj *o, json_t *tree, struct shared_tree *old)
{
	*old = (struct shared_tree){ obj_ref(o), tree };
	pthread_mutex_lock(&lock);
	if (slots[o->view].obj == o) {
		pthread_mutex_unlock(&lock);
		return;
	}
	o->view = oldest++ % SLOTS;
	struct shared_tree new = *old;
	*old = slots[o->view];
	slots[o->view] = new;
	pthread_mutex_unlock(&lock);
}

json_t *obj_view(struct obj *o)
{
	struct shared_tree old = { 0 };
	json_t *tree = find(o);

	if (tree)
		return tree;
	tree = obj_json(o);
	if (tree && o->text_len <= TEXT_MAX)
		keep(o, json_incref(tree), &old);
	obj_view_free(&old);
	return tree;
}

void obj_view_give(struct obj *o, json_t *tree, struct shared_tree *old)
{
	*old = (struct shared_tree){ .tree = tree };
	if (tree && o->text_len <= TEXT_MAX)
		keep(o, tree, old);
}

/* Take it out of its slot; the lock is held. */
static struct shared_tree take_out(struct obj *o)
{
	struct shared_tree *s = &slots[o->view], out = { 0 };

	if (s->obj == o) {
		out = *s;
		*s = (struct shared_tree){ 0 };
	}
	return out;
}

void obj_view_committed(struct obj *o)
{
	struct shared_tree *s, dropped = { 0 };
	char digits[OBJ_RV_DIGITS + 1];

	snprintf(digits, sizeof digits, "%llu", (unsigned long long)o->rv);
	pthread_mutex_lock(&lock);
	s = &slots[o->view];
	if (s->obj == o && json_object_set_new(json_object_get(s->tree, "metadata"), "resourceVersion", json_string(digits)))
		dropped = take_out(o);       // no memory: it will be parsed
	pthread_mutex_unlock(&lock);
	obj_view_free(&dropped);
}

void obj_view_forget(struct obj *o)
{
	struct shared_tree dropped;

	pthread_mutex_lock(&lock);
	dropped = take_out(o);
	pthread_mutex_unlock(&lock);
	obj_view_free(&dropped);
}

__attribute__((destructor)) static void drop_all(void)
{
	for (int i = 0; i < SLOTS; i++)
		obj_view_free(&slots[i]);
}
