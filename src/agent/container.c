// SPDX-License-Identifier: Apache-2.0
// Containers; see container.h.
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/own.h"
#include "bundle.h"
#include "cgroup.h"
#include "container_io.h"
#include "exec.h"
#include "give_back.h"
#include "pod.h"
#include "reaper.h"
#include "runtime.h"

#define START_FAILED_CODE 128

struct containers { struct container *list; };

struct containers *containers_new(struct agent *a)
{
	(void)a;
	return calloc(1, sizeof(struct containers));
}

static void container_free(struct container *c)
{
	while (c->execs)
		exec_abort(c->execs);
	container_io_free(c->io);
	json_decref(c->config);
	free(c->termination_message);
	free(c->name);
	free(c);
}

void containers_free(struct containers *cs)
{
	while (cs && cs->list) {
		struct container *c = cs->list;
		cs->list = c->next;
		container_free(c);
	}
	free(cs);
}

struct container *container_next(struct agent *a, const struct container *after)
{
	return after ? after->next : a->containers->list;
}

struct container *container_find(struct agent *a, const char *id, struct err *e)
{
	for (struct container *c = a->containers->list; c; c = c->next)
		if (!strcmp(c->id, id))
			return c;
	err_set(e, ENOENT, "container '%s' does not exist", id);
	return NULL;
}

static int check_id(struct agent *a, const char *id, struct err *e)
{
	size_t len = strlen(id);
	if (!len || len > CONTAINER_ID_MAX || strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != len || *id == '-')
		return err_set(e, EINVAL, "'%s' is not a container id: 1 to 64 of a-z, 0-9 and '-'", id);
	if (!pod_uid(a->pod))
		return err_set(e, EAGAIN, "the pod is not configured yet");
	return container_find(a, id, NULL) ? err_set(e, EEXIST, "container '%s' exists", id) : 0;
}

void container_create(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__CreateContainer *cc = rq->create_container;
	struct err e = ERR_INIT;
	int rc = check_id(a, cc->id, &e);
	struct container *c = rc ? NULL : calloc(1, sizeof(*c));
	if (!c) {
		call_end(call, rc ? rc : err_set(&e, ENOMEM, "no memory"), &e);
		return;
	}
	c->agent = a;
	strcpy(c->id, cc->id);
	c->tty = cc->tty, c->stdin_open = cc->stdin, c->stdin_once = cc->stdin_once;
	c->name = strdup(cc->name);
	c->io = container_io_new(c);
	snprintf(c->dir, sizeof(c->dir), "%s/c/%s", a->run_dir, c->id);
	snprintf(c->scratch, sizeof(c->scratch), "%s/c/%s", a->scratch_dir, c->id);
	snprintf(c->cgroup, sizeof(c->cgroup), "%s/%s", a->cgroup_dir, c->id);
	rc = c->name && c->io ? bundle_make(c, cc, &e) : err_set(&e, ENOMEM, "no memory");
	if (rc) {
		bundle_remove(c, NULL);
		container_free(c);
	} else {
		c->next = a->containers->list;
		a->containers->list = c;
	}
	call_end(call, rc, &e);
}

static void fill_status(const struct container *c, Bulkhead__Agent__ContainerStatus *s)
{
	bulkhead__agent__container_status__init(s);
	s->id = (char *)c->id;
	s->name = c->name;
	s->state = c->state;
	s->started_real_ns = c->started_real_ns;
	s->finished_real_ns = c->finished_real_ns;
	s->exit_code = c->exit_code;
	s->signal = c->signal;
	s->oom_killed = c->oom_killed;
	if (c->termination_message)
		s->termination_message = c->termination_message;
	s->pid = (uint32_t)c->pid;
	s->last_log_seq = container_io_last_seq(c->io);
}

/* At most TERMINATION_MESSAGE_MAX bytes of valid UTF-8: protobuf strings are, and Kubernetes stores it. The file is the
 * agent's own (bind-mounted into the container), never a link. */
static char *read_termination_message(const struct container *c)
{
	char path[PATH_MAX + 32], text[TERMINATION_MESSAGE_MAX + 1];
	snprintf(path, sizeof(path), "%s/" BUNDLE_TERMINATION_LOG, c->dir);
	own_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TERMINATION_MESSAGE_MAX);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	for (size_t i = 0; i < (size_t)n; i++)
		if (!text[i])
			text[i] = ' ';
	json_t *valid = json_string(text);
	json_decref(valid);
	if (!valid)
		for (size_t i = 0; i < (size_t)n; i++)
			if ((unsigned char)text[i] >= 0x80)
				text[i] = '?';
	return strdup(text);
}

static void on_exit_of_init(void *user, pid_t pid, int status)
{
	struct container *c = user;
	(void)pid;
	c->finished_real_ns = clock_real_ns();
	c->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	c->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	c->oom_killed = cgroup_value(c->cgroup, "memory.events", "oom_kill") > 0;
	c->termination_message = read_termination_message(c);
	c->state = BULKHEAD__AGENT__CONTAINER_STATE__EXITED;
	cgroup_kill(c->cgroup);   // a shared process namespace outlives the container's first process
	container_io_exited(c->io);
	Bulkhead__Agent__ContainerStatus s;
	Bulkhead__Agent__Event ev = BULKHEAD__AGENT__EVENT__INIT;
	fill_status(c, &s);
	ev.what_case = BULKHEAD__AGENT__EVENT__WHAT_CONTAINER_EXITED;
	ev.container_exited = &s;
	control_event(c->agent->control, &ev);
}

static void start_failed(struct container *c, struct err *e)
{
	const json_t *argv0 = json_array_get(json_object_get(json_object_get(c->config, "process"), "args"), 0);
	runtime_explain(e, json_string_value(argv0), "unable to start container process");
	c->state = BULKHEAD__AGENT__CONTAINER_STATE__EXITED;
	c->exit_code = START_FAILED_CODE;
	c->finished_real_ns = clock_real_ns();
	container_io_failed(c->io);
}

static void on_started(void *user, int rc, pid_t pid, const struct err *error)
{
	struct container *c = user;
	struct call *call = c->starting;
	struct err e = *error;
	c->starting = NULL;
	if (rc) {
		start_failed(c, &e);
		call_fail(call, &e);
		return;
	}
	c->pid = pid;
	c->state = BULKHEAD__AGENT__CONTAINER_STATE__RUNNING;
	container_io_started(c->io);
	call_ok(call);
	give_back_later(c->agent);
	if (reaper_watch(c->agent->reaper, pid, on_exit_of_init, c))
		control_warn(c->agent->control, "container %s: no memory to watch its process", c->id);
}

void container_start(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	struct err e = ERR_INIT;
	struct container *c = container_find(a, rq->start_container->id, &e);
	int rc = c ? 0 : -e.code;
	if (c && c->state == BULKHEAD__AGENT__CONTAINER_STATE__RUNNING) {
		call_ok(call);   // asked again
		return;
	}
	if (c && (c->state != BULKHEAD__AGENT__CONTAINER_STATE__CREATED || c->starting || c->removing))
		rc = err_set(&e, EALREADY, "container '%s' was started before", c->id);
	struct runtime_call run = {.done = on_started, .user = c};
	size_t n = 0;
	if (!rc) {
		run.args[n++] = "run";
		run.args[n++] = "--bundle";
		run.args[n++] = c->dir;
		rc = container_io_open(c->io, run.stdio, &e);
	}
	if (!rc && c->tty) {
		run.args[n++] = "--console-socket";
		run.args[n++] = container_io_console_path(c->io);
	}
	if (!rc) {
		run.args[n++] = c->id;
		c->started_real_ns = clock_real_ns();
		rc = runtime_run(a, &run, &e);
		container_io_spawned(c->io);
		if (rc)
			start_failed(c, &e);
	}
	if (rc)
		call_fail(call, &e);
	else
		c->starting = call;
}

void container_signal(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__SignalContainer *s = rq->signal_container;
	struct err e = ERR_INIT;
	struct container *c = container_find(a, s->id, &e);
	int rc = c ? 0 : -e.code;
	if (!rc && (s->signal < 0 || s->signal > SIGRTMAX))
		rc = err_set(&e, EINVAL, "%d is not a signal", s->signal);
	if (!rc && c->state != BULKHEAD__AGENT__CONTAINER_STATE__RUNNING)
		rc = err_set(&e, ESRCH, "container '%s' is not running", c->id);
	if (!rc && s->all && s->signal == SIGKILL)
		cgroup_kill(c->cgroup);
	else if (!rc && s->all)
		cgroup_signal(c->cgroup, s->signal);
	else if (!rc && kill(c->pid, s->signal))   // ours until it is reaped: the number is right
		rc = err_sys(&e, errno, "signal container '%s'", c->id);
	call_end(call, rc, &e);
}

static void on_deleted(void *user, int rc, pid_t pid, const struct err *error)
{
	struct container *c = user;
	struct agent *a = c->agent;
	struct call *call = c->removing;
	struct err e = ERR_INIT;
	(void)pid;
	/* A container that never ran, or that crun has forgotten, is no reason to keep the rest. */
	if (rc && !strstr(error->text, "No such file"))
		control_warn(a->control, "remove container %s: %s", c->id, error->text);
	if (c->state == BULKHEAD__AGENT__CONTAINER_STATE__RUNNING)
		reaper_forget(a->reaper, c->pid);
	struct container **p = &a->containers->list;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	rc = bundle_remove(c, &e);
	container_free(c);
	call_end(call, rc, &e);
}

void container_remove(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	struct err e = ERR_INIT;
	struct container *c = container_find(a, rq->remove_container->id, &e);
	if (!c) {
		call_ok(call);   // asked again
		return;
	}
	if (c->starting || c->removing) {
		err_set(&e, EBUSY, "container '%s' is being %s", c->id, c->starting ? "started" : "removed");
		call_fail(call, &e);
		return;
	}
	c->removing = call;
	if (!c->pid) {
		on_deleted(c, 0, 0, &e);   // crun never had it
		return;
	}
	cgroup_kill(c->cgroup);
	struct runtime_call run = {.args = {"delete", "--force", c->id}, .stdio = {-1, -1, -1}, .done = on_deleted, .user = c};
	if (runtime_run(a, &run, &e)) {
		c->removing = NULL;
		call_fail(call, &e);
	}
}

void container_list(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	Bulkhead__Agent__ContainerList list = BULKHEAD__AGENT__CONTAINER_LIST__INIT;
	Bulkhead__Agent__Reply reply = BULKHEAD__AGENT__REPLY__INIT;
	size_t count = 0;
	(void)rq;
	for (struct container *c = a->containers->list; c; c = c->next)
		count++;
	own_free Bulkhead__Agent__ContainerStatus *status = calloc(count + 1, sizeof(*status));
	own_free Bulkhead__Agent__ContainerStatus **pointers = calloc(count + 1, sizeof(*pointers));
	if (!status || !pointers) {
		struct err e;
		err_set(&e, ENOMEM, "no memory");
		call_fail(call, &e);
		return;
	}
	for (struct container *c = a->containers->list; c; c = c->next) {
		pointers[list.n_containers] = &status[list.n_containers];
		fill_status(c, &status[list.n_containers++]);
	}
	list.containers = pointers;
	reply.what_case = BULKHEAD__AGENT__REPLY__WHAT_CONTAINERS;
	reply.containers = &list;
	call_reply(call, &reply);
}

struct update { struct call *call; char path[PATH_MAX + 32]; };

static void on_updated(void *user, int rc, pid_t pid, const struct err *error)
{
	struct update *u = user;
	(void)pid;
	unlink(u->path);
	call_end(u->call, rc, error);
	free(u);
}

void container_update(struct agent *a, const Bulkhead__Agent__Request *rq, struct call *call)
{
	const Bulkhead__Agent__UpdateResources *ur = rq->update_resources;
	struct err e = ERR_INIT;
	struct container *c = container_find(a, ur->id, &e);
	own_free struct update *u = calloc(1, sizeof(*u));
	int rc = !c ? -e.code : u ? 0 : err_set(&e, ENOMEM, "no memory");
	json_t *resources = rc ? NULL : json_loads(ur->linux_resources, JSON_REJECT_DUPLICATES, NULL);
	if (!rc && !json_is_object(resources))
		rc = err_set(&e, EINVAL, "linux_resources is not a JSON object");
	json_decref(resources);
	if (!rc && c->state != BULKHEAD__AGENT__CONTAINER_STATE__RUNNING)
		rc = err_set(&e, ESRCH, "container '%s' is not running", c->id);
	if (!rc) {
		u->call = call;
		snprintf(u->path, sizeof(u->path), "%s/resources.json", c->dir);
		rc = file_write_atomic(u->path, ur->linux_resources, strlen(ur->linux_resources), 0600, &e);
	}
	if (!rc) {
		struct runtime_call run = {.args = {"update", "--resources", u->path, c->id}, .stdio = {-1, -1, -1},
					   .done = on_updated, .user = u};
		rc = runtime_run(a, &run, &e);
	}
	if (rc)
		call_fail(call, &e);
	else
		(void)take(u);
}
