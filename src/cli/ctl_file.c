/*
 * hostel save, hostel screenshot: what a running guest writes into a file.
 * The guest gets the open file; it appears under its name once it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/opts.h"
#include "machine/screenshot.h"
#include "vmm/monitor.h"

static const struct opt save_opts[] = {
	{ "go-on", NULL, OPT_FLAG,
	  "let the guest run afterwards; its disks then change" },
	{ NULL, NULL, OPT_FLAG, NULL },
};

static const struct opt screenshot_opts[] = {
	{ NULL, NULL, OPT_FLAG, NULL },
};

static int file_help(const char *verb, const char *what, const struct opt *opts)
{
	printf("Usage: hostel %s NAME FILE\n\n%s\n", verb, what);
	opts_help(opts, stdout);
	return 0;
}

/* Asks with a new file; takes the request over. */
static int file_ask(const char *name, const char *path, json_t *request,
		    struct err *err)
{
	json_t *reply = NULL;
	char *part;
	int fd, rc;

	if (asprintf(&part, "%s.part", path) < 0) {
		json_decref(request);
		return err_set(err, ENOMEM, "out of memory");
	}
	fd = open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		json_decref(request);
		rc = err_set(err, errno, "cannot write %s: %s", part,
			     strerror(errno));
	} else {
		rc = monitor_ask(name, request, fd, &reply, err);
		if (rc == 0 && rename(part, path))
			rc = err_set(err, errno, "cannot write %s: %s", path,
				     strerror(errno));
		if (rc)
			unlink(part);
		close(fd);
	}
	json_decref(reply);
	free(part);
	return rc;
}

/* argv: VERB NAME FILE [OPTION]...; 1: help was asked for. */
static int file_parse(const struct opt *opts, int argc, char **argv,
		      json_t *options, struct err *err)
{
	for (int i = 1; i < argc && i < 3; i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return 1;
	if (argc < 3 || argv[1][0] == '-' || argv[2][0] == '-')
		return err_set(err, EINVAL,
			       "name a guest and a file: hostel %s NAME FILE",
			       argv[0]);
	return opts_parse(opts, argc - 2, argv + 2, options, err);
}

int cli_save(int argc, char **argv)
{
	json_t *options = json_object();
	struct err err = { "" };
	int rc = file_parse(save_opts, argc, argv, options, &err);

	if (rc == 0)
		rc = file_ask(
			argv[1], argv[2],
			json_pack("{s:s, s:b}", "do", "save", "go-on",
				  json_object_get(options, "go-on") != NULL),
			&err);
	json_decref(options);
	if (rc == 1)
		return file_help("save",
				 "Writes the guest into FILE and ends it; "
				 "hostel run --restore FILE goes on.",
				 save_opts);
	return rc ? cli_fail(&err) : 0;
}

int cli_screenshot(int argc, char **argv)
{
	json_t *options = json_object();
	struct err err = { "" };
	int rc = file_parse(screenshot_opts, argc, argv, options, &err);

	json_decref(options);
	if (rc == 0)
		rc = file_ask(argv[1], argv[2],
			      json_pack("{s:s, s:b}", "do", "screenshot",
					"text", screenshot_is_text(argv[2])),
			      &err);
	if (rc == 1)
		return file_help("screenshot",
				 "Writes the guest's screen as PNG, or as text "
				 "if FILE ends in .txt.",
				 screenshot_opts);
	return rc ? cli_fail(&err) : 0;
}
