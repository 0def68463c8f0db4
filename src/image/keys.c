#include "image/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "image/home.h"
#include "image/proc.h"

static int keys_make(const char *path, struct err *err)
{
	const char *argv[] = { "ssh-keygen", "-q", "-t", "ed25519",
			       "-N",         "",   "-C", "hostel",
			       "-f",         path, NULL };
	struct proc proc = { argv, -1, NULL, NULL };

	if (!proc_have("ssh-keygen"))
		return err_set(err, ENOENT,
			       "making an SSH key needs ssh-keygen; install "
			       "it: apt-get install -y openssh-client");
	return proc_run(&proc, err);
}

int keys_pair(char path[PATH_MAX], struct err *err)
{
	char dir[PATH_MAX];
	int fd, rc = home_dir("keys", dir, err);

	if (!rc)
		rc = home_path(path, err, "%s/id_ed25519", dir);
	if (rc || !access(path, R_OK))
		return rc;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX))
		rc = err_set(err, errno, "cannot lock %s: %s", dir,
			     strerror(errno));
	else if (access(path, R_OK)) /* not made by another meanwhile */
		rc = keys_make(path, err);
	if (fd >= 0)
		close(fd);
	return rc;
}

int keys_read_file(const char *path, char **text, struct err *err)
{
	FILE *f = fopen(path, "re");
	char *buf = calloc(1, KEYS_TEXT_MAX + 1);
	size_t n = 0;
	int rc = 0;

	if (!f || !buf)
		rc = -errno;
	else
		n = fread(buf, 1, KEYS_TEXT_MAX + 1, f);
	if (f && ferror(f))
		rc = -EIO;
	if (f)
		fclose(f);
	if (!rc && n > KEYS_TEXT_MAX)
		rc = -EFBIG;
	if (!rc && memchr(buf, '\0', n))
		rc = -EINVAL;
	if (rc) {
		free(buf);
		return err_set(err, -rc, "cannot read %s: %s", path,
			       strerror(-rc));
	}
	buf[n] = '\0';
	*text = buf;
	return 0;
}

int keys_public(char **line, struct err *err)
{
	char path[PATH_MAX], public[PATH_MAX];
	int rc = keys_pair(path, err);

	if (!rc)
		rc = home_path(public, err, "%s.pub", path);
	if (!rc)
		rc = keys_read_file(public, line, err);
	if (!rc)
		(*line)[strcspn(*line, "\r\n")] = '\0';
	return rc;
}

static bool keys_is_key(const char *s)
{
	return !strncmp(s, "ssh-", 4) || !strncmp(s, "ecdsa-", 6) ||
	       !strncmp(s, "sk-", 3);
}

int keys_given(const char *arg, char **lines, struct err *err)
{
	int rc;

	if (keys_is_key(arg) && strchr(arg, ' ')) {
		*lines = strdup(arg);
		return *lines ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	rc = keys_read_file(arg, lines, err);
	if (rc) {
		err_prefix(err, "--ssh-key");
		return rc;
	}
	if (keys_is_key(*lines))
		return 0;
	free(*lines);
	return err_set(err, EINVAL,
		       "--ssh-key: %s does not begin with a public key", arg);
}
