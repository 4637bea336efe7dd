// SPDX-License-Identifier: Apache-2.0
// Nodes and open files; see nodes.h.
#include "nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define BUCKETS 4096

struct node {
	int fd;                // -1: free
	dev_t dev;
	ino_t ino;
	uint64_t references;   // as the guest counts them
	uint32_t next;         // in its bucket, or of the free ones; number of the node, 0: end
};

struct nodes {
	struct node *list;     // number 1 is list[0]
	uint32_t count, room, free_list;
	uint32_t buckets[BUCKETS];
	int *files;
	uint32_t files_room;
};

static uint32_t *bucket(struct nodes *n, dev_t dev, ino_t ino)
{
	return &n->buckets[(ino * 0x9e3779b97f4a7c15ull + dev) >> 52 & (BUCKETS - 1)];
}

static struct node *node_at(const struct nodes *n, uint64_t id)
{
	return id && id <= n->count && n->list[id - 1].fd >= 0 ? &n->list[id - 1] : NULL;
}

static uint32_t take_number(struct nodes *n)
{
	if (n->free_list) {
		uint32_t id = n->free_list;
		n->free_list = n->list[id - 1].next;
		return id;
	}
	if (n->count == NODES_MAX)
		return 0;
	if (n->count == n->room) {
		uint32_t room = n->room ? n->room * 2 : 64;
		struct node *list = realloc(n->list, room * sizeof(*list));
		if (!list)
			return 0;
		n->list = list;
		n->room = room;
	}
	return ++n->count;
}

int nodes_get(struct nodes *n, int fd, const struct stat *st, uint64_t *id)
{
	uint32_t *head = bucket(n, st->st_dev, st->st_ino);
	for (uint32_t i = *head; i; i = n->list[i - 1].next) {
		struct node *at = &n->list[i - 1];
		if (at->dev == st->st_dev && at->ino == st->st_ino) {
			close(fd);
			at->references++;
			*id = i;
			return 0;
		}
	}
	uint32_t number = take_number(n);
	if (!number) {
		close(fd);
		return -ENFILE;
	}
	n->list[number - 1] = (struct node){.fd = fd, .dev = st->st_dev, .ino = st->st_ino, .references = 1, .next = *head};
	*head = number;
	*id = number;
	return 0;
}

struct nodes *nodes_new(int root_fd)
{
	struct nodes *n = calloc(1, sizeof(*n));
	struct stat st;
	uint64_t id;
	if (!n || fstat(root_fd, &st)) {
		free(n);
		close(root_fd);
		return NULL;
	}
	if (nodes_get(n, root_fd, &st, &id)) {
		free(n);
		return NULL;
	}
	return n;
}

void nodes_free(struct nodes *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i < n->count; i++)
		if (n->list[i].fd >= 0)
			close(n->list[i].fd);
	for (uint32_t i = 0; i < n->files_room; i++)
		if (n->files[i] >= 0)
			close(n->files[i]);
	free(n->list);
	free(n->files);
	free(n);
}

int nodes_fd(const struct nodes *n, uint64_t id)
{
	const struct node *at = node_at(n, id);
	return at ? at->fd : -1;
}

void nodes_forget(struct nodes *n, uint64_t id, uint64_t references)
{
	struct node *at = node_at(n, id);
	if (!at || id == 1)
		return;
	if (references < at->references) {
		at->references -= references;
		return;
	}
	uint32_t *p = bucket(n, at->dev, at->ino);
	while (*p != id)
		p = &n->list[*p - 1].next;
	*p = at->next;
	close(at->fd);
	at->fd = -1;
	at->next = n->free_list;
	n->free_list = (uint32_t)id;
}

uint64_t files_add(struct nodes *n, int fd)
{
	uint32_t i = 0;
	while (i < n->files_room && n->files[i] >= 0)
		i++;
	if (i == n->files_room) {
		uint32_t room = n->files_room ? n->files_room * 2 : 64;
		int *files = room > FILES_MAX ? NULL : realloc(n->files, room * sizeof(*files));
		if (!files) {
			close(fd);
			return 0;
		}
		for (uint32_t k = n->files_room; k < room; k++)
			files[k] = -1;
		n->files = files;
		n->files_room = room;
	}
	n->files[i] = fd;
	return i + 1;
}

int files_fd(const struct nodes *n, uint64_t handle)
{
	return handle && handle <= n->files_room ? n->files[handle - 1] : -1;
}

void files_close(struct nodes *n, uint64_t handle)
{
	int fd = files_fd(n, handle);
	if (fd < 0)
		return;
	close(fd);
	n->files[handle - 1] = -1;
}
