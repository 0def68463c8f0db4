/*
 * load.c - a guest out of a file; state.h has the format.
 *
 * The file is untrusted: lengths are held against limits before memory is
 * taken for them, places against the guest's memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/state.h"
#include "state/state_file.h"

struct load {
	int fd;
	const char *path;
	struct err *err;
};

static int load_bad(const struct load *l, const char *what)
{
	return err_set(l->err, EINVAL,
		       "%s is not a guest's state as hostel save writes it: %s",
		       l->path, what);
}

static int load_read(const struct load *l, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = read(l->fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(l->err, errno, "cannot read %s: %s",
				       l->path, strerror(errno));
		if (n == 0)
			return load_bad(l, "it ends too early");
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int load_open(struct load *l, const char *path, struct err *err)
{
	l->path = path;
	l->err = err;
	l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (l->fd < 0)
		return err_set(err, errno, "cannot open %s: %s", path,
			       strerror(errno));
	return 0;
}

/* --- Description ------------------------------------------------------------
 */

static int load_head(const struct load *l, struct state_file_head *head)
{
	int rc = load_read(l, head, sizeof(*head));

	if (rc)
		return rc;
	if (memcmp(head->magic, STATE_FILE_MAGIC, sizeof(head->magic)))
		return load_bad(l, "it begins with something else");
	if (head->version != STATE_FILE_VERSION)
		return load_bad(l, "another version of hostel wrote it");
	if (head->config_bytes > STATE_FILE_CONFIG_MAX)
		return load_bad(l, "its description is too long");
	return 0;
}

static int load_config(const struct load *l, json_t **config)
{
	struct state_file_head head;
	char *text;
	int rc = load_head(l, &head);

	if (rc)
		return rc;
	text = malloc(head.config_bytes + 1);
	if (!text)
		return err_set(l->err, ENOMEM, "out of memory");
	rc = load_read(l, text, head.config_bytes);
	*config = rc ? NULL : json_loadb(text, head.config_bytes, 0, NULL);
	free(text);
	if (rc == 0 && !json_is_object(*config)) {
		json_decref(*config);
		*config = NULL;
		rc = load_bad(l, "its description is no JSON object");
	}
	return rc;
}

/* Of a run, not of the guest. */
static const char *const load_not_kept[] = {
	"engine",       "console", "name",     "stats",   "timeout",    "trace",
	"trace-filter", "gdb",     "gdb-wait", "restore", "screenshot",
};

/* A virtio console is of the board. */
static bool load_keeps(const json_t *config, const char *key)
{
	const char *value = json_string_value(json_object_get(config, key));

	return value && !strcmp(key, "console") && !strcmp(value, "virtio");
}

int state_read_config(const char *path, json_t **config, struct err *err)
{
	struct load l;
	int rc = load_open(&l, path, err);

	if (rc)
		return rc;
	rc = load_config(&l, config);
	close(l.fd);
	for (size_t i = 0;
	     rc == 0 && i < sizeof(load_not_kept) / sizeof(*load_not_kept); i++)
		if (!load_keeps(*config, load_not_kept[i]))
			json_object_del(*config, load_not_kept[i]);
	return rc;
}

/* The board must be the one that was saved. */
static int load_check(const struct load *l, const struct vm *vm,
		      const json_t *config)
{
	json_int_t memory =
		json_integer_value(json_object_get(config, "memory"));
	json_int_t cpus = json_integer_value(json_object_get(config, "cpus"));
	bool virtio = load_keeps(config, "console");

	if (virtio != (vm->config.console == VM_CONSOLE_VIRTIO))
		return err_set(l->err, EINVAL,
			       "%s holds a guest %s --console virtio, which "
			       "it keeps",
			       l->path, virtio ? "with" : "without");
	if ((uint64_t)memory == vm->config.memory &&
	    (uint64_t)cpus == vm->config.cpus)
		return 0;
	return err_set(l->err, EINVAL,
		       "%s holds a guest with --memory %lldM --cpus %lld, "
		       "which it keeps",
		       l->path, (long long)(memory >> 20), (long long)cpus);
}

/* --- Processors and devices
 * --------------------------------------------------- */

static int load_walk(struct vm *vm, const void *buf, size_t len,
		     struct err *err)
{
	struct walk *w = walk_restore_from(buf, len);
	int rc;

	if (!w)
		return err_set(err, ENOMEM, "out of memory");
	vm_walk(vm, w);
	rc = walk_result(w, err);
	walk_free(w);
	return rc;
}

static int load_read_stream(const struct load *l, void **buf, uint64_t *bytes)
{
	int rc = load_read(l, bytes, sizeof(*bytes));

	if (rc)
		return rc;
	if (*bytes > STATE_FILE_STREAM_MAX)
		return load_bad(l, "its devices' state is too long");
	*buf = malloc(*bytes ? *bytes : 1);
	if (!*buf)
		return err_set(l->err, ENOMEM, "out of memory");
	return load_read(l, *buf, *bytes);
}

/* --- Memory
 * ------------------------------------------------------------------- */

/* All zero again, whatever was loaded there. */
static int load_clear(const struct load *l, int ram, uint64_t size)
{
	if (fallocate(ram, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      (off_t)size))
		return err_set(l->err, errno,
			       "cannot clear the guest's memory: %s",
			       strerror(errno));
	return 0;
}

static int load_piece(const struct load *l, int ram, uint8_t *buf,
		      const struct state_file_piece *p)
{
	int rc = load_read(l, buf, p->len);

	if (rc)
		return rc;
	if (pwrite(ram, buf, p->len, (off_t)p->at) != (ssize_t)p->len)
		return err_set(l->err, ENOMEM,
			       "the host has no memory left for the guest");
	return 0;
}

static int load_pieces(const struct load *l, int ram, uint64_t size,
		       uint8_t *buf)
{
	struct state_file_piece p;
	int rc;

	while ((rc = load_read(l, &p, sizeof(p))) == 0) {
		if (p.at == STATE_FILE_END)
			return 0;
		if (!p.len || p.len > STATE_FILE_PIECE_MAX ||
		    (p.at | p.len) & MEM_PAGE_MASK || p.at >= size ||
		    p.len > size - p.at)
			return load_bad(l, "it has memory that no guest has");
		rc = load_piece(l, ram, buf, &p);
		if (rc)
			return rc;
	}
	return rc;
}

static int load_memory(const struct load *l, struct vm *vm)
{
	uint64_t size = mem_page_count(vm->env.mem) << MEM_PAGE_SHIFT;
	int ram = mem_ram_fd(vm->env.mem);
	uint8_t *buf = malloc(STATE_FILE_PIECE_MAX);
	int rc;

	if (!buf)
		return err_set(l->err, ENOMEM, "out of memory");
	rc = load_clear(l, ram, size);
	if (rc == 0)
		rc = load_pieces(l, ram, size, buf);
	free(buf);
	return rc;
}

/* --- All of it
 * ------------------------------------------------------------------ */

/* Memory first: restored devices and processors look at it. */
static int load_all(const struct load *l, struct vm *vm)
{
	json_t *config = NULL;
	void *stream = NULL;
	uint64_t bytes = 0;
	int rc = load_config(l, &config);

	if (rc == 0)
		rc = load_check(l, vm, config);
	if (rc == 0)
		rc = load_read_stream(l, &stream, &bytes);
	if (rc == 0)
		rc = load_memory(l, vm);
	if (rc == 0)
		rc = load_walk(vm, stream, bytes, l->err);
	free(stream);
	json_decref(config);
	return rc;
}

int state_load(struct vm *vm, const char *path, struct err *err)
{
	struct load l;
	int rc = load_open(&l, path, err);

	if (rc)
		return rc;
	vm_pause(vm);
	rc = load_all(&l, vm);
	vm_resume(vm);
	close(l.fd);
	return rc;
}
