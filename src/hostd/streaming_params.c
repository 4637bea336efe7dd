// SPDX-License-Identifier: Apache-2.0
// Query parameters; see streaming_params.h.
#include "streaming_params.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

void streaming_params_init(struct streaming_params *p)
{
	*p = (struct streaming_params){.log = CRI_LOG_QUERY_INIT};
}

void streaming_params_fini(struct streaming_params *p)
{
	for (size_t i = 0; i < p->command_count; i++)
		free(p->command[i]);
	free(p->command);
	free(p->run);
	streaming_params_init(p);
}

/* "input=1" of the kubelet, "stdin=true" of the API server, and "follow" alone. */
static bool is_true(const char *value)
{
	return strcmp(value, "0") && strcasecmp(value, "false");
}

static int number(const char *name, const char *value, int64_t min, int64_t max, int64_t *out, struct err *e)
{
	char *end;
	errno = 0;
	long long n = strtoll(value, &end, 10);
	if (errno || end == value || *end || (*value != '-' && (*value < '0' || *value > '9')))
		return err_set(e, EINVAL, "%s=%.40s: must be a whole number", name, value);
	if (n < min || n > max)
		return err_set(e, EINVAL, "%s=%.40s: must be from %lld to %lld", name, value, (long long)min, (long long)max);
	*out = n;
	return 0;
}

static int add_word(struct streaming_params *p, const char *word, struct err *e)
{
	if (p->command_count == PARAMS_COMMAND_MAX)
		return err_set(e, EINVAL, "the command has more than %d words", PARAMS_COMMAND_MAX);
	char **more = realloc(p->command, (p->command_count + 2) * sizeof(*more));
	if (!more)
		return err_set(e, ENOMEM, "no memory");
	p->command = more;
	char *copy = strdup(word);
	if (!copy)
		return err_set(e, ENOMEM, "no memory");
	p->command[p->command_count++] = copy;
	p->command[p->command_count] = NULL;
	return 0;
}

/* "80", or several separated by commas. */
static int add_ports(struct streaming_params *p, const char *value, struct err *e)
{
	for (const char *at = value;; at++) {
		char text[8];
		size_t len = strcspn(at, ",");
		int64_t n;
		if (len >= sizeof(text))
			return err_set(e, EINVAL, "port=%.40s: must be a number from 1 to 65535", value);
		memcpy(text, at, len);
		text[len] = '\0';
		int rc = number("port", text, 1, 65535, &n, e);
		if (rc)
			return rc;
		if (p->ports_count == PARAMS_PORTS_MAX)
			return err_set(e, EINVAL, "more than %d ports", PARAMS_PORTS_MAX);
		p->ports[p->ports_count++] = (uint16_t)n;
		at += len;
		if (!*at)
			return 0;
	}
}

static int add_run(struct streaming_params *p, const char *value, struct err *e)
{
	char *copy = strdup(value);
	if (!copy)
		return err_set(e, ENOMEM, "no memory");
	free(p->run);
	p->run = copy;
	return 0;
}

static int add_since_seconds(struct streaming_params *p, const char *value, struct err *e)
{
	int64_t n;
	uint64_t now = clock_real_ns();
	int rc = number("sinceSeconds", value, 1, INT64_MAX, &n, e);
	if (rc)
		return rc;
	p->log.since_ns = (uint64_t)n >= now / NS_PER_S ? 1 : now - (uint64_t)n * NS_PER_S;
	return 0;
}

static int add_log(struct streaming_params *p, const char *name, const char *value, struct err *e)
{
	if (!strcmp(name, "follow"))
		p->log.follow = is_true(value);
	else if (!strcmp(name, "timestamps"))
		p->log.timestamps = is_true(value);
	else if (!strcmp(name, "previous"))
		p->previous = is_true(value);
	else if (!strcmp(name, "tailLines") || (!strcmp(name, "tail") && strcmp(value, "all")))
		return number(name, value, 0, INT64_MAX, &p->log.tail_lines, e);
	else if (!strcmp(name, "limitBytes"))
		return number(name, value, 1, INT64_MAX, &p->log.limit_bytes, e);
	else if (!strcmp(name, "sinceSeconds"))
		return add_since_seconds(p, value, e);
	else if (!strcmp(name, "sinceTime") && *value && clock_parse(value, &p->log.since_ns))
		return err_set(e, EINVAL, "sinceTime=%.40s: must be a time like 2006-01-02T15:04:05Z", value);
	else if (!strcmp(name, "stream") && !strcasecmp(value, "stdout"))
		p->log.only = CRI_STDOUT;
	else if (!strcmp(name, "stream") && !strcasecmp(value, "stderr"))
		p->log.only = CRI_STDERR;
	else if (!strcmp(name, "stream") && *value && strcasecmp(value, "all"))
		return err_set(e, EINVAL, "stream=%.40s: must be All, Stdout or Stderr", value);
	return 0;
}

int streaming_params_add(struct streaming_params *p, const char *name, const char *value, struct err *e)
{
	if (!strcmp(name, "command"))
		return add_word(p, value, e);
	if (!strcmp(name, "cmd"))
		return add_run(p, value, e);
	if (!strcmp(name, "port") || !strcmp(name, "ports"))
		return add_ports(p, value, e);
	if (!strcmp(name, "input") || !strcmp(name, "stdin"))
		p->in = is_true(value);
	else if (!strcmp(name, "output") || !strcmp(name, "stdout"))
		p->out = is_true(value);
	else if (!strcmp(name, "error") || !strcmp(name, "stderr"))
		p->err = is_true(value);
	else if (!strcmp(name, "tty"))
		p->tty = is_true(value);
	else
		return add_log(p, name, value, e);
	return 0;
}

int streaming_params_check_exec(struct streaming_params *p, struct err *e)
{
	if (p->tty)
		p->err = false;   // a terminal has one output
	if (!p->in && !p->out && !p->err)
		return err_set(e, EINVAL, "you must specify at least 1 of stdin, stdout, stderr");
	return 0;
}

int streaming_params_check_log(const struct streaming_params *p, struct err *e)
{
	if (p->log.only && p->log.tail_lines >= 0)
		return err_set(e, EINVAL, "tailLines and a stream other than All cannot be given together");
	return 0;
}
