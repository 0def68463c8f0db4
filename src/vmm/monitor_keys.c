/* monitor_keys.c - keys, pressed from outside; see monitor_keys.h. */
#include "vmm/monitor_keys.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "dev/pc/keys.h"
#include "machine/pc.h"

#define KEYS_WAIT_MS 5000
#define KEYS_STEP_MS 5

/* Its buffer is small: waits until the guest has read. */
static int keys_send(struct vm *vm, const struct key *key, bool down,
		     struct err *err)
{
	uint8_t bytes[KEYS_BYTES_MAX];
	size_t n = keys_bytes(key, down, bytes);

	if (vm->asked_to_pause)
		return err_set(err, EBUSY,
			       "the guest is paused; it reads no keyboard");
	for (unsigned ms = 0; ms < KEYS_WAIT_MS; ms += KEYS_STEP_MS) {
		if (pc_keys(vm, bytes, n))
			return 0;
		usleep(KEYS_STEP_MS * 1000);
	}
	return err_set(err, ETIMEDOUT, "the guest does not read its keyboard");
}

/* Pressed in order, let go in the reverse order. */
static int keys_chord(struct vm *vm, const struct key *const keys[],
		      unsigned count, struct err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = keys_send(vm, keys[i], true, err);
	for (unsigned i = count; i-- && rc == 0;)
		rc = keys_send(vm, keys[i], false, err);
	return rc;
}

static int keys_text(struct vm *vm, const char *text, struct err *err)
{
	const struct key *keys[KEYS_CHORD_MAX];
	int rc = 0;

	if (strlen(text) > KEYS_TEXT_MAX)
		return err_set(err, EINVAL,
			       "key: at most %d characters at a time",
			       KEYS_TEXT_MAX);
	for (const char *p = text; *p; p++)
		if (!keys_of_char(*p, keys))
			return err_set(err, EINVAL,
				       "no key of a US keyboard types "
				       "character %u",
				       (unsigned char)*p);
	for (const char *p = text; *p && rc == 0; p++)
		rc = keys_chord(vm, keys, keys_of_char(*p, keys), err);
	return rc;
}

int monitor_keys(struct vm *vm, const json_t *args, int fd, json_t *reply,
		 struct err *err)
{
	const char *text = json_string_value(json_object_get(args, "text"));
	const char *down = json_string_value(json_object_get(args, "down"));
	const char *up = json_string_value(json_object_get(args, "up"));
	const char *press = json_string_value(json_object_get(args, "key"));
	const struct key *keys[KEYS_CHORD_MAX];
	int count;

	if (!!text + !!down + !!up + !!press != 1)
		return err_set(err, EINVAL,
			       "key: name one of key, text, down "
			       "and up");
	if (text)
		return keys_text(vm, text, err);
	count = keys_parse(press ? press : down ? down : up, keys, err);
	if (count < 0)
		return count;
	if (press)
		return keys_chord(vm, keys, (unsigned)count, err);
	if (count > 1)
		return err_set(err, EINVAL, "key: down and up take one key");
	return keys_send(vm, keys[0], down != NULL, err);
}
