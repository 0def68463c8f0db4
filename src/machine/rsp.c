/* rsp.c - see rsp.h. */
#include "machine/rsp.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RSP_ESCAPE 0x7d /* '}' */
#define RSP_XOR    0x20

static const char rsp_digits[] = "0123456789abcdef";

static int rsp_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* --- Reading packets ------------------------------------------------------ */

enum rsp_state { RSP_IDLE, RSP_PAYLOAD, RSP_SUM_HIGH, RSP_SUM_LOW };

static enum rsp_event rsp_idle(struct rsp_reader *r, uint8_t byte)
{
	if (byte == '$') {
		r->state = RSP_PAYLOAD;
		r->len = 0;
		r->sum = 0;
		r->too_long = false;
	}
	if (byte == 0x03)
		return RSP_INTERRUPT;
	return byte == '-' ? RSP_NAK : RSP_NONE;
}

static void rsp_payload(struct rsp_reader *r, uint8_t byte)
{
	if (byte == '#') {
		r->state = RSP_SUM_HIGH;
		return;
	}
	r->sum = (uint8_t)(r->sum + byte);
	if (r->len < RSP_PAYLOAD_MAX)
		r->payload[r->len++] = (char)byte;
	else
		r->too_long = true;
}

static enum rsp_event rsp_end(struct rsp_reader *r, uint8_t byte)
{
	int low = rsp_digit((char)byte);

	r->state = RSP_IDLE;
	r->payload[r->len] = 0;
	if (r->too_long || low < 0 || (r->sent_sum | low) != r->sum)
		return RSP_DAMAGED;
	return RSP_PACKET;
}

enum rsp_event rsp_feed(struct rsp_reader *r, uint8_t byte)
{
	int digit;

	switch (r->state) {
	case RSP_IDLE:
		return rsp_idle(r, byte);
	case RSP_PAYLOAD:
		rsp_payload(r, byte);
		return RSP_NONE;
	case RSP_SUM_HIGH:
		digit = rsp_digit((char)byte);
		r->sent_sum = (uint8_t)((unsigned)digit << 4);
		r->too_long |= digit < 0;
		r->state = RSP_SUM_LOW;
		return RSP_NONE;
	default:
		return rsp_end(r, byte);
	}
}

/* --- Writing packets ------------------------------------------------------ */

void rsp_clear(struct rsp_writer *w)
{
	w->len = 0;
	w->payload[0] = 0;
	w->overflow = false;
}

void rsp_put(struct rsp_writer *w, const void *p, size_t n)
{
	if (n > RSP_PAYLOAD_MAX - w->len) {
		w->overflow = true;
		return;
	}
	memcpy(w->payload + w->len, p, n);
	w->len += n;
	w->payload[w->len] = 0;
}

void rsp_printf(struct rsp_writer *w, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	rsp_put(w, text, (size_t)n);
}

void rsp_put_hex(struct rsp_writer *w, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++) {
		char two[2] = { rsp_digits[b[i] >> 4], rsp_digits[b[i] & 15] };

		rsp_put(w, two, 2);
	}
}

static bool rsp_is_special(char c)
{
	return c == '$' || c == '#' || c == '*' || c == RSP_ESCAPE;
}

void rsp_put_binary(struct rsp_writer *w, const void *p, size_t n)
{
	const char *b = p;
	size_t start = w->len;

	for (size_t i = 0; i < n && !w->overflow; i++) {
		char two[2] = { RSP_ESCAPE, (char)(b[i] ^ RSP_XOR) };

		if (rsp_is_special(b[i]))
			rsp_put(w, two, 2);
		else
			rsp_put(w, &b[i], 1);
	}
	if (w->overflow) {
		w->len = start;
		w->payload[start] = 0;
	}
}

size_t rsp_frame(const struct rsp_writer *w, char *out)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < w->len; i++)
		sum = (uint8_t)(sum + (uint8_t)w->payload[i]);
	out[0] = '$';
	memcpy(out + 1, w->payload, w->len);
	out[w->len + 1] = '#';
	out[w->len + 2] = rsp_digits[sum >> 4];
	out[w->len + 3] = rsp_digits[sum & 15];
	return w->len + 4;
}

/* --- Parts of a payload --------------------------------------------------- */

bool rsp_get_number(const char **p, uint64_t *out)
{
	const char *s = *p;
	uint64_t v = 0;

	for (; rsp_digit(*s) >= 0; s++) {
		if (s - *p == 16)
			return false;
		v = v << 4 | (uint64_t)rsp_digit(*s);
	}
	if (s == *p)
		return false;
	*p = s;
	*out = v;
	return true;
}

bool rsp_get_char(const char **p, char c)
{
	if (**p != c)
		return false;
	++*p;
	return true;
}

bool rsp_get_hex(const char **p, void *out, size_t n)
{
	uint8_t *b = out;

	for (size_t i = 0; i < n; i++, *p += 2) {
		int high = rsp_digit((*p)[0]), low;

		if (high < 0)
			return false;
		low = rsp_digit((*p)[1]);
		if (low < 0)
			return false;
		b[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool rsp_get_binary(const char *p, const char *end, void *out, size_t n)
{
	uint8_t *b = out;

	for (size_t i = 0; i < n; i++) {
		uint8_t flip = 0;

		if (p < end && *p == RSP_ESCAPE) {
			flip = RSP_XOR;
			p++;
		}
		if (p == end)
			return false;
		b[i] = (uint8_t)*p++ ^ flip;
	}
	return p == end;
}
