/* crash_model.c - see crash_model.h. */
#include "crash_model.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Repeated through the sector, so that a mix of two versions shows. */
struct crash_stamp {
	uint64_t seed, sector, version, check;
};

#define CRASH_STAMPS (CRASH_SECTOR / sizeof(struct crash_stamp))

struct crash_model *crash_model_new(uint64_t sectors, uint64_t seed)
{
	size_t n = sizeof(struct crash_model) +
		   sectors * sizeof(struct crash_sector);
	struct crash_model *m = mmap(NULL, n, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		return NULL;
	m->seed = seed;
	m->sectors = sectors;
	return m;
}

void crash_model_clear(struct crash_model *m)
{
	for (uint64_t i = 0; i < m->sectors; i++) {
		m->sector[i].floor = 0;
		m->sector[i].zero_at = 0;
	}
}

uint64_t crash_issue(struct crash_model *m)
{
	return atomic_fetch_add(&m->version, 1) + 1;
}

void crash_zeroing(struct crash_model *m, uint64_t sector, uint64_t count,
		   uint64_t version)
{
	for (uint64_t i = 0; i < count; i++)
		m->sector[sector + i].zero_at = version;
}

static struct crash_stamp crash_stamp(const struct crash_model *m,
				      uint64_t sector, uint64_t version)
{
	struct crash_stamp s = { .seed = m->seed,
				 .sector = sector,
				 .version = version };

	s.check = (s.seed ^ s.sector * 0x9e3779b97f4a7c15ull) + s.version;
	return s;
}

void crash_fill(const struct crash_model *m, uint64_t sector, uint64_t count,
		uint64_t version, void *buf)
{
	struct crash_stamp *to = buf;

	for (uint64_t i = 0; i < count; i++)
		for (unsigned k = 0; k < CRASH_STAMPS; k++)
			*to++ = crash_stamp(m, sector + i, version);
}

void crash_raise(struct crash_model *m, uint64_t sector, uint64_t count,
		 uint64_t version)
{
	for (uint64_t i = 0; i < count; i++)
		if (m->sector[sector + i].floor < version)
			m->sector[sector + i].floor = version;
}

/* NULL: may be; *version: 0 for zeroes. */
static const char *crash_look(const struct crash_model *m, uint64_t sector,
			      const struct crash_stamp *s, uint64_t *version)
{
	const struct crash_sector *c = &m->sector[sector];
	struct crash_stamp want = crash_stamp(m, sector, s[0].version);

	*version = s[0].version;
	for (unsigned k = 1; k < CRASH_STAMPS; k++)
		if (memcmp(&s[0], &s[k], sizeof(*s)))
			return "is a mixture";
	if (!s[0].version && !s[0].seed && !s[0].sector && !s[0].check)
		return c->zero_at >= c->floor ? NULL : "is zeroes";
	if (memcmp(&s[0], &want, sizeof(want)))
		return "holds other bytes";
	return s[0].version >= c->floor ? NULL : "is older than flushed";
}

bool crash_verify(struct crash_model *m, uint64_t sector, uint64_t count,
		  const void *buf, bool settle)
{
	const struct crash_stamp *s = buf;

	for (uint64_t i = sector; i < sector + count; i++, s += CRASH_STAMPS) {
		struct crash_sector *c = &m->sector[i];
		uint64_t version;
		const char *wrong = crash_look(m, i, s, &version);

		if (wrong) {
			fprintf(stderr,
				"sector %llu %s: floor %llu, zeroed %llu, "
				"found %llu (of sector %llu)\n",
				(unsigned long long)i, wrong,
				(unsigned long long)c->floor,
				(unsigned long long)c->zero_at,
				(unsigned long long)version,
				(unsigned long long)s[0].sector);
			return false;
		}
		if (settle) {
			c->floor = version ? version : c->zero_at;
			/* A zeroing that did not happen will not come back. */
			if (version)
				c->zero_at = version - 1;
		}
	}
	return true;
}
