// SPDX-License-Identifier: Apache-2.0
// Quantities; see quantity.h. Parsing keeps up to 27 significant digits and a "sticky" bit for what it dropped, so
// that rounding up is right however long the text is.
#include "quantity.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 u128;

#define DIGITS_MAX 27          // 10^27 < 2^90
#define BINARY_DIGITS_MAX 17   // 10^17 * 2^70 < 2^127

struct number {
	u128 digits;
	int exponent;      // of ten
	int significant;   // digits kept
	bool sticky;       // something non-zero was dropped below digits
	bool negative;
};

static const char *parse_digits(const char *s, struct number *n)
{
	bool any = false, point = false;
	for (;; s++) {
		if (*s == '.' && !point) {
			point = true;
			continue;
		}
		if (*s < '0' || *s > '9')
			break;
		any = true;
		if (n->significant < DIGITS_MAX) {
			n->digits = n->digits * 10 + (unsigned)(*s - '0');
			n->significant += n->digits != 0;
			n->exponent -= point;
		} else {
			n->sticky |= *s != '0';
			n->exponent += !point;
		}
	}
	return any ? s : NULL;
}

/* The suffix: powers of 1024 in *binary, or a power of ten added to n->exponent. */
static int parse_suffix(const char *s, struct number *n, int *binary)
{
	static const char binary_units[] = "KMGTPE";
	static const struct {
		char unit;
		int exponent;
	} decimal[] = {{'n', -9}, {'u', -6}, {'m', -3}, {'k', 3}, {'M', 6}, {'G', 9}, {'T', 12}, {'P', 15}, {'E', 18}};

	*binary = 0;
	if (!*s)
		return 0;
	const char *unit = strchr(binary_units, *s);
	if (unit && s[1] == 'i' && !s[2]) {
		*binary = (int)(unit - binary_units) + 1;
		return 0;
	}
	if ((*s == 'e' || *s == 'E') && s[1]) {
		char *end;
		if (s[1] != '+' && s[1] != '-' && (s[1] < '0' || s[1] > '9'))
			return -EINVAL;
		if ((s[1] == '+' || s[1] == '-') && (s[2] < '0' || s[2] > '9'))
			return -EINVAL;
		errno = 0;
		long e = strtol(s + 1, &end, 10);
		if (*end)
			return -EINVAL;
		if (e > 1000 || errno == ERANGE)
			e = e > 0 ? 1000 : -1000;
		if (e < -1000)
			e = -1000;
		n->exponent += (int)e;
		return 0;
	}
	for (size_t i = 0; i < sizeof(decimal) / sizeof(*decimal); i++)
		if (*s == decimal[i].unit && !s[1]) {
			n->exponent += decimal[i].exponent;
			return 0;
		}
	return -EINVAL;
}

static int64_t number_milli(struct number *n, int binary)
{
	u128 v = n->digits;
	if (v == 0)
		return 0;
	int exponent = n->exponent + 3;
	if (binary) {
		while (n->significant > BINARY_DIGITS_MAX) {
			n->sticky |= v % 10 != 0;
			v /= 10;
			exponent++;
			n->significant--;
		}
		v <<= 10 * binary;
	}
	for (; exponent > 0 && v <= INT64_MAX; exponent--)
		v *= 10;
	for (; exponent < 0; exponent++) {
		n->sticky |= v % 10 != 0;
		v /= 10;
		if (v == 0)
			break;
	}
	if (v > INT64_MAX || (v == INT64_MAX && n->sticky))
		v = INT64_MAX;
	else if (n->sticky)
		v++;
	return n->negative ? -(int64_t)v : (int64_t)v;
}

int k8s_quantity_parse(const char *text, int64_t *milli)
{
	struct number n = {0};
	int binary;
	if (!text)
		return -EINVAL;
	if (*text == '+' || *text == '-')
		n.negative = *text++ == '-';
	text = parse_digits(text, &n);
	if (!text || parse_suffix(text, &n, &binary))
		return -EINVAL;
	*milli = number_milli(&n, binary);
	return 0;
}

int64_t k8s_quantity_milli(const json_t *value, int64_t fallback)
{
	int64_t milli;
	if (json_is_string(value))
		return k8s_quantity_parse(json_string_value(value), &milli) ? fallback : milli;
	if (json_is_integer(value)) {
		json_int_t v = json_integer_value(value);
		if (__builtin_mul_overflow(v, 1000, &milli))
			return v < 0 ? -INT64_MAX : INT64_MAX;
		return milli;
	}
	if (json_is_real(value)) {
		char text[64];
		snprintf(text, sizeof(text), "%.12e", json_real_value(value));
		return k8s_quantity_parse(text, &milli) ? fallback : milli;
	}
	return fallback;
}

int64_t k8s_quantity_value(const json_t *value, int64_t fallback)
{
	if (!json_is_string(value) && !json_is_number(value))
		return fallback;
	int64_t none = INT64_MIN;
	int64_t milli = k8s_quantity_milli(value, none);
	if (milli == none)
		return fallback;
	return milli > 0 ? milli / 1000 + (milli % 1000 != 0) : milli / 1000 - (milli % 1000 != 0);
}

char *k8s_quantity_text(int64_t milli, int binary, char out[K8S_QUANTITY_TEXT_MAX])
{
	static const char *const decimal[] = {"m", "", "k", "M", "G", "T", "P", "E"};
	static const char *const two[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
	int64_t whole = milli / 1000;

	if (binary && (whole >= 1024 || whole <= -1024)) {
		whole += milli % 1000 > 0 ? 1 : milli % 1000 < 0 ? -1 : 0;
		size_t u = 0;
		while (u + 1 < sizeof(two) / sizeof(*two) && whole % 1024 == 0) {
			whole /= 1024;
			u++;
		}
		snprintf(out, K8S_QUANTITY_TEXT_MAX, "%lld%s", (long long)whole, two[u]);
		return out;
	}
	size_t u = 0;
	while (milli != 0 && u + 1 < sizeof(decimal) / sizeof(*decimal) && milli % 1000 == 0) {
		milli /= 1000;
		u++;
	}
	snprintf(out, K8S_QUANTITY_TEXT_MAX, "%lld%s", (long long)milli, milli ? decimal[u] : "");
	return out;
}

char *k8s_quantity_canonical(const char *text, char out[K8S_QUANTITY_TEXT_MAX])
{
	int64_t milli;
	if (k8s_quantity_parse(text, &milli))
		return NULL;
	size_t len = strlen(text);
	bool exponent = strpbrk(text, "eE") && text[len - 1] != 'E' && text[len - 1] != 'i';
	if (!exponent)
		return k8s_quantity_text(milli, len && text[len - 1] == 'i', out);
	int power = -3;
	while (milli != 0 && milli % 1000 == 0) {
		milli /= 1000;
		power += 3;
	}
	if (power == 0 || milli == 0)
		snprintf(out, K8S_QUANTITY_TEXT_MAX, "%lld", (long long)milli);
	else
		snprintf(out, K8S_QUANTITY_TEXT_MAX, "%llde%d", (long long)milli, power);
	return out;
}
