/*
 * fault.c - a filter that makes a disk go wrong: see fault.h for the rules.
 *
 * Theory of operation
 *
 * Each call first meets the rules (fault_meet): every rule that names its
 * operation counts it, and may add a delay or answer with an error instead of
 * the node below.  A torn write passes on its first sectors, then fails.
 *
 * With a "cut" rule changes are made one at a time, under the lock, each noted
 * in the volatile cache (fault_cache.c) before it is made.  The cut comes after
 * a change, so that this one may be lost or kept as well; the node is dead from
 * then on.  What formats do to a file's length goes through a journal on real
 * hosts: a resize counts as flushed.
 *
 * Nothing is ever done at once (BLOCK_NOWAIT) or around the filter
 * (block_map() gives no descriptor), so a disk with faults is slow.
 */
#include "block/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "block/iov.h"

#define FAULT_RULES 16

enum fault_op {
	FAULT_READ = 1,
	FAULT_WRITE = 2,
	FAULT_FLUSH = 4,
	FAULT_DISCARD = 8,
	FAULT_ZERO = 16,
	FAULT_ANY = 31,
	FAULT_CUT = 32,
};

#define FAULT_CHANGES (FAULT_WRITE | FAULT_DISCARD | FAULT_ZERO)

struct fault_rule {
	unsigned ops; /* enum fault_op */
	uint64_t after, count;
	double prob;
	uint64_t random;
	int error; /* 0: only a delay */
	uint64_t delay_ms;
	bool torn, kill;
	uint64_t seen, hit; /* guarded by the node's lock, as random is */
};

struct fault {
	pthread_mutex_t lock;
	struct fault_rule rule[FAULT_RULES];
	unsigned rules;
	struct fault_cache *cache; /* NULL: no cut rule */
	bool dead;                 /* guarded by lock */
};

/* --- Rules ---------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned ops;
} fault_names[] = {
	{ "read", FAULT_READ },   { "write", FAULT_WRITE },
	{ "flush", FAULT_FLUSH }, { "discard", FAULT_DISCARD },
	{ "zero", FAULT_ZERO },   { "any", FAULT_ANY },
	{ "cut", FAULT_CUT },
};

static const struct {
	const char *name;
	int error;
} fault_errors[] = {
	{ "EIO", EIO },       { "ENOSPC", ENOSPC }, { "EROFS", EROFS },
	{ "EACCES", EACCES }, { "ENOMEM", ENOMEM }, { "ENODEV", ENODEV },
};

static int fault_parse_number(const char *s, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 0);
	return errno || *end || end == s || *s == '-' ? -EINVAL : 0;
}

static int fault_parse_error(const char *s, int *out)
{
	uint64_t n;

	for (size_t i = 0; i < sizeof(fault_errors) / sizeof(fault_errors[0]);
	     i++)
		if (!strcmp(fault_errors[i].name, s)) {
			*out = fault_errors[i].error;
			return 0;
		}
	if (fault_parse_number(s, &n) || !n || n > 4095)
		return -EINVAL;
	*out = (int)n;
	return 0;
}

static int fault_parse_prob(const char *s, double *out)
{
	char *end;

	*out = strtod(s, &end);
	return *end || end == s || !(*out >= 0 && *out <= 1) ? -EINVAL : 0;
}

static int fault_parse_key(struct fault_rule *r, const char *key,
			   const char *value)
{
	if (!strcmp(key, "torn") || !strcmp(key, "kill")) {
		*(key[0] == 't' ? &r->torn : &r->kill) = true;
		return value ? -EINVAL : 0;
	}
	if (!value)
		return -EINVAL;
	if (!strcmp(key, "after"))
		return fault_parse_number(value, &r->after);
	if (!strcmp(key, "count"))
		return fault_parse_number(value, &r->count);
	if (!strcmp(key, "seed"))
		return fault_parse_number(value, &r->random);
	if (!strcmp(key, "delay"))
		return fault_parse_number(value, &r->delay_ms);
	if (!strcmp(key, "prob"))
		return fault_parse_prob(value, &r->prob);
	if (!strcmp(key, "error"))
		return fault_parse_error(value, &r->error);
	return -EINVAL;
}

static int fault_parse_op(struct fault_rule *r, const char *name)
{
	for (size_t i = 0; i < sizeof(fault_names) / sizeof(fault_names[0]);
	     i++)
		if (name && !strcmp(fault_names[i].name, name))
			r->ops = fault_names[i].ops;
	return r->ops ? 0 : -EINVAL;
}

static int fault_parse_rule(struct fault_rule *r, char *text)
{
	char *save, *word = strtok_r(text, ":", &save);
	int rc;

	*r = (struct fault_rule){ .prob = 1, .random = 1 };
	rc = fault_parse_op(r, word);
	while (rc == 0 && (word = strtok_r(NULL, ":", &save))) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		rc = fault_parse_key(r, word, value);
	}
	if (!r->error && (!r->delay_ms || r->torn))
		r->error = EIO;
	return rc;
}

/* Reads all rules, to refuse what is wrong; keeps those of this place. */
static int fault_parse(struct fault *f, const char *rules, bool below,
		       struct err *err)
{
	char *copy = strdup(rules), *save, *word;
	int rc = copy ? 0 : -ENOMEM;

	for (word = rc ? NULL : strtok_r(copy, ";", &save); word && !rc;
	     word = strtok_r(NULL, ";", &save)) {
		bool file = !strncmp(word, "file.", 5);
		struct fault_rule rule;

		rc = fault_parse_rule(&rule, word + (file ? 5 : 0));
		if (rc == 0 && file == below && f->rules == FAULT_RULES)
			rc = -E2BIG;
		else if (rc == 0 && file == below)
			f->rule[f->rules++] = rule;
	}
	if (rc)
		err_set(err, -rc, "fault rules '%s' make no sense%s%s", rules,
			rc == -EINVAL && word ? ": " : "",
			rc == -EINVAL && word ? word : "");
	free(copy);
	return rc;
}

/* --- Hits ----------------------------------------------------------------- */

static uint64_t fault_random(struct fault_rule *r)
{
	uint64_t z = r->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static bool fault_hits(struct fault_rule *r)
{
	if (r->seen++ < r->after || (r->count && r->hit >= r->count))
		return false;
	if ((double)(fault_random(r) >> 11) / (1ull << 53) >= r->prob)
		return false;
	r->hit++;
	return true;
}

static void fault_sleep(uint64_t ms)
{
	struct timespec ts = { (time_t)(ms / 1000),
			       (long)(ms % 1000) * 1000000 };

	while (ms && nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/*
 * What the rules say of one operation.  *torn: how many sectors of a write
 * are to be written first, of the `sectors` it has.
 */
static int fault_meet(struct fault *f, unsigned op, uint64_t sectors,
		      uint64_t *torn)
{
	uint64_t delay = 0;
	int rc = 0;

	pthread_mutex_lock(&f->lock);
	if (f->dead)
		rc = -EIO;
	for (unsigned i = 0; i < f->rules && rc == 0; i++) {
		struct fault_rule *r = &f->rule[i];

		if (!(r->ops & op) || r->ops == FAULT_CUT || !fault_hits(r))
			continue;
		delay += r->delay_ms;
		rc = -r->error;
		if (r->torn && sectors)
			*torn = fault_random(r) % sectors;
	}
	pthread_mutex_unlock(&f->lock);
	fault_sleep(delay);
	return rc;
}

/* With the lock held, after a change; the change may be lost as well. */
static int fault_cut(struct fault *f)
{
	for (unsigned i = 0; i < f->rules; i++) {
		struct fault_rule *r = &f->rule[i];

		if (r->ops != FAULT_CUT || !fault_hits(r))
			continue;
		f->dead = true;
		fault_cache_cut(f->cache, fault_random(r));
		if (r->kill)
			raise(SIGKILL);
		return -EIO;
	}
	return 0;
}

/* --- The node ------------------------------------------------------------- */

struct fault_change {
	unsigned op;
	const struct iovec *iov;
	int iovcnt;
	uint64_t offset, length;
	unsigned flags;
};

static int fault_pass(struct block *b, const struct fault_change *c)
{
	switch (c->op) {
	case FAULT_WRITE:
		return block_writev(b->file, c->iov, c->iovcnt, c->offset,
				    c->length, c->flags);
	case FAULT_ZERO:
		return block_zero(b->file, c->offset, c->length, c->flags);
	default:
		return block_discard(b->file, c->offset, c->length);
	}
}

/* A change in a volatile cache, one at a time. */
static int fault_pass_cached(struct block *b, const struct fault_change *c)
{
	struct fault *f = b->opaque;
	int rc;

	pthread_mutex_lock(&f->lock);
	rc = f->dead ? -EIO : fault_cache_note(f->cache, c->offset, c->length);
	if (rc == 0)
		rc = fault_pass(b, c);
	if (rc == 0)
		rc = fault_cut(f);
	if (rc == 0 && c->flags & BLOCK_FUA)
		fault_cache_flushed(f->cache);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int fault_change(struct block *b, const struct fault_change *c)
{
	struct fault *f = b->opaque;
	int rc = f->cache ? fault_pass_cached(b, c) : fault_pass(b, c);

	filter_resized(b);
	return rc;
}

/* The first sectors of a write that fails. */
static void fault_tear(struct block *b, const struct fault_change *c,
		       uint64_t sectors)
{
	uint64_t n = sectors * BLOCK_SECTOR;
	void *buf = n && n < c->length ? malloc(n) : NULL;
	struct iovec iov = { buf, n };
	struct fault_change part = *c;

	if (!buf)
		return;
	iov_to_buf(c->iov, c->iovcnt, 0, buf, n);
	part.iov = &iov;
	part.iovcnt = 1;
	part.length = n;
	fault_change(b, &part);
	free(buf);
}

static int fault_read(struct block *b, const struct iovec *iov, int iovcnt,
		      uint64_t offset, uint64_t length, unsigned flags)
{
	int rc;

	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	rc = fault_meet(b->opaque, FAULT_READ, 0, NULL);
	return rc ? rc
		  : block_readv(b->file, iov, iovcnt, offset, length, flags);
}

static int fault_write(struct block *b, const struct iovec *iov, int iovcnt,
		       uint64_t offset, uint64_t length, unsigned flags)
{
	struct fault_change c = { FAULT_WRITE, iov,    iovcnt,
				  offset,      length, flags };
	uint64_t torn = 0;
	int rc;

	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	rc = fault_meet(b->opaque, FAULT_WRITE, length / BLOCK_SECTOR, &torn);
	if (rc && torn)
		fault_tear(b, &c, torn);
	return rc ? rc : fault_change(b, &c);
}

static int fault_zero(struct block *b, uint64_t offset, uint64_t length,
		      unsigned flags)
{
	struct fault_change c = { FAULT_ZERO, NULL, 0, offset, length, flags };
	int rc;

	if (flags & BLOCK_NOWAIT)
		return -EAGAIN;
	rc = fault_meet(b->opaque, FAULT_ZERO, 0, NULL);
	return rc ? rc : fault_change(b, &c);
}

static int fault_discard(struct block *b, uint64_t offset, uint64_t length)
{
	struct fault_change c = { FAULT_DISCARD, NULL, 0, offset, length, 0 };
	int rc = fault_meet(b->opaque, FAULT_DISCARD, 0, NULL);

	return rc ? rc : fault_change(b, &c);
}

static int fault_flush(struct block *b)
{
	struct fault *f = b->opaque;
	int rc = fault_meet(f, FAULT_FLUSH, 0, NULL);

	if (rc || !f->cache)
		return rc ? rc : block_flush(b->file);
	pthread_mutex_lock(&f->lock);
	rc = f->dead ? -EIO : block_flush(b->file);
	if (rc == 0)
		fault_cache_flushed(f->cache);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

/* A file's length is its file system's, which keeps a journal. */
static int fault_resize(struct block *b, uint64_t size, struct err *err)
{
	int rc = fault_flush(b);

	if (rc)
		return err_set(err, -rc, "%s: %s", b->path, strerror(-rc));
	return filter_resize(b, size, err);
}

static int fault_allocate(struct block *b, uint64_t offset, uint64_t length)
{
	int rc = fault_flush(b);

	if (rc == 0)
		rc = block_allocate(b->file, offset, length);
	filter_resized(b);
	return rc;
}

static void fault_free(struct fault *f)
{
	fault_cache_free(f->cache);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void fault_close(struct block *b)
{
	fault_free(b->opaque);
}

static const struct block_ops fault_ops = {
	.name = "fault",
	.fua = true,
	.read = fault_read,
	.write = fault_write,
	.zero = fault_zero,
	.discard = fault_discard,
	.flush = fault_flush,
	.map = filter_map,
	.resize = fault_resize,
	.info = filter_info,
	.allocate = fault_allocate,
	.close = fault_close,
};

/* 1: there are rules for this place. */
static int fault_new(struct fault **out, struct block *lower, const char *rules,
		     bool below, struct err *err)
{
	struct fault *f = calloc(1, sizeof(*f));
	unsigned ops = 0;
	int rc;

	if (!f)
		return err_set(err, ENOMEM, "out of memory");
	pthread_mutex_init(&f->lock, NULL);
	rc = fault_parse(f, rules, below, err);
	for (unsigned i = 0; i < f->rules; i++)
		ops |= f->rule[i].ops;
	if (rc == 0 && ops & FAULT_CUT && fault_cache_new(&f->cache, lower))
		rc = err_set(err, ENOMEM, "out of memory");
	if (rc < 0 || !f->rules) {
		fault_free(f);
		return rc;
	}
	*out = f;
	return 1;
}

int fault_push(struct block **b, const char *rules, bool below, struct err *err)
{
	struct fault *f = NULL;
	int rc = fault_new(&f, *b, rules, below, err);

	if (rc <= 0)
		return rc;
	if (filter_push(b, &fault_ops, f)) {
		fault_free(f);
		return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}
