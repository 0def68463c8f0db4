#include "net/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum fault_kind {
	FAULT_LOSS,
	FAULT_DUP,
	FAULT_REORDER,
	FAULT_CORRUPT,
	FAULT_KINDS,
};

static const char *const fault_names[] = { "loss", "dup", "reorder",
					   "corrupt" };
_Static_assert(sizeof(fault_names) / sizeof(fault_names[0]) == FAULT_KINDS,
	       "one name a kind");

struct fault_line {
	uint64_t random; /* a generator of its own: ways do not disturb */
	bool held;
	uint64_t held_until;
	struct net_hdr hdr;
	size_t len;
	uint8_t frame[NET_FRAME_MAX];
};

struct fault {
	uint32_t chance[FAULT_KINDS]; /* in 2^32 */
	struct fault_line line[FAULT_WAYS];
};

/* --- Rules ---------------------------------------------------------------- */

static int fault_set_rule(struct fault *f, const char *name, const char *value)
{
	char *end;
	double percent = strtod(value, &end);

	if (end == value || *end || !(percent >= 0) || percent > 100)
		return -EINVAL;
	for (unsigned i = 0; i < FAULT_KINDS; i++)
		if (!strcmp(fault_names[i], name)) {
			f->chance[i] = (uint32_t)(percent / 100 * UINT32_MAX);
			return 0;
		}
	return -EINVAL;
}

static int fault_rule(struct fault *f, char *rule)
{
	char *value = strchr(rule, ':'), *end;
	uint64_t seed;

	if (!value || !value[1])
		return -EINVAL;
	*value++ = '\0';
	if (strcmp(rule, "seed") != 0)
		return fault_set_rule(f, rule, value);
	seed = strtoull(value, &end, 10);
	f->line[FAULT_OUT].random = seed;
	f->line[FAULT_IN].random = ~seed;
	return *end ? -EINVAL : 0;
}

static int fault_parse(struct fault *f, const char *rules, struct err *err)
{
	char *copy = strdup(rules), *at = copy, *rule;
	int rc = copy ? 0 : err_set(err, ENOMEM, "out of memory");

	while (rc == 0 && (rule = strsep(&at, "+")))
		if (fault_rule(f, rule))
			rc = err_set(err, EINVAL,
				     "fault: '%.32s' is not a rule; write "
				     "loss:, dup:, reorder: or corrupt: with a "
				     "percentage, or seed: with a number, "
				     "joined by '+'",
				     rule);
	free(copy);
	return rc;
}

int fault_new(struct fault **out, const char *rules, struct err *err)
{
	struct fault *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return err_set(err, ENOMEM, "out of memory");
	f->line[FAULT_IN].random = ~0ull;
	rc = fault_parse(f, rules, err);
	if (rc < 0)
		free(f);
	else
		*out = f;
	return rc;
}

void fault_free(struct fault *f)
{
	free(f);
}

/* --- Frames --------------------------------------------------------------- */

/* splitmix64 */
static uint64_t fault_random(struct fault_line *l)
{
	uint64_t z = l->random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static bool fault_happens(const struct fault *f, struct fault_line *l,
			  enum fault_kind kind)
{
	return (uint32_t)(fault_random(l) >> 32) < f->chance[kind];
}

/* The held frame follows the one that overtook it. */
static void fault_release(struct fault_line *l, offload_emit *emit,
			  void *opaque)
{
	if (!l->held)
		return;
	l->held = false;
	emit(opaque, &l->hdr, l->frame, l->len);
}

static void fault_hold(struct fault_line *l, uint64_t now,
		       const struct net_hdr *hdr, const uint8_t *frame,
		       size_t len)
{
	l->held = true;
	l->held_until = now + FAULT_HOLD_NS;
	l->hdr = *hdr;
	l->len = len;
	memcpy(l->frame, frame, len);
}

/* All dice are thrown for every frame, so that rules do not shift others. */
void fault_frame(struct fault *f, enum fault_way way, uint64_t now,
		 const struct net_hdr *hdr, const uint8_t *frame, size_t len,
		 offload_emit *emit, void *opaque)
{
	struct fault_line *l = &f->line[way];
	bool lost = fault_happens(f, l, FAULT_LOSS);
	bool twice = fault_happens(f, l, FAULT_DUP);
	bool late = fault_happens(f, l, FAULT_REORDER);
	bool damaged = fault_happens(f, l, FAULT_CORRUPT);
	uint64_t where = fault_random(l);
	uint8_t copy[NET_FRAME_MAX];
	struct net_hdr h = *hdr;

	if (lost || len > sizeof(copy))
		return;
	memcpy(copy, frame, len);
	if (damaged) {
		copy[(where >> 3) % len] ^= (uint8_t)(1 << (where & 7));
		h.flags = 0; /* nobody vouches for it now */
	}
	if (late && !l->held) {
		fault_hold(l, now, &h, copy, len);
		return;
	}
	emit(opaque, &h, copy, len);
	if (twice)
		emit(opaque, &h, copy, len);
	fault_release(l, emit, opaque);
}

uint64_t fault_when(const struct fault *f)
{
	uint64_t when = UINT64_MAX;

	for (unsigned i = 0; i < FAULT_WAYS; i++)
		if (f->line[i].held && f->line[i].held_until < when)
			when = f->line[i].held_until;
	return when;
}

void fault_expire(struct fault *f, enum fault_way way, uint64_t now,
		  offload_emit *emit, void *opaque)
{
	struct fault_line *l = &f->line[way];

	if (l->held && l->held_until <= now)
		fault_release(l, emit, opaque);
}
