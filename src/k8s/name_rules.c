// SPDX-License-Identifier: Apache-2.0
// Names; see name_rules.h. The rules are the ones the regular expressions in the sentences state.
#include "name_rules.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#define LABEL_MAX 63
#define SUBDOMAIN_MAX 253

static const char must_63[] = "must be no more than 63 characters";
static const char must_253[] = "must be no more than 253 characters";
static const char label_rule[] = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
	"start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
static const char subdomain_rule[] = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
	"'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
static const char dns1035_rule[] = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
	"alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
	"validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
static const char name_part_rule[] = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
	"with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
static const char qualified_rule[] = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and "
	"end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
static const char prefix_rule[] = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
	"'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
static const char label_value_rule[] = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
	"'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
	"validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
static const char env_rule[] = "a valid environment variable name must consist only of printable ASCII characters other than '='";
static const char config_key_rule[] = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
	"or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_lower_alnum(char c) { return is_lower(c) || is_digit(c); }
static bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

static bool label_shape(const char *s, size_t n)
{
	if (n == 0 || !is_lower_alnum(s[0]) || !is_lower_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_lower_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

static bool subdomain_shape(const char *s, size_t n)
{
	for (const char *end = s + n;;) {
		size_t part = 0;
		while (s + part < end && s[part] != '.')
			part++;
		if (!label_shape(s, part))
			return false;
		if (s + part == end)
			return true;
		s += part + 1;
	}
}

static bool name_shape(const char *s, size_t n)
{
	if (n == 0 || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && !strchr("-_.", s[i]))
			return false;
	return true;
}

const char *k8s_check_dns_label(const char *s)
{
	size_t n = strlen(s);
	if (n > LABEL_MAX)
		return must_63;
	return label_shape(s, n) ? NULL : label_rule;
}

const char *k8s_check_dns_subdomain(const char *s)
{
	size_t n = strlen(s);
	if (n > SUBDOMAIN_MAX)
		return must_253;
	return subdomain_shape(s, n) ? NULL : subdomain_rule;
}

const char *k8s_check_dns1035_label(const char *s)
{
	size_t n = strlen(s);
	if (n > LABEL_MAX)
		return must_63;
	return label_shape(s, n) && is_lower(s[0]) ? NULL : dns1035_rule;
}

const char *k8s_check_qualified_name(const char *s)
{
	const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s;
	size_t n = strlen(name);
	if (slash && strchr(name, '/'))
		return qualified_rule;
	if (slash) {
		if (slash == s)
			return "prefix part must be non-empty";
		if (slash - s > SUBDOMAIN_MAX)
			return "prefix part must be no more than 253 characters";
		if (!subdomain_shape(s, (size_t)(slash - s)))
			return prefix_rule;
	}
	if (n == 0)
		return "name part must be non-empty";
	if (n > LABEL_MAX)
		return "name part must be no more than 63 characters";
	return name_shape(name, n) ? NULL : name_part_rule;
}

const char *k8s_check_label_value(const char *s)
{
	size_t n = strlen(s);
	if (n > LABEL_MAX)
		return must_63;
	return n == 0 || name_shape(s, n) ? NULL : label_value_rule;
}

const char *k8s_check_env_name(const char *s)
{
	for (const char *c = s; *c; c++)
		if (*c < ' ' || *c > '~' || *c == '=')
			return env_rule;
	return *s ? NULL : env_rule;
}

const char *k8s_check_config_key(const char *s)
{
	if (strlen(s) > SUBDOMAIN_MAX)
		return must_253;
	for (const char *c = s; *c; c++)
		if (!is_alnum(*c) && !strchr("-_.", *c))
			return config_key_rule;
	if (!*s)
		return config_key_rule;
	if (!strcmp(s, "."))
		return "must not be '.'";
	if (!strncmp(s, "..", 2))
		return s[2] ? "must not start with '..'" : "must not be '..'";
	return NULL;
}

const char *k8s_check_port_name(const char *s)
{
	size_t n = strlen(s);
	bool letter = false;
	if (n > 15)
		return "must be no more than 15 characters";
	for (size_t i = 0; i < n; i++) {
		if (!is_lower_alnum(s[i]) && s[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
		letter |= is_lower(s[i]);
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	if (strstr(s, "--"))
		return "must not contain consecutive hyphens";
	if (s[0] == '-' || s[n - 1] == '-')
		return "must not begin or end with a hyphen";
	return NULL;
}

const char *k8s_check_path_segment(const char *s)
{
	if (!strcmp(s, "."))
		return "may not be '.'";
	if (!strcmp(s, ".."))
		return "may not be '..'";
	if (strchr(s, '/'))
		return "may not contain '/'";
	return strchr(s, '%') ? "may not contain '%'" : NULL;
}

const char *k8s_check_ip(const char *s)
{
	unsigned char address[16];
	if (inet_pton(AF_INET, s, address) == 1 || inet_pton(AF_INET6, s, address) == 1)
		return NULL;
	return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}
