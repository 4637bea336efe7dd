// SPDX-License-Identifier: Apache-2.0
// Selectors; see selector.h. A selector is a list of requirements that must all hold; parsing works on the text in
// place, one token at a time.
#include "selector.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpath.h"
#include "base/jtext.h"
#include "base/own.h"
#include "name_rules.h"

enum op { OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT, OP_GREATER, OP_LESS };

struct requirement {
	char *key;
	enum op op;
	bool exact;        // written with = or ==
	char **values;
	size_t value_count;
};

struct k8s_selector {
	bool nothing;
	struct requirement *list;
	size_t count;
};

static void requirement_fini(struct requirement *r)
{
	for (size_t i = 0; i < r->value_count; i++)
		free(r->values[i]);
	free(r->values);
	free(r->key);
}

void k8s_selector_free(struct k8s_selector *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		requirement_fini(&s->list[i]);
	free(s->list);
	free(s);
}

static int print_requirement(const struct requirement *r, struct buf *b)
{
	int e = buf_printf(b, "%d%zu:%s%zu", r->op, strlen(r->key), r->key, r->value_count);

	for (size_t i = 0; i < r->value_count && !e; i++)
		e = buf_printf(b, ",%zu:%s", strlen(r->values[i]), r->values[i]);
	return e ? e : buf_puts(b, ";");
}

int k8s_selector_print(const struct k8s_selector *s, struct buf *b)
{
	int e = s ? buf_puts(b, s->nothing ? "no" : "s") : 0;

	for (size_t i = 0; s && i < s->count && !e; i++)
		e = print_requirement(&s->list[i], b);
	return e;
}

static void own_selector_(struct k8s_selector **s) { k8s_selector_free(*s); }
#define own_selector __attribute__((cleanup(own_selector_)))

/* A new empty requirement at the end of the list; takes key. NULL: out of memory. */
static struct requirement *requirement_add(struct k8s_selector *s, char *key, enum op op)
{
	struct requirement *list = key ? reallocarray(s->list, s->count + 1, sizeof(*list)) : NULL;
	if (!list) {
		free(key);
		return NULL;
	}
	s->list = list;
	list[s->count] = (struct requirement){.key = key, .op = op};
	return &list[s->count++];
}

static int value_add(struct requirement *r, char *value)
{
	char **values = value ? reallocarray(r->values, r->value_count + 1, sizeof(*values)) : NULL;
	if (!values) {
		free(value);
		return -ENOMEM;
	}
	r->values = values;
	values[r->value_count++] = value;
	return 0;
}

/* ---- label selectors as text ---- */

enum token { T_END, T_WORD, T_COMMA, T_OPEN, T_CLOSE, T_NOT, T_EQ, T_EQEQ, T_NE, T_GT, T_LT, T_IN, T_NOT_IN };

struct lexer {
	const char *next;      // behind the current token
	const char *text;      // current token
	size_t len;
	enum token token;
	bool values;           // "in" and "notin" are plain words here
};

static void lex(struct lexer *l)
{
	static const char special[] = "=!(),><";
	const char *s = l->next + strspn(l->next, " \t\r\n");
	l->text = s;
	l->len = 1;
	switch (*s) {
	case '\0': l->token = T_END; l->len = 0; break;
	case ',': l->token = T_COMMA; break;
	case '(': l->token = T_OPEN; break;
	case ')': l->token = T_CLOSE; break;
	case '>': l->token = T_GT; break;
	case '<': l->token = T_LT; break;
	case '!': l->token = s[1] == '=' ? T_NE : T_NOT; l->len += s[1] == '='; break;
	case '=': l->token = s[1] == '=' ? T_EQEQ : T_EQ; l->len += s[1] == '='; break;
	default:
		while (s[l->len] && !strchr(special, s[l->len]) && !strchr(" \t\r\n", s[l->len]))
			l->len++;
		l->token = T_WORD;
		if (!l->values && l->len == 2 && !memcmp(s, "in", 2))
			l->token = T_IN;
		if (!l->values && l->len == 5 && !memcmp(s, "notin", 5))
			l->token = T_NOT_IN;
	}
	l->next = s + l->len;
}

static int expected(const struct lexer *l, struct err *e, const char *what)
{
	return err_set(e, EINVAL, "unable to parse requirement: found '%.*s', expected: %s", (int)l->len, l->text, what);
}

static int check_key(const char *key, const char *context, struct err *e)
{
	const char *wrong = k8s_check_qualified_name(key);
	if (wrong)
		return err_set(e, EINVAL, "%skey: Invalid value: \"%s\": %s", context, key, wrong);
	return 0;
}

static int check_values(const struct requirement *r, const char *context, struct err *e)
{
	if ((r->op == OP_IN || r->op == OP_NOT_IN) && r->value_count == 0)
		return err_set(e, EINVAL, "%svalues: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
			       context);
	for (size_t i = 0; i < r->value_count; i++) {
		const char *value = r->values[i], *wrong = k8s_check_label_value(value);
		if (wrong)
			return err_set(e, EINVAL, "%svalues[%zu][%s]: Invalid value: \"%s\": %s", context, i, r->key, value, wrong);
		if (r->op != OP_GREATER && r->op != OP_LESS)
			continue;
		char *end;
		errno = 0;
		strtoll(value, &end, 10);
		if (!*value || *end || errno)
			return err_set(e, EINVAL, "%svalues[%zu]: Invalid value: \"%s\": for 'Gt', 'Lt' operators, the value must "
				       "be an integer", context, i, value);
	}
	return 0;
}

/* "(a,b,,c)"; the lexer stands on '('. */
static int parse_value_set(struct lexer *l, struct requirement *r, struct err *e)
{
	bool word_before = false;
	for (lex(l);; lex(l)) {
		if (l->token == T_WORD && !word_before) {
			if (value_add(r, strndup(l->text, l->len)))
				return err_set(e, ENOMEM, "out of memory");
			word_before = true;
		} else if (l->token == T_COMMA || l->token == T_CLOSE) {
			bool empty_set = l->token == T_CLOSE && r->value_count == 0;
			if (!word_before && !empty_set && value_add(r, strdup("")))
				return err_set(e, ENOMEM, "out of memory");
			if (empty_set && value_add(r, strdup("")))
				return err_set(e, ENOMEM, "out of memory");
			word_before = false;
			if (l->token == T_CLOSE)
				return 0;
		} else {
			return expected(l, e, word_before ? "',' or ')'" : "',', ')' or identifier");
		}
	}
}

static int parse_requirement(struct lexer *l, struct k8s_selector *s, struct err *e)
{
	static const char context[] = "unable to parse requirement: ";
	bool absent = l->token == T_NOT;
	if (absent)
		lex(l);
	if (l->token != T_WORD && l->token != T_IN && l->token != T_NOT_IN)
		return expected(l, e, "identifier");
	struct requirement *r = requirement_add(s, strndup(l->text, l->len), absent ? OP_ABSENT : OP_EXISTS);
	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	int rc = check_key(r->key, context, e);
	if (rc)
		return rc;
	lex(l);
	if (absent || l->token == T_END || l->token == T_COMMA)
		return 0;
	enum token op = l->token;
	switch (op) {
	case T_EQ: case T_EQEQ: r->op = OP_IN; r->exact = true; break;
	case T_IN: r->op = OP_IN; break;
	case T_NE: case T_NOT_IN: r->op = OP_NOT_IN; break;
	case T_GT: r->op = OP_GREATER; break;
	case T_LT: r->op = OP_LESS; break;
	default: return expected(l, e, "in, notin, =, ==, !=, gt, lt");
	}
	l->values = true;
	lex(l);
	if (op == T_IN || op == T_NOT_IN) {
		if (l->token != T_OPEN)
			return expected(l, e, "'('");
		rc = parse_value_set(l, r, e);
	} else if (l->token == T_WORD || l->token == T_END || l->token == T_COMMA) {
		bool word = l->token == T_WORD;
		if (value_add(r, strndup(l->text, word ? l->len : 0)))
			return err_set(e, ENOMEM, "out of memory");
		l->values = false;
		if (word)
			lex(l);
		return check_values(r, context, e);
	} else {
		return expected(l, e, "identifier");
	}
	l->values = false;
	if (rc)
		return rc;
	lex(l);
	return check_values(r, context, e);
}

int k8s_label_selector_parse(const char *text, struct k8s_selector **out, struct err *e)
{
	own_selector struct k8s_selector *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	struct lexer l = {.next = text ? text : ""};
	for (lex(&l); l.token != T_END;) {
		if (l.token != T_WORD && l.token != T_NOT && l.token != T_IN && l.token != T_NOT_IN)
			return err_set(e, EINVAL, "found '%.*s', expected: !, identifier, or 'end of string'", (int)l.len, l.text);
		int rc = parse_requirement(&l, s, e);
		if (rc)
			return rc;
		if (l.token == T_END)
			break;
		if (l.token != T_COMMA)
			return err_set(e, EINVAL, "found '%.*s', expected: ',' or 'end of string'", (int)l.len, l.text);
		lex(&l);
		if (l.token != T_WORD && l.token != T_NOT && l.token != T_IN && l.token != T_NOT_IN)
			return err_set(e, EINVAL, "found '%.*s', expected: identifier after ','", (int)l.len, l.text);
	}
	*out = take(s);
	return 0;
}

/* ---- label selectors as objects ---- */

static int add_expression(struct k8s_selector *s, const json_t *expr, struct err *e)
{
	static const struct {
		const char *name;
		enum op op;
		bool values;
	} ops[] = {{"In", OP_IN, true}, {"NotIn", OP_NOT_IN, true}, {"Exists", OP_EXISTS, false}, {"DoesNotExist", OP_ABSENT, false},
		{"Gt", OP_GREATER, true}, {"Lt", OP_LESS, true}};
	const char *key = jpath_str(expr, "key", ""), *name = jpath_str(expr, "operator", "");
	size_t i = 0, v;
	json_t *value, *values = json_object_get(expr, "values");
	while (i < sizeof(ops) / sizeof(*ops) && strcmp(ops[i].name, name))
		i++;
	if (i == sizeof(ops) / sizeof(*ops))
		return err_set(e, EINVAL, "\"%s\" is not a valid label selector operator", name);
	struct requirement *r = requirement_add(s, strdup(key), ops[i].op);
	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	if (!ops[i].values && json_array_size(values))
		return err_set(e, EINVAL, "values: Invalid value: values set must be empty for exists and does not exist");
	json_array_foreach(values, v, value)
		if (!json_is_string(value))
			return err_set(e, EINVAL, "values[%zu]: must be a string", v);
		else if (value_add(r, strdup(json_string_value(value))))
			return err_set(e, ENOMEM, "out of memory");
	int rc = check_key(key, "", e);
	return rc ? rc : check_values(r, "", e);
}

int k8s_label_selector_from_json(const json_t *selector, struct k8s_selector **out, struct err *e)
{
	own_selector struct k8s_selector *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	if (!selector || json_is_null(selector)) {
		s->nothing = true;
		*out = take(s);
		return 0;
	}
	if (!json_is_object(selector))
		return err_set(e, EINVAL, "a label selector must be an object with matchLabels and matchExpressions");
	const char *key;
	json_t *value;
	size_t i;
	json_object_foreach(json_object_get(selector, "matchLabels"), key, value) {
		struct requirement *r = requirement_add(s, strdup(key), OP_IN);
		if (!r)
			return err_set(e, ENOMEM, "out of memory");
		r->exact = true;
		if (!json_is_string(value))
			return err_set(e, EINVAL, "matchLabels[%s]: must be a string", key);
		if (value_add(r, strdup(json_string_value(value))))
			return err_set(e, ENOMEM, "out of memory");
		int rc = check_key(key, "", e);
		if (!rc)
			rc = check_values(r, "", e);
		if (rc)
			return rc;
	}
	json_array_foreach(json_object_get(selector, "matchExpressions"), i, value) {
		int rc = add_expression(s, value, e);
		if (rc)
			return rc;
	}
	*out = take(s);
	return 0;
}

/* ---- field selectors ---- */

/* Copy s[0..n) without its escapes; only "\\", "\," and "\=" exist. NULL and *rc set on failure. */
static char *unescape(const char *s, size_t n, int *rc, struct err *e)
{
	char *out = malloc(n + 1), *o = out;
	if (!out) {
		*rc = err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\') {
			if (i + 1 == n || !strchr("\\,=", s[i + 1])) {
				free(out);
				*rc = err_set(e, EINVAL, "invalid field selector: invalid escape sequence: %.*s",
					      i + 1 == n ? 1 : 2, s + i);
				return NULL;
			}
			i++;
		}
		*o++ = s[i];
	}
	*o = '\0';
	return out;
}

static int parse_field_term(const char *text, const char *term, size_t n, struct k8s_selector *s, struct err *e)
{
	size_t i = 0;
	while (i < n && term[i] != '=' && !(term[i] == '!' && i + 1 < n && term[i + 1] == '='))
		i += term[i] == '\\' && i + 1 < n ? 2 : 1;
	if (i >= n)
		return err_set(e, EINVAL, "invalid selector: '%s'; can't understand '%.*s'", text, (int)n, term);
	bool negative = term[i] == '!';
	size_t op = negative || (i + 1 < n && term[i + 1] == '=') ? 2 : 1;
	int rc = -ENOMEM;
	struct requirement *r = requirement_add(s, strndup(term, i), negative ? OP_NOT_IN : OP_IN);
	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->exact = !negative;
	char *value = unescape(term + i + op, n - i - op, &rc, e);
	if (!value)
		return rc;
	for (const char *c = term + i + op; c < term + n; c++) {
		if (*c == '\\') {
			c++;
		} else if (*c == '=') {
			free(value);
			return err_set(e, EINVAL, "invalid field selector: unescaped character in value: %c", *c);
		}
	}
	return value_add(r, value) ? err_set(e, ENOMEM, "out of memory") : 0;
}

int k8s_field_selector_parse(const char *text, struct k8s_selector **out, struct err *e)
{
	own_selector struct k8s_selector *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	for (const char *term = text ? text : ""; *term;) {
		size_t n = 0;
		while (term[n] && term[n] != ',')
			n += term[n] == '\\' && term[n + 1] ? 2 : 1;
		if (n) {
			int rc = parse_field_term(text, term, n, s, e);
			if (rc)
				return rc;
		}
		term += n + (term[n] == ',');
	}
	*out = take(s);
	return 0;
}

size_t k8s_field_selector_count(const struct k8s_selector *s)
{
	return s ? s->count : 0;
}

const char *k8s_field_selector_field(const struct k8s_selector *s, size_t i)
{
	return s && i < s->count ? s->list[i].key : NULL;
}

const char *k8s_field_selector_value(const struct k8s_selector *s, const char *field)
{
	for (size_t i = 0; s && i < s->count; i++)
		if (s->list[i].exact && !strcmp(s->list[i].key, field))
			return s->list[i].values[0];
	return NULL;
}

/* ---- matching ---- */

static bool value_listed(const struct requirement *r, const char *value)
{
	for (size_t i = 0; i < r->value_count; i++)
		if (!strcmp(r->values[i], value))
			return true;
	return false;
}

static bool compare_integers(const struct requirement *r, const char *value)
{
	char *end;
	errno = 0;
	long long have = strtoll(value, &end, 10);
	if (!*value || *end || errno)
		return false;
	long long limit = strtoll(r->values[0], NULL, 10);
	return r->op == OP_GREATER ? have > limit : have < limit;
}

/* value: NULL when the label is absent. */
static bool requirement_match(const struct requirement *r, const char *value)
{
	switch (r->op) {
	case OP_IN: return value && value_listed(r, value);
	case OP_NOT_IN: return !value || !value_listed(r, value);
	case OP_EXISTS: return value != NULL;
	case OP_ABSENT: return value == NULL;
	case OP_GREATER: case OP_LESS: return value && r->value_count && compare_integers(r, value);
	}
	return false;
}

bool k8s_label_selector_match(const struct k8s_selector *s, const json_t *labels)
{
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (!requirement_match(&s->list[i], json_string_value(json_object_get(labels, s->list[i].key))))
			return false;
	return true;
}

/* The text of a field for matching. An absent field counts as its type's zero value; the few fields that are not
 * strings and can be selected on are known here. buf: room for a number. */
static const char *field_text(const json_t *obj, const char *field, char buf[32])
{
	static const char *const zero_bool[] = {"spec.unschedulable", "spec.hostNetwork"};
	static const char *const zero_int[] = {"status.replicas", "status.successful", "status.succeeded"};
	const json_t *v = jpath_get(obj, !strcmp(field, "status.successful") ? "status.succeeded" : field);
	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_boolean(v))
		return json_is_true(v) ? "true" : "false";
	if (json_is_integer(v)) {
		snprintf(buf, 32, "%lld", (long long)json_integer_value(v));
		return buf;
	}
	for (size_t i = 0; i < sizeof(zero_bool) / sizeof(*zero_bool); i++)
		if (!strcmp(field, zero_bool[i]))
			return "false";
	for (size_t i = 0; i < sizeof(zero_int) / sizeof(*zero_int); i++)
		if (!strcmp(field, zero_int[i]))
			return "0";
	if (!strcmp(field, "source"))   // of an Event: its component
		return jpath_str(obj, "source.component", jpath_str(obj, "reportingComponent", ""));
	return "";
}

bool k8s_field_selector_match(const struct k8s_selector *s, const json_t *obj)
{
	for (size_t i = 0; i < s->count; i++) {
		char buf[32];
		if (!requirement_match(&s->list[i], field_text(obj, s->list[i].key, buf)))
			return false;
	}
	return true;
}

static void pick(json_t *obj, const char *text, size_t len, const char *field)
{
	json_t *v = jtext_get(text, len, field);
	if (v)
		jpath_set(obj, field, v);
}

bool k8s_field_selector_match_text(const struct k8s_selector *s, const char *text, size_t len)
{
	own_json json_t *picked = json_object();
	for (size_t i = 0; i < s->count; i++) {
		const char *field = s->list[i].key;
		pick(picked, text, len, !strcmp(field, "status.successful") ? "status.succeeded" : field);
		if (!strcmp(field, "source"))
			pick(picked, text, len, "reportingComponent");
	}
	return k8s_field_selector_match(s, picked);
}
