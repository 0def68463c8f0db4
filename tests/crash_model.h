/*
 * crash_model.h - what a disk may hold after a crash.
 *
 * Every sector that is written says which sector it is and in which operation
 * it was written (its version; versions only grow).  For each sector the model
 * keeps a floor, the version from which on it may be: raised when a flush has
 * come back, to what had come back before the flush began.  A sector may read
 * as zeroes if it was zeroed or discarded at or above its floor, or never
 * written.
 *
 * The model lies in memory that survives the process that is killed: each
 * note is made before (issue) or after (floor) the disk does it, so that a
 * kill between the two makes the model weaker, never wrong.
 *
 * Threads: sectors belong to one thread each; versions are handed out to all.
 */
#ifndef HOSTEL_TESTS_CRASH_MODEL_H
#define HOSTEL_TESTS_CRASH_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRASH_SECTOR 512u

struct crash_sector {
	_Atomic uint64_t floor;
	_Atomic uint64_t zero_at; /* the latest zeroing that was begun */
};

struct crash_model {
	_Atomic uint64_t version; /* the latest that was handed out */
	uint64_t seed;
	uint64_t sectors;
	struct crash_sector sector[];
};

/* In memory that a fork shares; never freed. */
struct crash_model *crash_model_new(uint64_t sectors, uint64_t seed);
/* The disk is new: zeroes. */
void crash_model_clear(struct crash_model *m);

uint64_t crash_issue(struct crash_model *m);
/* Before zeroing or discarding. */
void crash_zeroing(struct crash_model *m, uint64_t sector, uint64_t count,
		   uint64_t version);
/* What a write of that version puts into the sectors. */
void crash_fill(const struct crash_model *m, uint64_t sector, uint64_t count,
		uint64_t version, void *buf);
/* After a flush, for what was done before. */
void crash_raise(struct crash_model *m, uint64_t sector, uint64_t count,
		 uint64_t version);

/*
 * Looks at what the disk holds, in order; false with a line on stderr for the
 * first sector that cannot be.  settle: nothing else is possible from now on.
 */
bool crash_verify(struct crash_model *m, uint64_t sector, uint64_t count,
		  const void *buf, bool settle);

#endif
