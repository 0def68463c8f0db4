#include "machine/engines.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* In the order in which "auto" tries them. */
static const struct engine_ops *const engines[] = {
	&kvm_engine,
	&translator_engine,
	&interpreter_engine,
	&lockstep_engine,
	&translator_plain_engine,
	&lockstep_plain_engine,
	&translator_hot_engine,
	&lockstep_hot_engine,
};

#define ENGINES_COUNT (sizeof(engines) / sizeof(engines[0]))

static const struct engine_ops *engines_auto(struct err *err)
{
	for (size_t i = 0; i < ENGINES_COUNT; i++) {
		const struct engine_ops *ops = engines[i];

		if ((ops->advise ? ops->advise(err) : ops->probe(err)) == 0)
			return ops;
	}
	return NULL;
}

const struct engine_ops *engines_choose(const char *name, struct err *err)
{
	if (!name || !strcmp(name, "auto"))
		return engines_auto(err);
	for (size_t i = 0; i < ENGINES_COUNT; i++) {
		if (strcmp(name, engines[i]->name))
			continue;
		return engines[i]->probe(err) == 0 ? engines[i] : NULL;
	}
	err_set(err, EINVAL,
		"unknown engine \"%s\"; --engine takes auto, kvm, "
		"translator or interpreter",
		name);
	return NULL;
}
