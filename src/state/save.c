/* save.c - a guest into a file; state.h has the format. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/pc.h"
#include "state/state.h"
#include "state/state_file.h"

static int save_write(int fd, const void *buf, size_t len, struct err *err)
{
	const char *p = buf;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(err, n ? errno : EIO,
				       "cannot write the guest's state: %s",
				       strerror(n ? errno : EIO));
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* --- Description ------------------------------------------------------------
 */

static int save_config(struct vm *vm, int fd, struct err *err)
{
	struct state_file_head head = { .version = STATE_FILE_VERSION };
	json_t *j = vm_config_to_json(&vm->config);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	int rc;

	json_decref(j);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	memcpy(head.magic, STATE_FILE_MAGIC, sizeof(head.magic));
	head.config_bytes = (uint32_t)strlen(text);
	rc = save_write(fd, &head, sizeof(head), err);
	if (rc == 0)
		rc = save_write(fd, text, head.config_bytes, err);
	free(text);
	return rc;
}

/* --- Processors and devices
 * --------------------------------------------------- */

static int save_walk(struct vm *vm, FILE *f, struct err *err)
{
	struct walk *w = walk_save_to(f);
	int rc;

	if (!w)
		return err_set(err, ENOMEM, "out of memory");
	vm_walk(vm, w);
	rc = walk_result(w, err);
	walk_free(w);
	return rc;
}

static int save_stream(struct vm *vm, int fd, struct err *err)
{
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);
	uint64_t bytes;
	int rc;

	if (!f)
		return err_set(err, ENOMEM, "out of memory");
	rc = save_walk(vm, f, err);
	if (fclose(f) && rc == 0)
		rc = err_set(err, ENOMEM, "out of memory");
	bytes = len;
	if (rc == 0)
		rc = save_write(fd, &bytes, sizeof(bytes), err);
	if (rc == 0)
		rc = save_write(fd, buf, len, err);
	free(buf);
	return rc;
}

/* --- Memory
 * ------------------------------------------------------------------- */

static bool save_is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, MEM_PAGE_SIZE - 1);
}

static int save_piece(int fd, const uint8_t *buf, uint64_t at, uint64_t len,
		      struct err *err)
{
	struct state_file_piece piece = { at, len };
	int rc = len ? save_write(fd, &piece, sizeof(piece), err) : 0;

	return rc || !len ? rc : save_write(fd, buf, len, err);
}

/* The pages of one buffer that are not zero, in runs. */
static int save_runs(int fd, const uint8_t *buf, uint64_t at, uint64_t len,
		     struct err *err)
{
	uint64_t from = 0;
	int rc = 0;

	for (uint64_t i = 0; i < len && rc == 0; i += MEM_PAGE_SIZE) {
		if (!save_is_zero(buf + i))
			continue;
		rc = save_piece(fd, buf + from, at + from, i - from, err);
		from = i + MEM_PAGE_SIZE;
	}
	return rc ? rc : save_piece(fd, buf + from, at + from, len - from, err);
}

/*
 * Through the descriptor and not the mapping: a hole is not to become a page.
 */
static int save_range(int ram, int fd, uint8_t *buf, uint64_t at, uint64_t end,
		      struct err *err)
{
	int rc = 0;

	while (at < end && rc == 0) {
		uint64_t len = end - at;
		ssize_t n;

		if (len > STATE_FILE_PIECE_MAX)
			len = STATE_FILE_PIECE_MAX;
		n = pread(ram, buf, len, (off_t)at);
		if (n != (ssize_t)len)
			return err_set(err, EIO,
				       "cannot read the guest's memory");
		rc = save_runs(fd, buf, at, len, err);
		at += len;
	}
	return rc;
}

static int save_ranges(int ram, int fd, uint64_t size, uint8_t *buf,
		       struct err *err)
{
	off_t at = 0, end;
	int rc = 0;

	while (rc == 0 && (uint64_t)at < size) {
		at = lseek(ram, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO
				       ? 0 /* holes to the end */
				       : err_set(err, errno, "guest memory: %s",
						 strerror(errno));
		end = lseek(ram, at, SEEK_HOLE);
		if (end < 0)
			end = (off_t)size;
		rc = save_range(ram, fd, buf, (uint64_t)at, (uint64_t)end, err);
		at = end;
	}
	return rc;
}

static int save_memory(struct vm *vm, int fd, struct err *err)
{
	const struct state_file_piece end = { STATE_FILE_END, 0 };
	uint64_t size = mem_page_count(vm->env.mem) << MEM_PAGE_SHIFT;
	uint8_t *buf = malloc(STATE_FILE_PIECE_MAX);
	int rc;

	if (!buf)
		return err_set(err, ENOMEM, "out of memory");
	rc = save_ranges(mem_ram_fd(vm->env.mem), fd, size, buf, err);
	free(buf);
	return rc ? rc : save_write(fd, &end, sizeof(end), err);
}

/* --- All of it
 * ------------------------------------------------------------------ */

static void save_drain(struct vm *vm)
{
	for (struct dev *dev = vm->devs; dev; dev = dev->next)
		if (dev->drain)
			dev->drain(dev);
}

int state_save(struct vm *vm, int fd, bool go_on, struct err *err)
{
	int rc;

	vm_pause(vm);
	pc_hold_disks(vm);
	save_drain(vm);
	rc = save_config(vm, fd, err);
	if (rc == 0)
		rc = save_stream(vm, fd, err);
	if (rc == 0)
		rc = save_memory(vm, fd, err);
	/* Before it is resumed: not one more instruction. */
	if (rc == 0 && !go_on)
		vm_end(vm, VM_END_STOPPED, 0);
	pc_release_disks(vm);
	vm_resume(vm);
	return rc;
}
