/*
 * hostel ssh, hostel cp: ssh(1) and scp(1), told where the guest is.
 *
 * The port is the one that `hostel run` forwarded and wrote down; the key is
 * the store's own, which every seed carries; the guest's host key is kept in
 * its directory, so that none of this touches the person's ~/.ssh.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "image/instance.h"
#include "image/keys.h"
#include "image/proc.h"

#define SSH_WORDS_MAX 256

struct ssh_call {
	char *argv[SSH_WORDS_MAX];
	unsigned count;
};

static void ssh_add(struct ssh_call *c, const char *word)
{
	if (c->count + 1 < SSH_WORDS_MAX)
		c->argv[c->count++] = strdup(word);
	c->argv[c->count] = NULL;
}

static void ssh_add_option(struct ssh_call *c, const char *key,
			   const char *value)
{
	char text[PATH_MAX + 64];

	/* Quoted: a path may have spaces (ssh_config(5)). */
	snprintf(text, sizeof(text), "%s=\"%s\"", key, value);
	ssh_add(c, "-o");
	ssh_add(c, text);
}

/* Where the guest is, and as whom; a sentence if it is nowhere. */
static int ssh_find(struct ssh_call *c, const char *name, char user[33],
		    struct err *err)
{
	char key[PATH_MAX], hosts[PATH_MAX], number[16];
	struct instance in;
	unsigned port;
	int rc = instance_running_ssh(name, &port, err);

	if (!rc && !port)
		rc = err_set(err, ENOENT,
			     "the guest %s has no port forwarded for ssh; "
			     "run it with --net nat",
			     name);
	if (!rc)
		rc = keys_pair(key, err);
	if (!rc)
		rc = instance_load(&in, name, err);
	if (rc)
		return rc;
	snprintf(user, 33, "%s", in.user[0] ? in.user : "root");
	rc = instance_file(&in, "known_hosts", hosts, err);
	instance_free(&in);
	snprintf(number, sizeof(number), "%u", port);
	ssh_add_option(c, "Port", number);
	ssh_add_option(c, "IdentityFile", key);
	ssh_add_option(c, "UserKnownHostsFile", hosts);
	ssh_add_option(c, "HostKeyAlias", name);
	ssh_add_option(c, "StrictHostKeyChecking", "accept-new");
	ssh_add_option(c, "LogLevel", "ERROR");
	/* A guest that is still starting: NAT accepts, nobody answers yet. */
	ssh_add_option(c, "ConnectTimeout", "60");
	return rc;
}

static int ssh_exec(struct ssh_call *c)
{
	struct err err;

	execvp(c->argv[0], c->argv);
	err_set(&err, errno,
		"cannot start %s: %s; install it: apt-get install -y "
		"openssh-client",
		c->argv[0], strerror(errno));
	return cli_fail(&err);
}

static int ssh_usage(const char *text)
{
	struct err err;

	err_set(&err, EINVAL, "%s", text);
	return cli_fail(&err);
}

/* [USER@]NAME: the user, if one is given, is cut off to `user`. */
static const char *ssh_split_user(const char *arg, char given[33])
{
	const char *at = strchr(arg, '@');

	given[0] = '\0';
	if (!at || at - arg > 32)
		return arg;
	snprintf(given, 33, "%.*s", (int)(at - arg), arg);
	return at + 1;
}

int cli_ssh(int argc, char **argv)
{
	struct ssh_call c = { .count = 0 };
	char user[33], given[33];
	const char *name;
	struct err err;

	if (argc < 2 || argv[1][0] == '-')
		return ssh_usage("usage: hostel ssh [USER@]NAME [COMMAND]...");
	name = ssh_split_user(argv[1], given);
	ssh_add(&c, "ssh");
	if (ssh_find(&c, name, user, &err))
		return cli_fail(&err);
	ssh_add(&c, "-l");
	ssh_add(&c, given[0] ? given : user);
	ssh_add(&c, "127.0.0.1");
	for (int i = 2; i < argc; i++)
		ssh_add(&c, argv[i]);
	return ssh_exec(&c);
}

/* "NAME:path" of a guest becomes "user@127.0.0.1:path". */
static void ssh_add_file(struct ssh_call *c, const char *arg, const char *name,
			 const char *user)
{
	size_t n = strlen(name);
	char *remote;

	if (strncmp(arg, name, n) || arg[n] != ':') {
		ssh_add(c, arg);
		return;
	}
	if (asprintf(&remote, "%s@127.0.0.1:%s", user, arg + n + 1) < 0)
		return;
	ssh_add(c, remote);
	free(remote);
}

/* The guest that a word names; false: it is a file here. */
static bool ssh_guest_of(const char *arg, char name[INSTANCE_NAME_MAX + 1])
{
	size_t n = strcspn(arg, ":/");

	if (arg[n] != ':' || n > INSTANCE_NAME_MAX)
		return false;
	snprintf(name, INSTANCE_NAME_MAX + 1, "%.*s", (int)n, arg);
	return instance_name_ok(name);
}

int cli_cp(int argc, char **argv)
{
	static const char usage[] =
		"usage: hostel cp [-r] FILE... NAME:DIR, or "
		"hostel cp [-r] NAME:FILE... DIR";
	char name[INSTANCE_NAME_MAX + 1] = "", user[33];
	struct ssh_call c = { .count = 0 };
	struct err err;

	for (int i = 1; i < argc && !name[0]; i++)
		ssh_guest_of(argv[i], name);
	if (argc < 3 || !name[0])
		return ssh_usage(usage);
	ssh_add(&c, "scp");
	if (ssh_find(&c, name, user, &err))
		return cli_fail(&err);
	for (int i = 1; i < argc; i++)
		ssh_add_file(&c, argv[i], name, user);
	return ssh_exec(&c);
}
