#include "dev/pc/keys.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define KEYS_EXTENDED 0xe000 /* the code follows E0 */
#define KEYS_BREAK    0xf0
#define KEYS_PAUSE    0xffff /* a sequence of its own */

struct key {
	const char *name;
	uint16_t code;
	char plain, shifted; /* what it types; 0: nothing */
};

/* clang-format off */
static const struct key keys_table[] = {
	{ "a", 0x1c, 'a', 'A' }, { "b", 0x32, 'b', 'B' },
	{ "c", 0x21, 'c', 'C' }, { "d", 0x23, 'd', 'D' },
	{ "e", 0x24, 'e', 'E' }, { "f", 0x2b, 'f', 'F' },
	{ "g", 0x34, 'g', 'G' }, { "h", 0x33, 'h', 'H' },
	{ "i", 0x43, 'i', 'I' }, { "j", 0x3b, 'j', 'J' },
	{ "k", 0x42, 'k', 'K' }, { "l", 0x4b, 'l', 'L' },
	{ "m", 0x3a, 'm', 'M' }, { "n", 0x31, 'n', 'N' },
	{ "o", 0x44, 'o', 'O' }, { "p", 0x4d, 'p', 'P' },
	{ "q", 0x15, 'q', 'Q' }, { "r", 0x2d, 'r', 'R' },
	{ "s", 0x1b, 's', 'S' }, { "t", 0x2c, 't', 'T' },
	{ "u", 0x3c, 'u', 'U' }, { "v", 0x2a, 'v', 'V' },
	{ "w", 0x1d, 'w', 'W' }, { "x", 0x22, 'x', 'X' },
	{ "y", 0x35, 'y', 'Y' }, { "z", 0x1a, 'z', 'Z' },
	{ "1", 0x16, '1', '!' }, { "2", 0x1e, '2', '@' },
	{ "3", 0x26, '3', '#' }, { "4", 0x25, '4', '$' },
	{ "5", 0x2e, '5', '%' }, { "6", 0x36, '6', '^' },
	{ "7", 0x3d, '7', '&' }, { "8", 0x3e, '8', '*' },
	{ "9", 0x46, '9', '(' }, { "0", 0x45, '0', ')' },
	{ "grave", 0x0e, '`', '~' },      { "minus", 0x4e, '-', '_' },
	{ "equal", 0x55, '=', '+' },      { "backslash", 0x5d, '\\', '|' },
	{ "bracketleft", 0x54, '[', '{' }, { "bracketright", 0x5b, ']', '}' },
	{ "semicolon", 0x4c, ';', ':' },  { "apostrophe", 0x52, '\'', '"' },
	{ "comma", 0x41, ',', '<' },      { "period", 0x49, '.', '>' },
	{ "slash", 0x4a, '/', '?' },      { "space", 0x29, ' ', 0 },
	{ "enter", 0x5a, '\n', 0 },       { "return", 0x5a, '\r', 0 },
	{ "tab", 0x0d, '\t', 0 },         { "backspace", 0x66, '\b', 0 },
	{ "esc", 0x76, '\033', 0 },       { "escape", 0x76, 0, 0 },
	{ "less", 0x61, 0, 0 }, /* the 102nd key, beside the left shift */
	{ "f1", 0x05, 0, 0 },  { "f2", 0x06, 0, 0 },  { "f3", 0x04, 0, 0 },
	{ "f4", 0x0c, 0, 0 },  { "f5", 0x03, 0, 0 },  { "f6", 0x0b, 0, 0 },
	{ "f7", 0x83, 0, 0 },  { "f8", 0x0a, 0, 0 },  { "f9", 0x01, 0, 0 },
	{ "f10", 0x09, 0, 0 }, { "f11", 0x78, 0, 0 }, { "f12", 0x07, 0, 0 },
	{ "shift", 0x12, 0, 0 },         { "shift_r", 0x59, 0, 0 },
	{ "ctrl", 0x14, 0, 0 },          { "ctrl_r", 0xe014, 0, 0 },
	{ "alt", 0x11, 0, 0 },           { "alt_r", 0xe011, 0, 0 },
	{ "altgr", 0xe011, 0, 0 },       { "meta", 0xe01f, 0, 0 },
	{ "meta_r", 0xe027, 0, 0 },      { "menu", 0xe02f, 0, 0 },
	{ "capslock", 0x58, 0, 0 },      { "numlock", 0x77, 0, 0 },
	{ "scrolllock", 0x7e, 0, 0 },    { "print", 0xe07c, 0, 0 },
	{ "pause", KEYS_PAUSE, 0, 0 },
	{ "insert", 0xe070, 0, 0 },      { "delete", 0xe071, 0x7f, 0 },
	{ "home", 0xe06c, 0, 0 },        { "end", 0xe069, 0, 0 },
	{ "pageup", 0xe07d, 0, 0 },      { "pagedown", 0xe07a, 0, 0 },
	{ "up", 0xe075, 0, 0 },          { "down", 0xe072, 0, 0 },
	{ "left", 0xe06b, 0, 0 },        { "right", 0xe074, 0, 0 },
	{ "kp_0", 0x70, 0, 0 }, { "kp_1", 0x69, 0, 0 }, { "kp_2", 0x72, 0, 0 },
	{ "kp_3", 0x7a, 0, 0 }, { "kp_4", 0x6b, 0, 0 }, { "kp_5", 0x73, 0, 0 },
	{ "kp_6", 0x74, 0, 0 }, { "kp_7", 0x6c, 0, 0 }, { "kp_8", 0x75, 0, 0 },
	{ "kp_9", 0x7d, 0, 0 }, { "kp_period", 0x71, 0, 0 },
	{ "kp_plus", 0x79, 0, 0 },       { "kp_minus", 0x7b, 0, 0 },
	{ "kp_star", 0x7c, 0, 0 },       { "kp_slash", 0xe04a, 0, 0 },
	{ "kp_enter", 0xe05a, 0, 0 },
};
/* clang-format on */

#define KEYS_COUNT (sizeof(keys_table) / sizeof(keys_table[0]))

const struct key *keys_find(const char *name, size_t len)
{
	for (size_t i = 0; i < KEYS_COUNT; i++)
		if (strlen(keys_table[i].name) == len &&
		    !strncasecmp(keys_table[i].name, name, len))
			return &keys_table[i];
	return NULL;
}

int keys_parse(const char *chord, const struct key *out[KEYS_CHORD_MAX],
	       struct err *err)
{
	int count = 0;

	for (const char *p = chord;; p++) {
		size_t len = strcspn(p, "-+");
		const struct key *key = keys_find(p, len);

		if (!key)
			return err_set(err, EINVAL,
				       "there is no key \"%.*s\"; names are "
				       "like a, 7, f12, enter, up, kp_5, and "
				       "ctrl-alt-delete for keys together",
				       (int)(len < 32 ? len : 32), p);
		if (count == KEYS_CHORD_MAX)
			return err_set(err, EINVAL,
				       "at most %d keys at the same time",
				       KEYS_CHORD_MAX);
		out[count++] = key;
		p += len;
		if (!*p)
			return count;
	}
}

unsigned keys_of_char(char c, const struct key *out[KEYS_CHORD_MAX])
{
	for (size_t i = 0; i < KEYS_COUNT && c; i++) {
		const struct key *key = &keys_table[i];

		if (key->plain == c) {
			out[0] = key;
			return 1;
		}
		if (key->shifted == c) {
			out[0] = keys_find("shift", 5);
			out[1] = key;
			return 2;
		}
	}
	return 0;
}

size_t keys_bytes(const struct key *key, bool down, uint8_t out[KEYS_BYTES_MAX])
{
	static const uint8_t pause[KEYS_BYTES_MAX] = { 0xe1, 0x14, 0x77, 0xe1,
						       0xf0, 0x14, 0xf0, 0x77 };
	size_t n = 0;

	if (key->code == KEYS_PAUSE) {
		memcpy(out, pause, sizeof(pause));
		return down ? sizeof(pause) : 0;
	}
	if ((key->code & 0xff00) == KEYS_EXTENDED)
		out[n++] = 0xe0;
	if (!down)
		out[n++] = KEYS_BREAK;
	out[n++] = (uint8_t)key->code;
	return n;
}
