/*
 * One table names every key of a machine description, its type and where it
 * is kept; reading, writing and freeing all walk that table.  Keys are the
 * long options of `hostel run`, so a sentence about a key is a sentence about
 * the option.
 */
#include "machine/config.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "machine/config_list.h"
#include "mem/mem.h"

#define CONFIG_TIMEOUT_MAX 1e9 /* seconds: 30 years */
#define CONFIG_STRING_MAX  65536

enum config_kind {
	CONFIG_STRING,
	CONFIG_BOOL,
	CONFIG_SIZE,
	CONFIG_CPUS,
	CONFIG_SECONDS,
	CONFIG_ENGINE,
	CONFIG_CONSOLE,
};

struct config_field {
	const char *key;
	enum config_kind kind;
	size_t offset;
};

#define CONFIG_FIELD(key, kind, member)                       \
	{                                                     \
		key, kind, offsetof(struct vm_config, member) \
	}

static const struct config_field config_fields[] = {
	CONFIG_FIELD("name", CONFIG_STRING, name),
	CONFIG_FIELD("kernel", CONFIG_STRING, kernel),
	CONFIG_FIELD("initrd", CONFIG_STRING, initrd),
	CONFIG_FIELD("append", CONFIG_STRING, append),
	CONFIG_FIELD("engine", CONFIG_ENGINE, engine),
	CONFIG_FIELD("cpu", CONFIG_STRING, cpu),
	CONFIG_FIELD("restore", CONFIG_STRING, restore),
	CONFIG_FIELD("memory", CONFIG_SIZE, memory),
	CONFIG_FIELD("cpus", CONFIG_CPUS, cpus),
	CONFIG_FIELD("console", CONFIG_CONSOLE, console),
	CONFIG_FIELD("no-reboot", CONFIG_BOOL, no_reboot),
	CONFIG_FIELD("stats", CONFIG_BOOL, stats),
	CONFIG_FIELD("timeout", CONFIG_SECONDS, timeout),
	CONFIG_FIELD("trace", CONFIG_STRING, trace),
	CONFIG_FIELD("trace-filter", CONFIG_STRING, trace_filter),
	CONFIG_FIELD("gdb", CONFIG_STRING, gdb),
	CONFIG_FIELD("gdb-wait", CONFIG_BOOL, gdb_wait),
	CONFIG_FIELD("firmware", CONFIG_STRING, firmware),
	CONFIG_FIELD("nvram", CONFIG_STRING, nvram),
	CONFIG_FIELD("screenshot", CONFIG_STRING, screenshot),
	CONFIG_FIELD("boot", CONFIG_STRING, boot),
	CONFIG_FIELD("virtio", CONFIG_STRING, virtio),
	CONFIG_FIELD("vga", CONFIG_STRING, vga),
	CONFIG_FIELD("firmware-log", CONFIG_STRING, firmware_log),
	CONFIG_FIELD("cdrom", CONFIG_STRING, cdrom),
};

#define CONFIG_FIELDS (sizeof(config_fields) / sizeof(config_fields[0]))

static const char *const config_engines[] = {
	"auto",        "translator",       "interpreter",    "kvm",
	"lockstep",    "translator-plain", "lockstep-plain", "translator-hot",
	"lockstep-hot"
};

void vm_config_init(struct vm_config *c)
{
	*c = (struct vm_config){
		.memory = 512ull << 20,
		.cpus = 1,
		.console = VM_CONSOLE_STDIO,
	};
}

static bool config_is_string(enum config_kind kind)
{
	return kind == CONFIG_STRING || kind == CONFIG_ENGINE;
}

void vm_config_free(struct vm_config *c)
{
	for (size_t i = 0; i < CONFIG_FIELDS; i++) {
		char *p = (char *)c + config_fields[i].offset;

		if (config_is_string(config_fields[i].kind))
			free(*(char **)p);
	}
	free(c->console_file);
	config_list_free(c);
	vm_config_init(c);
}

/* --- Sizes ---------------------------------------------------------------- */

static int config_suffix_shift(const char *s)
{
	static const char suffixes[] = "KMGT";
	const char *at;

	if (!*s)
		return 0;
	at = strchr(suffixes, toupper((unsigned char)*s));
	if (!at || !*at || s[1])
		return -1;
	return 10 * (int)(at - suffixes + 1);
}

int vm_parse_size(const char *s, uint64_t *out, struct err *err)
{
	unsigned long long n;
	char *end;
	int shift;

	/* strtoull would take a sign and leading blanks. */
	if (!isdigit((unsigned char)*s))
		goto bad;
	errno = 0;
	n = strtoull(s, &end, 10);
	shift = config_suffix_shift(end);
	if (shift < 0)
		goto bad;
	if (errno == ERANGE || n > UINT64_MAX >> shift)
		return err_set(err, EINVAL, "size '%.64s' is too large", s);
	*out = (uint64_t)n << shift;
	return 0;
bad:
	return err_set(err, EINVAL,
		       "'%.64s' is not a size; write a number with an optional "
		       "K, M, G or T, as in 512M",
		       s);
}

static int config_check_memory(uint64_t bytes, struct err *err)
{
	if (bytes < MEM_RAM_MIN)
		return err_set(err, EINVAL,
			       "%llu bytes are too few for a guest; give it at "
			       "least %lluM",
			       (unsigned long long)bytes, MEM_RAM_MIN >> 20);
	if (bytes > MEM_RAM_MAX)
		return err_set(err, EINVAL,
			       "%llu bytes are more than a guest can have; "
			       "give it at most %lluG",
			       (unsigned long long)bytes, MEM_RAM_MAX >> 30);
	if (bytes & MEM_PAGE_MASK)
		return err_set(err, EINVAL,
			       "%llu bytes are not a multiple of 4K",
			       (unsigned long long)bytes);
	return 0;
}

/* --- Reading -------------------------------------------------------------- */

static int config_want(const char *what, struct err *err)
{
	return err_set(err, EINVAL, "expected %s", what);
}

static int config_get_string(char **out, const json_t *j, struct err *err)
{
	if (!json_is_string(j))
		return config_want("a string", err);
	if (json_string_length(j) > CONFIG_STRING_MAX)
		return err_set(err, EINVAL, "longer than %d bytes",
			       CONFIG_STRING_MAX);
	free(*out);
	*out = strdup(json_string_value(j));
	return *out ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int config_get_bool(bool *out, const json_t *j, struct err *err)
{
	if (!json_is_boolean(j))
		return config_want("true or false", err);
	*out = json_is_true(j);
	return 0;
}

/* A number of bytes, or a string as a person writes it. */
static int config_get_size(uint64_t *out, const json_t *j, struct err *err)
{
	int rc;

	if (json_is_string(j)) {
		rc = vm_parse_size(json_string_value(j), out, err);
		if (rc)
			return rc;
	} else if (json_is_integer(j) && json_integer_value(j) >= 0) {
		*out = (uint64_t)json_integer_value(j);
	} else {
		return config_want("a size", err);
	}
	return config_check_memory(*out, err);
}

static int config_get_cpus(unsigned *out, const json_t *j, struct err *err)
{
	json_int_t n;

	if (!json_is_integer(j))
		return config_want("a whole number", err);
	n = json_integer_value(j);
	if (n < 1 || n > VM_CPUS_MAX)
		return err_set(err, EINVAL, "%lld is out of range, 1 to %d",
			       (long long)n, VM_CPUS_MAX);
	*out = (unsigned)n;
	return 0;
}

static int config_get_seconds(double *out, const json_t *j, struct err *err)
{
	double s;

	if (!json_is_number(j))
		return config_want("a number of seconds", err);
	s = json_number_value(j);
	if (!isfinite(s) || s < 0 || s > CONFIG_TIMEOUT_MAX)
		return err_set(err, EINVAL, "%g is out of range, 0 to %g", s,
			       CONFIG_TIMEOUT_MAX);
	*out = s;
	return 0;
}

static int config_get_engine(char **out, const json_t *j, struct err *err)
{
	const char *s = json_string_value(j);

	for (size_t i = 0;
	     s && i < sizeof(config_engines) / sizeof(*config_engines); i++)
		if (!strcmp(s, config_engines[i]))
			return config_get_string(out, j, err);
	if (!s)
		return config_want("a string", err);
	return err_set(err, EINVAL,
		       "there is no engine '%.64s'; choose auto, translator, "
		       "interpreter or kvm",
		       s);
}

static int config_get_console(struct vm_config *c, const json_t *j,
			      struct err *err)
{
	const char *s = json_string_value(j);

	free(c->console_file);
	c->console_file = NULL;
	if (s && !strcmp(s, "stdio")) {
		c->console = VM_CONSOLE_STDIO;
		return 0;
	}
	if (s && !strcmp(s, "none")) {
		c->console = VM_CONSOLE_NONE;
		return 0;
	}
	if (s && !strcmp(s, "virtio")) {
		c->console = VM_CONSOLE_VIRTIO;
		return 0;
	}
	if (s && !*s)
		return err_set(err, EINVAL, "the file's name is empty");
	c->console = VM_CONSOLE_FILE;
	return config_get_string(&c->console_file, j, err);
}

static int config_get(struct vm_config *c, const struct config_field *f,
		      const json_t *j, struct err *err)
{
	void *p = (char *)c + f->offset;

	switch (f->kind) {
	case CONFIG_STRING:
		return config_get_string(p, j, err);
	case CONFIG_BOOL:
		return config_get_bool(p, j, err);
	case CONFIG_SIZE:
		return config_get_size(p, j, err);
	case CONFIG_CPUS:
		return config_get_cpus(p, j, err);
	case CONFIG_SECONDS:
		return config_get_seconds(p, j, err);
	case CONFIG_ENGINE:
		return config_get_engine(p, j, err);
	case CONFIG_CONSOLE:
		return config_get_console(c, j, err);
	}
	return -EINVAL;
}

static const struct config_field *config_find(const char *key)
{
	for (size_t i = 0; i < CONFIG_FIELDS; i++)
		if (!strcmp(config_fields[i].key, key))
			return &config_fields[i];
	return NULL;
}

static int config_default_engine(struct vm_config *c, struct err *err)
{
	if (!c->engine)
		c->engine = strdup("auto");
	return c->engine ? 0 : err_set(err, ENOMEM, "out of memory");
}

int vm_config_from_json(struct vm_config *c, const json_t *j, struct err *err)
{
	const struct config_field *f;
	const char *key;
	json_t *value;
	int rc;

	vm_config_init(c);
	if (!json_is_object(j))
		return err_set(err, EINVAL,
			       "a machine description is one JSON object");
	json_object_foreach((json_t *)j, key, value)
	{
		f = config_find(key);
		if (config_list_has(key))
			rc = config_list_get(c, key, value, err);
		else if (f)
			rc = config_get(c, f, value, err);
		else
			rc = err_set(err, EINVAL, "there is no such option");
		if (rc) {
			err_prefix(err, "%s%.32s",
				   key[0] && !key[1] ? "-" : "--", key);
			vm_config_free(c);
			return rc;
		}
	}
	return config_default_engine(c, err);
}

/* --- Writing -------------------------------------------------------------- */

static json_t *config_put_console(const struct vm_config *c)
{
	switch (c->console) {
	case VM_CONSOLE_STDIO:
		return json_string("stdio");
	case VM_CONSOLE_VIRTIO:
		return json_string("virtio");
	case VM_CONSOLE_NONE:
		return json_string("none");
	case VM_CONSOLE_FILE:
		return json_string(c->console_file);
	}
	return NULL;
}

/* NULL: nothing to write. */
static json_t *config_put(const struct vm_config *c,
			  const struct config_field *f)
{
	const void *p = (const char *)c + f->offset;
	uint64_t bytes;

	switch (f->kind) {
	case CONFIG_STRING:
	case CONFIG_ENGINE:
		return json_string(*(char *const *)p); /* NULL for NULL */
	case CONFIG_BOOL:
		return json_boolean(*(const bool *)p);
	case CONFIG_SIZE:
		bytes = *(const uint64_t *)p; /* at most MEM_RAM_MAX */
		return json_integer((json_int_t)bytes);
	case CONFIG_CPUS:
		return json_integer(*(const unsigned *)p);
	case CONFIG_SECONDS:
		return json_real(*(const double *)p);
	case CONFIG_CONSOLE:
		return config_put_console(c);
	}
	return NULL;
}

json_t *vm_config_to_json(const struct vm_config *c)
{
	json_t *j = json_object();

	for (size_t i = 0; j && i < CONFIG_FIELDS; i++) {
		json_t *value = config_put(c, &config_fields[i]);

		if (value)
			json_object_set_new(j, config_fields[i].key, value);
	}
	if (j)
		config_list_put(c, j);
	return j;
}
