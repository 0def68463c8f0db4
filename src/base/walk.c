/*
 * walk.c - the state walker.
 *
 * Theory of operation
 *
 * A stream is a magic, sections, and an end mark (all integers little-endian):
 *
 *	stream:   "HSTLwlk1" section* 'E'
 *	section:  'S' u8 name-length, name, u32 instance, u32 version,
 *		  u64 body-length, field*
 *	field:    u8 name-length, name, u32 size, bytes
 *
 * Saving collects a section in memory, since its length precedes it.
 * Restoring and comparing first index the whole stream by section, checking
 * every length on the way, so that a truncated or hostile stream is refused
 * before anything of the machine is changed; opening a section indexes its
 * fields in the same way.  Names are looked up, never trusted: they are
 * printed only after walk_name_ok().
 *
 * One function, walk_value(), sees every field of every kind; the typed ones
 * only say how wide an element is.  The host is little-endian, as the stream.
 *
 * Deliberately missing: nesting of sections, and a checksum (whoever stores
 * or sends a stream protects it as a whole).
 */
#include "base/walk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "values go to the stream as they lie in memory");

#define WALK_MAGIC        "HSTLwlk1"
#define WALK_MAGIC_LEN    8
#define WALK_NAME_MAX     63
#define WALK_SECTIONS_MAX 4096
#define WALK_FIELDS_MAX   65536
#define WALK_DUMP_LINE    32 /* bytes of a byte field on one line */

enum walk_kind { WALK_SAVE, WALK_RESTORE, WALK_DUMP, WALK_DIFF };

struct walk_name {
	const char *s; /* in the stream: not terminated */
	uint8_t len;
};

struct walk_sect {
	struct walk_name name;
	uint32_t instance, version;
	const uint8_t *body;
	uint64_t len;
	bool seen;
};

struct walk_field {
	struct walk_name name;
	const uint8_t *data;
	uint32_t size;
	bool seen;
};

struct walk {
	enum walk_kind kind;
	FILE *out; /* save, dump; diff: may be NULL */
	int error; /* -errno; 0: none yet */
	struct err err;
	bool ended; /* save: the end mark is written */
	unsigned diffs;

	/* restore, diff: the stream's index */
	struct walk_sect *sects;
	size_t sect_count;

	/* the open section */
	const char *section; /* NULL: none */
	unsigned instance;
	char *buf; /* save: the body so far */
	size_t buf_len, buf_cap;
	struct walk_field *fields; /* restore, diff */
	size_t field_count, field_cap, field_next;
};

/* --- Errors --------------------------------------------------------------- */

static void walk_error(struct walk *w, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void walk_verror(struct walk *w, int code, const char *fmt, va_list ap)
{
	if (w->error)
		return;
	w->error = -code;
	vsnprintf(w->err.msg, sizeof(w->err.msg), fmt, ap);
	if (w->section)
		err_prefix(&w->err, "%s[%u]", w->section, w->instance);
}

static void walk_error(struct walk *w, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	walk_verror(w, code, fmt, ap);
	va_end(ap);
}

void walk_fail(struct walk *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	walk_verror(w, EINVAL, fmt, ap);
	va_end(ap);
}

static void walk_bad_stream(struct walk *w)
{
	walk_error(w, EINVAL,
		   "the saved state is damaged or is not one of Hostel's: "
		   "use another copy");
}

/* --- Reading a stream ----------------------------------------------------- */

struct walk_cursor {
	const uint8_t *p;
	uint64_t left;
};

static bool walk_take(struct walk_cursor *c, const uint8_t **p, uint64_t n)
{
	if (n > c->left)
		return false;
	*p = c->p;
	c->p += n;
	c->left -= n;
	return true;
}

static bool walk_take_int(struct walk_cursor *c, void *v, size_t n)
{
	const uint8_t *p;

	if (!walk_take(c, &p, n))
		return false;
	memcpy(v, p, n);
	return true;
}

static bool walk_name_ok(const uint8_t *s, unsigned len)
{
	if (!len || len > WALK_NAME_MAX)
		return false;
	for (unsigned i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return true;
}

static bool walk_take_name(struct walk_cursor *c, struct walk_name *name)
{
	const uint8_t *p;

	if (!walk_take_int(c, &name->len, 1) || !walk_take(c, &p, name->len) ||
	    !walk_name_ok(p, name->len))
		return false;
	name->s = (const char *)p;
	return true;
}

static bool walk_name_is(const struct walk_name *name, const char *s)
{
	return strlen(s) == name->len && memcmp(name->s, s, name->len) == 0;
}

static bool walk_take_sect(struct walk_cursor *c, struct walk_sect *s)
{
	s->seen = false;
	return walk_take_name(c, &s->name) &&
	       walk_take_int(c, &s->instance, 4) &&
	       walk_take_int(c, &s->version, 4) &&
	       walk_take_int(c, &s->len, 8) && walk_take(c, &s->body, s->len);
}

static bool walk_take_field(struct walk_cursor *c, struct walk_field *f)
{
	f->seen = false;
	return walk_take_name(c, &f->name) && walk_take_int(c, &f->size, 4) &&
	       walk_take(c, &f->data, f->size);
}

/* Checks that the stream is whole, and counts or stores its sections. */
static bool walk_scan(const uint8_t *buf, size_t len, struct walk_sect *out,
		      size_t *count)
{
	struct walk_cursor c = { buf, len };
	struct walk_sect s;
	const uint8_t *p;
	size_t n = 0;
	uint8_t mark;

	if (!walk_take(&c, &p, WALK_MAGIC_LEN) ||
	    memcmp(p, WALK_MAGIC, WALK_MAGIC_LEN) != 0)
		return false;
	for (;;) {
		if (!walk_take_int(&c, &mark, 1))
			return false;
		if (mark == 'E')
			break;
		if (mark != 'S' || n == WALK_SECTIONS_MAX ||
		    !walk_take_sect(&c, &s))
			return false;
		if (out)
			out[n] = s;
		n++;
	}
	*count = n;
	return c.left == 0;
}

static void walk_index(struct walk *w, const void *buf, size_t len)
{
	size_t n;

	if (!walk_scan(buf, len, NULL, &n)) {
		walk_bad_stream(w);
		return;
	}
	w->sects = calloc(n + 1, sizeof(*w->sects));
	if (!w->sects) {
		walk_error(w, ENOMEM, "no memory to read the saved state");
		return;
	}
	walk_scan(buf, len, w->sects, &w->sect_count);
}

static struct walk_field *walk_new_field(struct walk *w)
{
	if (w->field_count == WALK_FIELDS_MAX)
		return NULL;
	if (w->field_count == w->field_cap) {
		size_t cap = w->field_cap ? w->field_cap * 2 : 64;
		void *p = reallocarray(w->fields, cap, sizeof(*w->fields));

		if (!p)
			return NULL;
		w->fields = p;
		w->field_cap = cap;
	}
	return &w->fields[w->field_count];
}

static bool walk_index_fields(struct walk *w, const struct walk_sect *s)
{
	struct walk_cursor c = { s->body, s->len };

	w->field_count = 0;
	w->field_next = 0;
	while (c.left) {
		struct walk_field *f = walk_new_field(w);

		if (!f || !walk_take_field(&c, f)) {
			walk_bad_stream(w);
			return false;
		}
		w->field_count++;
	}
	return true;
}

/* Fields mostly come in the order in which they were written. */
static struct walk_field *walk_find_field(struct walk *w, const char *name)
{
	for (size_t i = 0; i < w->field_count; i++) {
		size_t at = (w->field_next + i) % w->field_count;

		if (walk_name_is(&w->fields[at].name, name)) {
			w->field_next = at + 1;
			w->fields[at].seen = true;
			return &w->fields[at];
		}
	}
	return NULL;
}

static struct walk_sect *walk_find_sect(struct walk *w, const char *name,
					unsigned instance)
{
	for (size_t i = 0; i < w->sect_count; i++) {
		struct walk_sect *s = &w->sects[i];

		if (!s->seen && s->instance == instance &&
		    walk_name_is(&s->name, name)) {
			s->seen = true;
			return s;
		}
	}
	return NULL;
}

/* --- Saving --------------------------------------------------------------- */

static void walk_put(struct walk *w, const void *p, size_t n)
{
	if (w->buf_cap - w->buf_len < n) {
		size_t cap = (w->buf_len + n) * 2 + 256;
		char *buf = realloc(w->buf, cap);

		if (!buf) {
			walk_error(w, ENOMEM, "no memory to save the state");
			return;
		}
		w->buf = buf;
		w->buf_cap = cap;
	}
	if (n)
		memcpy(w->buf + w->buf_len, p, n);
	w->buf_len += n;
}

static void walk_write(struct walk *w, const void *p, size_t n)
{
	if (!w->error && fwrite(p, 1, n, w->out) != n)
		walk_error(w, EIO, "cannot write the saved state: %s",
			   strerror(errno));
}

static void walk_save_field(struct walk *w, const char *field, const void *p,
			    uint32_t size)
{
	uint8_t len = (uint8_t)strlen(field);

	walk_put(w, &len, 1);
	walk_put(w, field, len);
	walk_put(w, &size, 4);
	walk_put(w, p, size);
}

static void walk_save_begin(struct walk *w, uint32_t version)
{
	uint8_t len = (uint8_t)strlen(w->section);
	uint32_t instance = w->instance;

	w->buf_len = 0;
	walk_write(w, "S", 1);
	walk_write(w, &len, 1);
	walk_write(w, w->section, len);
	walk_write(w, &instance, 4);
	walk_write(w, &version, 4);
}

static void walk_save_end(struct walk *w)
{
	uint64_t len = w->buf_len;

	walk_write(w, &len, 8);
	walk_write(w, w->buf, w->buf_len);
}

/* --- For people ----------------------------------------------------------- */

static uint64_t walk_element(const void *p, unsigned width)
{
	uint64_t v = 0;

	memcpy(&v, p, width);
	return v;
}

static void walk_print_hex(FILE *f, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%02x", p[i]);
}

/* Bytes: 32 a line, by offset.  width is 1 and there are several. */
static void walk_dump_bytes(struct walk *w, const char *field, const uint8_t *p,
			    size_t n)
{
	for (size_t at = 0; at < n; at += WALK_DUMP_LINE) {
		size_t part = n - at < WALK_DUMP_LINE ? n - at : WALK_DUMP_LINE;

		fprintf(w->out, "%s[%u].%s", w->section, w->instance, field);
		if (n > WALK_DUMP_LINE)
			fprintf(w->out, "+%#zx", at);
		fputs(" = ", w->out);
		walk_print_hex(w->out, p + at, part);
		fputc('\n', w->out);
	}
}

static void walk_dump_field(struct walk *w, const char *field, const void *p,
			    unsigned width, size_t count)
{
	if (count == 1) {
		fprintf(w->out, "%s[%u].%s = %#" PRIx64 "\n", w->section,
			w->instance, field, walk_element(p, width));
	} else if (width == 1) {
		walk_dump_bytes(w, field, p, count);
	} else {
		for (size_t i = 0; i < count; i++)
			fprintf(w->out, "%s[%u].%s[%zu] = %#" PRIx64 "\n",
				w->section, w->instance, field, i,
				walk_element((const char *)p + i * width,
					     width));
	}
}

/* --- Comparing ------------------------------------------------------------ */

static void walk_differ(struct walk *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void walk_differ(struct walk *w, const char *fmt, ...)
{
	va_list ap;

	w->diffs++;
	if (!w->out)
		return;
	va_start(ap, fmt);
	vfprintf(w->out, fmt, ap);
	va_end(ap);
}

static void walk_diff_field(struct walk *w, const char *field, const void *p,
			    unsigned width, size_t count)
{
	const struct walk_field *f = walk_find_field(w, field);
	const uint8_t *here = p;
	size_t at = 0;

	if (!f || f->size != width * count) {
		walk_differ(w, "%s[%u].%s: %s\n", w->section, w->instance,
			    field, f ? "another size there" : "not there");
		return;
	}
	if (!f->size || memcmp(f->data, p, f->size) == 0)
		return;
	if (count == 1) {
		walk_differ(
			w, "%s[%u].%s: %#" PRIx64 " here, %#" PRIx64 " there\n",
			w->section, w->instance, field, walk_element(p, width),
			walk_element(f->data, width));
		return;
	}
	while (f->data[at] == here[at])
		at++;
	walk_differ(w, "%s[%u].%s: differs from byte %#zx on\n", w->section,
		    w->instance, field, at);
}

static void walk_diff_end(struct walk *w)
{
	for (size_t i = 0; i < w->field_count; i++)
		if (!w->fields[i].seen)
			walk_differ(w, "%s[%u].%.*s: not here\n", w->section,
				    w->instance, w->fields[i].name.len,
				    w->fields[i].name.s);
}

static void walk_diff_unseen(struct walk *w)
{
	for (size_t i = 0; i < w->sect_count; i++) {
		struct walk_sect *s = &w->sects[i];

		if (!s->seen)
			walk_differ(w, "%.*s[%u]: not here\n", s->name.len,
				    s->name.s, s->instance);
		s->seen = true;
	}
}

/* --- Restoring ------------------------------------------------------------ */

static void walk_restore_field(struct walk *w, const char *field, void *p,
			       size_t size)
{
	const struct walk_field *f = walk_find_field(w, field);

	if (!f)
		return; /* keeps its default */
	if (f->size != size)
		walk_error(w, EINVAL,
			   "%s has %" PRIu32 " bytes in the saved state "
			   "instead of %zu",
			   field, f->size, size);
	else if (size)
		memcpy(p, f->data, size);
}

/* --- Sections ------------------------------------------------------------- */

static bool walk_open(struct walk *w, unsigned version)
{
	struct walk_sect *s = walk_find_sect(w, w->section, w->instance);

	if (!s) {
		if (w->kind == WALK_DIFF)
			walk_differ(w, "%s[%u]: not there\n", w->section,
				    w->instance);
		return false;
	}
	if (s->version > version) {
		walk_error(w, EINVAL,
			   "the saved state has version %" PRIu32 ", and "
			   "this Hostel knows up to %u: use a newer one",
			   s->version, version);
		return false;
	}
	return walk_index_fields(w, s);
}

bool walk_section(struct walk *w, const char *name, unsigned instance,
		  unsigned version)
{
	assert(!w->section);
	assert(walk_name_ok((const uint8_t *)name, strlen(name)));
	if (w->error)
		return false;
	w->section = name;
	w->instance = instance;
	if (w->kind == WALK_SAVE)
		walk_save_begin(w, version);
	else if (w->kind != WALK_DUMP && !walk_open(w, version)) {
		w->section = NULL;
		return false;
	}
	return true;
}

void walk_end(struct walk *w)
{
	assert(w->section);
	if (!w->error && w->kind == WALK_SAVE)
		walk_save_end(w);
	if (!w->error && w->kind == WALK_DIFF)
		walk_diff_end(w);
	w->section = NULL;
}

/* --- Fields --------------------------------------------------------------- */

static void walk_value(struct walk *w, const char *field, void *p,
		       unsigned width, size_t count)
{
	assert(w->section);
	assert(walk_name_ok((const uint8_t *)field, strlen(field)));
	assert(count <= UINT32_MAX / width);
	if (w->error)
		return;
	switch (w->kind) {
	case WALK_SAVE:
		walk_save_field(w, field, p, (uint32_t)(width * count));
		break;
	case WALK_RESTORE:
		walk_restore_field(w, field, p, width * count);
		break;
	case WALK_DUMP:
		walk_dump_field(w, field, p, width, count);
		break;
	case WALK_DIFF:
		walk_diff_field(w, field, p, width, count);
		break;
	}
}

void walk_bool(struct walk *w, const char *field, bool *p)
{
	uint8_t v = *p;

	walk_value(w, field, &v, 1, 1);
	if (v > 1)
		walk_fail(w, "%s is neither true nor false", field);
	else
		*p = v;
}

void walk_u8(struct walk *w, const char *field, uint8_t *p)
{
	walk_value(w, field, p, 1, 1);
}

void walk_u16(struct walk *w, const char *field, uint16_t *p)
{
	walk_value(w, field, p, 2, 1);
}

void walk_u32(struct walk *w, const char *field, uint32_t *p)
{
	walk_value(w, field, p, 4, 1);
}

void walk_u64(struct walk *w, const char *field, uint64_t *p)
{
	walk_value(w, field, p, 8, 1);
}

void walk_bytes(struct walk *w, const char *field, void *p, size_t n)
{
	walk_value(w, field, p, 1, n);
}

void walk_u32s(struct walk *w, const char *field, uint32_t *p, size_t n)
{
	walk_value(w, field, p, 4, n);
}

void walk_u64s(struct walk *w, const char *field, uint64_t *p, size_t n)
{
	walk_value(w, field, p, 8, n);
}

/* --- Life ----------------------------------------------------------------- */

static struct walk *walk_new(enum walk_kind kind, FILE *out)
{
	struct walk *w = calloc(1, sizeof(*w));

	if (w) {
		w->kind = kind;
		w->out = out;
	}
	return w;
}

struct walk *walk_save_to(FILE *f)
{
	struct walk *w = walk_new(WALK_SAVE, f);

	if (w)
		walk_write(w, WALK_MAGIC, WALK_MAGIC_LEN);
	return w;
}

struct walk *walk_restore_from(const void *buf, size_t len)
{
	struct walk *w = walk_new(WALK_RESTORE, NULL);

	if (w)
		walk_index(w, buf, len);
	return w;
}

struct walk *walk_dump_to(FILE *f)
{
	return walk_new(WALK_DUMP, f);
}

struct walk *walk_diff_with(const void *buf, size_t len, FILE *out)
{
	struct walk *w = walk_new(WALK_DIFF, out);

	if (w)
		walk_index(w, buf, len);
	return w;
}

void walk_free(struct walk *w)
{
	if (!w)
		return;
	free(w->sects);
	free(w->fields);
	free(w->buf);
	free(w);
}

int walk_result(struct walk *w, struct err *err)
{
	if (w->kind == WALK_SAVE && !w->ended) {
		w->ended = true;
		walk_write(w, "E", 1);
		if (!w->error && fflush(w->out) != 0)
			walk_error(w, EIO, "cannot write the saved state: %s",
				   strerror(errno));
	}
	if (w->kind == WALK_DIFF && !w->error)
		walk_diff_unseen(w);
	if (w->error && err)
		*err = w->err;
	return w->error;
}

unsigned walk_diff_count(const struct walk *w)
{
	return w->diffs;
}

bool walk_restoring(const struct walk *w)
{
	return w->kind == WALK_RESTORE;
}
