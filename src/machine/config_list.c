/*
 * config_list.c - lists in a machine's description.
 *
 * A list is described by where its array and its count lie, how large an
 * entry is, and which keys an entry has.  An entry comes as a string,
 *
 *	FIRST[,KEY[=VALUE]]...
 *
 * or as an object with the same keys, the first one by its name.  In a string
 * a comma inside a value is written twice.  A list of plain strings has no
 * keys: its entries are taken whole.
 */
#include "machine/config_list.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LIST_STRING_MAX 4096

enum list_kind {
	LIST_STRING,
	LIST_FLAG,
	LIST_COUNT, /* a number, or a size with a suffix */
};

struct list_key {
	const char *key;
	enum list_kind kind;
	size_t offset;
	const char *choices; /* "a|b|c"; NULL: anything */
};

struct list {
	const char *key;
	size_t array, count; /* offsets in struct vm_config */
	size_t entry_size;
	unsigned max;
	const struct list_key *keys; /* the first one: what stands alone */
	bool named;                  /* nothing stands alone */
};

#define DISK_KEY(key, kind, choices)                               \
	{                                                          \
#key, kind, offsetof(struct vm_disk, key), choices \
	}
#define NET_KEY(key, kind, choices)                               \
	{                                                         \
#key, kind, offsetof(struct vm_net, key), choices \
	}

static const struct list_key list_disk[] = {
	DISK_KEY(file, LIST_STRING, NULL),
	DISK_KEY(format, LIST_STRING, "raw|qcow2|vmdk"),
	DISK_KEY(readonly, LIST_FLAG, NULL),
	DISK_KEY(bus, LIST_STRING, "virtio|mmio|ahci"),
	DISK_KEY(cache, LIST_STRING, "writeback|none|writethrough|unsafe"),
	DISK_KEY(discard, LIST_FLAG, NULL),
	DISK_KEY(bps, LIST_COUNT, NULL),
	DISK_KEY(iops, LIST_COUNT, NULL),
	DISK_KEY(bps_burst, LIST_COUNT, NULL),
	DISK_KEY(iops_burst, LIST_COUNT, NULL),
	DISK_KEY(queues, LIST_COUNT, NULL),
	DISK_KEY(packed, LIST_FLAG, NULL),
	DISK_KEY(fault, LIST_STRING, NULL),
	DISK_KEY(slot, LIST_COUNT, NULL),
	{ NULL, LIST_FLAG, 0, NULL },
};

static const struct list_key list_net[] = {
	NET_KEY(kind, LIST_STRING, NULL),
	NET_KEY(mac, LIST_STRING, NULL),
	NET_KEY(nic, LIST_STRING, "virtio|e1000"),
	NET_KEY(vlan, LIST_COUNT, NULL),
	NET_KEY(trunk, LIST_STRING, NULL),
	NET_KEY(rate, LIST_COUNT, NULL),
	NET_KEY(burst, LIST_COUNT, NULL),
	NET_KEY(queues, LIST_COUNT, NULL),
	NET_KEY(packed, LIST_FLAG, NULL),
	NET_KEY(pcap, LIST_STRING, NULL),
	NET_KEY(fault, LIST_STRING, NULL),
	NET_KEY(mirror, LIST_FLAG, NULL),
	NET_KEY(uplink, LIST_STRING, "nat"),
	NET_KEY(loopback, LIST_FLAG, NULL),
	NET_KEY(tftp, LIST_STRING, NULL),
	NET_KEY(bootfile, LIST_STRING, NULL),
	NET_KEY(slot, LIST_COUNT, NULL),
	{ NULL, LIST_FLAG, 0, NULL },
};

static const struct list_key list_vsock[] = {
	{ "path", LIST_STRING, offsetof(struct vm_vsock, path), NULL },
	{ "cid", LIST_COUNT, offsetof(struct vm_vsock, cid), NULL },
	{ "packed", LIST_FLAG, offsetof(struct vm_vsock, packed), NULL },
	{ NULL, LIST_FLAG, 0, NULL },
};

#define LIST(key, array, count, max, keys, named)                              \
	{                                                                      \
		key, offsetof(struct vm_config, array),                        \
			offsetof(struct vm_config, count),                     \
			sizeof(*((struct vm_config *)NULL)->array), max, keys, \
			named                                                  \
	}

static const struct list lists[] = {
	LIST("disk", disks, disk_count, VM_DISKS_MAX, list_disk, false),
	LIST("net", nets, net_count, VM_NETS_MAX, list_net, false),
	LIST("p", forwards, forward_count, VM_LIST_MAX, NULL, false),
	LIST("v", volumes, volume_count, VM_LIST_MAX, NULL, false),
	LIST("vsock", vsocks, vsock_count, 1, list_vsock, true),
};

#define LISTS (sizeof(lists) / sizeof(lists[0]))

static char **list_array(const struct vm_config *c, const struct list *l)
{
	return (char **)((char *)c + l->array);
}

static unsigned *list_count(const struct vm_config *c, const struct list *l)
{
	return (unsigned *)((char *)c + l->count);
}

static const struct list *list_find(const char *key)
{
	for (size_t i = 0; i < LISTS; i++)
		if (!strcmp(lists[i].key, key))
			return &lists[i];
	return NULL;
}

bool config_list_has(const char *key)
{
	return list_find(key);
}

/* --- One entry ------------------------------------------------------------ */

static const struct list_key *list_find_key(const struct list *l,
					    const char *key)
{
	for (const struct list_key *k = l->keys; k->key; k++)
		if (!strcmp(k->key, key))
			return k;
	return NULL;
}

static bool list_may_be(const char *choices, const char *s)
{
	size_t len = strlen(s);

	while (choices && *choices) {
		size_t n = strcspn(choices, "|");

		if (n == len && !strncmp(choices, s, n))
			return true;
		choices += n + (choices[n] != '\0');
	}
	return !choices;
}

static int list_set_string(char **to, const struct list_key *k, const char *s,
			   struct err *err)
{
	if (!*s)
		return err_set(err, EINVAL, "%s is empty", k->key);
	if (strlen(s) > LIST_STRING_MAX)
		return err_set(err, EINVAL, "%s is longer than %d bytes",
			       k->key, LIST_STRING_MAX);
	if (!list_may_be(k->choices, s))
		return err_set(err, EINVAL, "%s=%.64s: choose one of %s",
			       k->key, s, k->choices);
	free(*to);
	*to = strdup(s);
	return *to ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int list_set_flag(bool *to, const struct list_key *k, const json_t *j,
			 struct err *err)
{
	const char *s = json_string_value(j);

	if (json_is_boolean(j) || (s && (!strcmp(s, "on") || !*s)))
		*to = !json_is_false(j);
	else if (s && !strcmp(s, "off"))
		*to = false;
	else
		return err_set(err, EINVAL, "%s is on or off", k->key);
	return 0;
}

static int list_set_count(uint64_t *to, const struct list_key *k,
			  const json_t *j, struct err *err)
{
	if (json_is_string(j))
		return vm_parse_size(json_string_value(j), to, err);
	if (!json_is_integer(j) || json_integer_value(j) < 0)
		return err_set(err, EINVAL, "%s is a number", k->key);
	*to = (uint64_t)json_integer_value(j);
	return 0;
}

static int list_set(const struct list *l, void *entry, const char *key,
		    const json_t *j, struct err *err)
{
	const struct list_key *k = list_find_key(l, key);
	void *to = k ? (char *)entry + k->offset : NULL;

	if (!k)
		return err_set(err, EINVAL, "there is no key '%.32s'", key);
	if (k->kind == LIST_FLAG)
		return list_set_flag(to, k, j, err);
	if (k->kind == LIST_COUNT)
		return list_set_count(to, k, j, err);
	if (!json_is_string(j))
		return err_set(err, EINVAL, "%s is a string", k->key);
	return list_set_string(to, k, json_string_value(j), err);
}

/* The length of s up to a comma that stands alone. */
static size_t list_word(const char *s)
{
	size_t n = 0;

	while (s[n] && (s[n] != ',' || s[n + 1] == ','))
		n += s[n] == ',' ? 2 : 1;
	return n;
}

/* A copy of n bytes with each pair of commas made one. */
static char *list_unquote(const char *s, size_t n)
{
	char *out = malloc(n + 1), *to = out;

	for (size_t i = 0; out && i < n; i++) {
		*to++ = s[i];
		i += s[i] == ',';
	}
	if (out)
		*to = '\0';
	return out;
}

/* One KEY[=VALUE], or the first word, which has no key. */
static int list_set_word(const struct list *l, void *entry, char *word,
			 bool first, struct err *err)
{
	char *value = first ? word : strchr(word, '=');
	json_t *j;
	int rc;

	if (!first && value)
		*value++ = '\0';
	j = json_string(value ? value : "");
	if (!j)
		return err_set(err, EINVAL, "not UTF-8");
	rc = list_set(l, entry, first ? l->keys[0].key : word, j, err);
	json_decref(j);
	return rc;
}

static int list_whole(const struct list *l, const void *entry, struct err *err)
{
	if (*(char *const *)((const char *)entry + l->keys[0].offset))
		return 0;
	return err_set(err, EINVAL, "%s is missing", l->keys[0].key);
}

static int list_parse(const struct list *l, void *entry, const char *s,
		      struct err *err)
{
	bool first = !l->named;
	int rc = 0;

	while (rc == 0) {
		size_t n = list_word(s);
		char *word = list_unquote(s, n);

		if (!word)
			return err_set(err, ENOMEM, "out of memory");
		rc = list_set_word(l, entry, word, first, err);
		free(word);
		if (!s[n])
			break;
		s += n + 1;
		first = false;
	}
	return rc ? rc : list_whole(l, entry, err);
}

static int list_parse_object(const struct list *l, void *entry, const json_t *j,
			     struct err *err)
{
	const char *key;
	json_t *value;
	int rc = 0;

	json_object_foreach((json_t *)j, key, value)
	{
		rc = list_set(l, entry, key, value, err);
		if (rc)
			return rc;
	}
	return list_whole(l, entry, err);
}

/* --- A list --------------------------------------------------------------- */

static int list_fill(const struct list *l, void *entry, const json_t *j,
		     struct err *err)
{
	static const struct list_key whole = { "value", LIST_STRING, 0, NULL };

	if (l->keys && json_is_object(j))
		return list_parse_object(l, entry, j, err);
	if (!json_is_string(j))
		return err_set(err, EINVAL, "expected a string");
	if (l->keys)
		return list_parse(l, entry, json_string_value(j), err);
	return list_set_string(entry, &whole, json_string_value(j), err);
}

/* A failed entry stays, half filled, for config_list_free(). */
static int list_add(struct vm_config *c, const struct list *l, const json_t *j,
		    struct err *err)
{
	char **array = list_array(c, l);
	unsigned *count = list_count(c, l);
	char *grown;

	if (*count >= l->max)
		return err_set(err, EINVAL, "at most %u can be given", l->max);
	grown = realloc(*array, (*count + 1) * l->entry_size);
	if (!grown)
		return err_set(err, ENOMEM, "out of memory");
	*array = grown;
	memset(grown + *count * l->entry_size, 0, l->entry_size);
	return list_fill(l, grown + (*count)++ * l->entry_size, j, err);
}

int config_list_get(struct vm_config *c, const char *key, const json_t *j,
		    struct err *err)
{
	const struct list *l = list_find(key);
	size_t i;
	json_t *entry;
	int rc;

	if (!json_is_array(j))
		return list_add(c, l, j, err);
	json_array_foreach((json_t *)j, i, entry)
	{
		rc = list_add(c, l, entry, err);
		if (rc)
			return rc;
	}
	return 0;
}

static json_t *list_put_key(const void *entry, const struct list_key *k)
{
	const void *p = (const char *)entry + k->offset;

	if (k->kind == LIST_STRING)
		return json_string(*(char *const *)p); /* NULL for NULL */
	if (k->kind == LIST_FLAG)
		return json_boolean(*(const bool *)p);
	return json_integer((json_int_t) * (const uint64_t *)p);
}

static json_t *list_put_entry(const struct list *l, const void *entry)
{
	json_t *j;

	if (!l->keys)
		return json_string(*(char *const *)entry);
	j = json_object();
	for (const struct list_key *k = l->keys; k->key; k++) {
		json_t *value = list_put_key(entry, k);

		if (value)
			json_object_set_new(j, k->key, value);
	}
	return j;
}

void config_list_put(const struct vm_config *c, json_t *out)
{
	for (size_t i = 0; i < LISTS; i++) {
		const struct list *l = &lists[i];
		json_t *array = *list_count(c, l) ? json_array() : NULL;

		for (unsigned n = 0; n < *list_count(c, l); n++)
			json_array_append_new(
				array,
				list_put_entry(l, *list_array(c, l) +
							  n * l->entry_size));
		if (array)
			json_object_set_new(out, l->key, array);
	}
}

static void list_free_entry(const struct list *l, void *entry)
{
	if (!l->keys)
		free(*(char **)entry);
	for (const struct list_key *k = l->keys; k && k->key; k++)
		if (k->kind == LIST_STRING)
			free(*(char **)((char *)entry + k->offset));
}

static void list_drop(struct vm_config *c, const struct list *l, unsigned n)
{
	unsigned *count = list_count(c, l);
	char *entry = *list_array(c, l) + n * l->entry_size;

	list_free_entry(l, entry);
	memmove(entry, entry + l->entry_size, (--*count - n) * l->entry_size);
}

static void list_drop_slot(struct vm_config *c, const struct list *l,
			   unsigned slot)
{
	const struct list_key *k = l->keys ? list_find_key(l, "slot") : NULL;

	for (unsigned n = 0; k && n < *list_count(c, l); n++) {
		char *entry = *list_array(c, l) + n * l->entry_size;

		if (*(uint64_t *)(entry + k->offset) == slot)
			list_drop(c, l, n--);
	}
}

bool config_list_has_slot(const struct vm_config *c, unsigned slot)
{
	for (unsigned i = 0; i < c->disk_count; i++)
		if (slot && c->disks[i].slot == slot)
			return true;
	for (unsigned i = 0; i < c->net_count; i++)
		if (slot && c->nets[i].slot == slot)
			return true;
	return false;
}

void config_list_drop_slot(struct vm_config *c, unsigned slot)
{
	for (size_t i = 0; i < LISTS; i++)
		list_drop_slot(c, &lists[i], slot);
}

void config_list_drop_last(struct vm_config *c, const char *key)
{
	const struct list *l = list_find(key);

	list_drop(c, l, *list_count(c, l) - 1);
}

void config_list_free(struct vm_config *c)
{
	for (size_t i = 0; i < LISTS; i++) {
		const struct list *l = &lists[i];
		char *array = *list_array(c, l);

		for (unsigned n = 0; n < *list_count(c, l); n++)
			list_free_entry(l, array + n * l->entry_size);
		free(array);
		*list_array(c, l) = NULL;
		*list_count(c, l) = 0;
	}
}
