/* hostel sendkey: a person at the guest's keyboard. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/opts.h"
#include "vmm/monitor.h"

#define KEYS_DELAY_MS 20 /* a BIOS keeps but 16 keys */

static const struct opt keys_opts[] = {
	{ "text", "STRING", OPT_STRING,
	  "type this, after the keys; \\n is Enter, \\\\ a backslash" },
	{ "delay", "MS", OPT_COUNT, "wait between keys (20)" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

static int keys_help(void)
{
	puts("Usage: hostel sendkey NAME [OPTION]... [KEY]...\n\n"
	     "Presses keys on the guest's keyboard: a, 7, f12, enter, up,\n"
	     "kp_5, and ctrl-alt-delete for keys together.\n");
	opts_help(keys_opts, stdout);
	return 0;
}

static int keys_ask(int sock, const char *what, const char *key, long delay,
		    struct err *err)
{
	json_t *reply = NULL;
	int rc = monitor_ask_on(sock,
				json_pack("{s:s, s:s}", "do", "key", what, key),
				-1, &reply, err);

	json_decref(reply);
	if (rc == 0)
		usleep((useconds_t)delay * 1000);
	return rc;
}

/* The next character of the text, as it is to be typed; 0: the end. */
static char keys_next(const char **p)
{
	char c = *(*p)++;

	if (c != '\\')
		return c;
	c = **p;
	if (c)
		++*p;
	switch (c) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'e':
		return '\033';
	default:
		return c;
	}
}

static int keys_type(int sock, const char *text, long delay, struct err *err)
{
	char one[2] = "";
	int rc = 0;

	while (rc == 0 && (one[0] = keys_next(&text)))
		rc = keys_ask(sock, "text", one, delay, err);
	return rc;
}

static int keys_all(const char *name, const json_t *options,
		    const json_t *words, struct err *err)
{
	const char *text = json_string_value(json_object_get(options, "text"));
	const json_t *wait = json_object_get(options, "delay");
	long delay = wait ? (long)json_integer_value(wait) : KEYS_DELAY_MS;
	int sock = monitor_connect(name, err), rc = 0;
	json_t *word;
	size_t i;

	if (sock < 0)
		return sock;
	if (delay > 10000)
		rc = err_set(err, EINVAL, "--delay takes at most 10000 ms");
	json_array_foreach((json_t *)words, i, word)
	{
		if (rc == 0 && i)
			rc = keys_ask(sock, "key", json_string_value(word),
				      delay, err);
	}
	if (rc == 0 && text)
		rc = keys_type(sock, text, delay, err);
	close(sock);
	return rc;
}

int cli_sendkey(int argc, char **argv)
{
	json_t *options = json_object(), *words = json_array();
	struct err err = { "" };
	int rc = opts_parse_words(keys_opts, argc, argv, options, words, &err);
	const char *name = json_string_value(json_array_get(words, 0));

	if (rc == 0 && (!name || (json_array_size(words) < 2 &&
				  !json_object_get(options, "text"))))
		rc = err_set(&err, EINVAL,
			     "name a guest, and keys or --text: hostel "
			     "sendkey NAME KEY...");
	if (rc == 0)
		rc = keys_all(name, options, words, &err);
	json_decref(options);
	json_decref(words);
	if (rc == 1)
		return keys_help();
	return rc ? cli_fail(&err) : 0;
}
