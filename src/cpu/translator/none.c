/*
 * none.c - stands in for the translator until there is one: --engine
 * translator is refused with a sentence, auto goes on to the next engine.
 */
#include <errno.h>

#include "cpu/engine.h"

static int none_probe(struct err *err)
{
	return err_set(err, ENOSYS,
		       "--engine translator is not in this version yet; use "
		       "auto or interpreter");
}

const struct engine_ops translator_engine = {
	.name = "translator",
	.probe = none_probe,
};
