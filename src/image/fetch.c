/*
 * fetch.c - see fetch.h.
 *
 * What is fetched goes into a file named by the checksum it must have, which
 * stays when the work ends half-way, and into which one process at a time
 * writes.  Whoever wants the same checksum next, of whatever address, asks
 * for the rest; it counts only with the right checksum at the end.  Else, or
 * where the server cannot go on in the middle, all of it is fetched, once.
 */
#include "image/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/hash.h"
#include "image/home.h"
#include "image/proc.h"

#define FETCH_LIST_MAX (1 << 20)

static const struct fetch_known {
	const char *name, *url;
} fetch_known[] = {
	{ "debian:12", "https://cloud.debian.org/images/cloud/bookworm/latest/"
		       "debian-12-generic-amd64.qcow2" },
	{ "debian:13", "https://cloud.debian.org/images/cloud/trixie/latest/"
		       "debian-13-generic-amd64.qcow2" },
	{ "ubuntu:24.04", "https://cloud-images.ubuntu.com/releases/noble/"
			  "release/ubuntu-24.04-server-cloudimg-amd64.img" },
};

const char *fetch_url(const char *name)
{
	for (size_t i = 0; i < sizeof(fetch_known) / sizeof(fetch_known[0]);
	     i++)
		if (!strcmp(fetch_known[i].name, name))
			return fetch_known[i].url;
	return NULL;
}

/* --- One download --------------------------------------------------------- */

struct fetch_get {
	const char *url;
	const char *dir; /* for what curl tells of it */
	int fd;          /* appended to */
	uint64_t from;   /* this much is there already */
	uint64_t done;   /* and now this much */
	uint64_t total;  /* 0: not known */
	unsigned status; /* of HTTP; 0: no answer */
	int write_rc;    /* our own file's fault */
	struct progress *progress;
	char headers[PATH_MAX], said[PATH_MAX];
};

/* Of the last answer: those before it are redirections. */
static void fetch_headers(struct fetch_get *g)
{
	char line[1024];
	FILE *f = fopen(g->headers, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "HTTP/", 5)) {
			char *at = strchr(line, ' ');

			g->status = at ? (unsigned)strtoul(at, NULL, 10) : 0;
			g->total = 0;
		}
		if (!strncasecmp(line, "content-length:", 15))
			g->total = strtoull(line + 15, NULL, 10) + g->from;
	}
	if (f)
		fclose(f);
}

static int fetch_take(void *opaque, const void *buf, size_t len)
{
	struct fetch_get *g = opaque;
	const char *at = buf;

	if (g->done == g->from)
		fetch_headers(g);
	while (len) {
		ssize_t n = write(g->fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return g->write_rc = -errno;
		at += n;
		len -= (size_t)n;
		g->done += (uint64_t)n;
	}
	progress_bytes(g->progress, g->done, g->total);
	return 0;
}

static int fetch_refused(const struct fetch_get *g, int rc, struct err *err)
{
	char why[256] = "";
	FILE *f;

	if (g->write_rc)
		return err_set(err, -g->write_rc,
			       "cannot keep what %s sends: %s", g->url,
			       strerror(-g->write_rc));
	f = fopen(g->said, "re");
	if (f && fgets(why, sizeof(why), f))
		why[strcspn(why, "\r\n")] = '\0';
	if (f)
		fclose(f);
	return err_set(err, -rc, "cannot fetch %s: %s", g->url,
		       why[0] ? why : strerror(-rc));
}

/* What an earlier attempt wrote for another answer must not count for this. */
static int fetch_prepare(struct fetch_get *g, struct err *err)
{
	int rc = home_path(g->headers, err, "%s/headers", g->dir);

	if (!rc)
		rc = home_path(g->said, err, "%s/said", g->dir);
	if (rc)
		return rc;
	unlink(g->headers);
	unlink(g->said);
	g->done = g->from;
	g->total = g->status = 0;
	g->write_rc = 0;
	return 0;
}

static int fetch_get(struct fetch_get *g, struct err *err)
{
	char from[24];
	const char *argv[] = { "curl",
			       "-q",
			       "--fail",
			       "--location",
			       "--silent",
			       "--show-error",
			       "--no-buffer", /* else a kill loses its end */
			       "--proto",
			       "=http,https",
			       "--retry",
			       "2",
			       "--continue-at",
			       from,
			       "--stderr",
			       g->said,
			       "-D",
			       g->headers,
			       "--url",
			       g->url,
			       NULL };
	int rc = fetch_prepare(g, err);

	if (rc)
		return rc;
	snprintf(from, sizeof(from), "%llu", (unsigned long long)g->from);
	rc = proc_stream(argv, fetch_take, g);
	fetch_headers(g);
	return rc ? fetch_refused(g, rc, err) : 0;
}

/* Small things.  -EIO: there was no answer; else the server has none. */
static int fetch_small(const char *url, const char *dir, const char *out,
		       struct err *err)
{
	struct progress quiet;
	struct fetch_get g = { .url = url, .dir = dir, .progress = &quiet };
	int rc;

	g.fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (g.fd < 0)
		return err_set(err, errno, "cannot make %s: %s", out,
			       strerror(errno));
	progress_init(&quiet, NULL);
	rc = fetch_get(&g, err);
	close(g.fd);
	return rc && g.status ? -ENOENT : rc;
}

/* --- Checksums ------------------------------------------------------------ */

bool fetch_find_sum(const char *list, const char *file, unsigned hex_len,
		    char *hex)
{
	size_t file_len = strlen(file);

	for (const char *at = list; *at;
	     at += strcspn(at, "\n"), *at ? at++ : at) {
		size_t n = strspn(at, "0123456789abcdefABCDEF");
		const char *name = at + n;

		if (n != hex_len || name[0] != ' ' ||
		    (name[1] != ' ' && name[1] != '*'))
			continue;
		name += 2;
		if (strncmp(name, file, file_len) ||
		    (name[file_len] && name[file_len] != '\n' &&
		     name[file_len] != '\r'))
			continue;
		for (size_t i = 0; i < n; i++)
			hex[i] = (char)(at[i] | (at[i] >= 'A' ? 0x20 : 0));
		hex[n] = '\0';
		return true;
	}
	return false;
}

static char *fetch_read(const char *path)
{
	char *text = calloc(1, FETCH_LIST_MAX);
	FILE *f = fopen(path, "re");

	if (f && text)
		text[fread(text, 1, FETCH_LIST_MAX - 1, f)] = '\0';
	if (f)
		fclose(f);
	return text;
}

/* From the list of that name in the image's directory; -ENOENT: not there. */
static int fetch_look_up(const char *url, const char *list_name,
			 unsigned hex_len, const char *dir, char *hex,
			 struct err *err)
{
	char list_url[2048], path[PATH_MAX], *text;
	const char *file = strrchr(url, '/') + 1;
	bool found = false;
	int rc;

	if (snprintf(list_url, sizeof(list_url), "%.*s%s", (int)(file - url),
		     url, list_name) >= (int)sizeof(list_url))
		return -ENOENT;
	rc = home_path(path, err, "%s/sums", dir);
	if (!rc)
		rc = fetch_small(list_url, dir, path, err);
	if (rc)
		return rc;
	text = fetch_read(path);
	if (text)
		found = fetch_find_sum(text, file, hex_len, hex);
	free(text);
	return found ? 0 : -ENOENT;
}

struct fetch_want {
	enum hash_kind kind;
	char hex[HASH_HEX_MAX];
};

/* Hexadecimal digits, of either kind; out: small ones. */
static bool fetch_sum(const char *hex, size_t len, char out[HASH_HEX_MAX])
{
	if (strlen(hex) != len || strspn(hex, "0123456789abcdefABCDEF") != len)
		return false;
	for (size_t i = 0; i <= len; i++)
		out[i] = (char)(hex[i] >= 'A' && hex[i] <= 'F' ? hex[i] | 0x20
							       : hex[i]);
	return true;
}

static int fetch_listed(const char *url, const char *dir,
			struct fetch_want *want, struct err *err)
{
	int rc;

	want->kind = HASH_SHA512;
	rc = fetch_look_up(url, "SHA512SUMS", 128, dir, want->hex, err);
	if (rc != -ENOENT)
		return rc;
	want->kind = HASH_SHA256;
	rc = fetch_look_up(url, "SHA256SUMS", 64, dir, want->hex, err);
	if (rc != -ENOENT)
		return rc;
	return err_set(err, ENOENT,
		       "no SHA512SUMS or SHA256SUMS beside %s names it; give "
		       "--sha256 or --sha512, or --no-verify",
		       url);
}

static int fetch_wanted(const struct fetch *f, const char *dir,
			struct fetch_want *want, struct err *err)
{
	const char *given = f->sha512 ? f->sha512 : f->sha256;

	want->kind = f->sha512 ? HASH_SHA512 : HASH_SHA256;
	want->hex[0] = '\0';
	if (given && f->no_verify)
		return err_set(err, EINVAL,
			       "--no-verify and a checksum: it is one or the "
			       "other");
	if (given)
		return fetch_sum(given, f->sha512 ? 128 : 64, want->hex)
			       ? 0
			       : err_set(err, EINVAL,
					 "'%.140s' is no %s checksum: it has "
					 "%d hexadecimal digits",
					 given,
					 f->sha512 ? "SHA-512" : "SHA-256",
					 f->sha512 ? 128 : 64);
	if (f->no_verify)
		return 0;
	return fetch_listed(f->url, dir, want, err);
}

/* --- The image ------------------------------------------------------------ */

static int fetch_check(const struct fetch_want *want, int fd, const char *path,
		       struct progress *progress, bool *right, struct err *err)
{
	char hex[HASH_HEX_MAX];
	int rc;

	*right = true;
	if (!want->hex[0])
		return 0;
	progress_step(progress, "Checking its checksum");
	rc = hash_fd(want->kind, fd, path, progress, hex, err);
	*right = !strcmp(hex, want->hex);
	return rc;
}

/* Whose checksum is known can be taken up again, by whoever comes next. */
static int fetch_path(const struct fetch *f, const struct fetch_want *want,
		      const char *dir, char path[PATH_MAX], struct err *err)
{
	if (!want->hex[0] || !f->partial)
		return home_path(path, err, "%s/partial", dir);
	return home_path(path, err, "%s/%.64s", f->partial, want->hex);
}

/* One at a time; who had it before us may have made an image of it. */
static int fetch_open(const char *path, struct progress *progress,
		      struct err *err)
{
	struct stat ours, there;

	for (;;) {
		int fd = open(path,
			      O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC |
				      O_NOFOLLOW,
			      0600);

		if (fd < 0)
			return err_set(err, errno, "cannot make %s: %s", path,
				       strerror(errno));
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			progress_step(progress,
				      "Waiting for another that pulls it");
			flock(fd, LOCK_EX);
		}
		if (!fstat(fd, &ours) && !stat(path, &there) &&
		    ours.st_ino == there.st_ino)
			return fd;
		close(fd);
	}
}

/*
 * Gets what is missing.  A server that cannot go on where we are, or that has
 * another file by now, is asked for all of it.
 */
static int fetch_rest(struct fetch_get *g, struct err *err)
{
	int rc;

	if (g->from)
		progress_step(g->progress, "Going on with %.70s",
			      strrchr(g->url, '/') + 1);
	rc = fetch_get(g, err);
	if (!g->from || g->write_rc || !g->status || g->status == 206)
		return rc;
	if (ftruncate(g->fd, 0))
		return err_set(err, errno, "cannot start %s anew: %s", g->url,
			       strerror(errno));
	g->from = 0;
	return fetch_get(g, err);
}

static int fetch_wrong(const struct fetch_get *g, struct err *err)
{
	return err_set(err, EBADMSG,
		       "%s does not have the checksum it should: nothing was "
		       "kept",
		       g->url);
}

/* The file, whole and right, or an error. */
static int fetch_right(struct fetch_get *g, const struct fetch_want *want,
		       const char *path, struct err *err)
{
	struct stat st;
	bool right = false;
	int rc = 0;

	if (!fstat(g->fd, &st))
		g->from = (uint64_t)st.st_size;
	if (g->from) /* it may have been whole when it was interrupted */
		rc = fetch_check(want, g->fd, path, g->progress, &right, err);
	for (int i = 0; i < 2 && !rc && !right; i++) {
		bool again = g->from;

		rc = fetch_rest(g, err);
		if (!rc)
			rc = fetch_check(want, g->fd, path, g->progress, &right,
					 err);
		if (rc || right)
			break;
		if (ftruncate(g->fd, 0) || !again)
			return fetch_wrong(g, err);
		g->from = 0;
	}
	return rc || right ? rc : fetch_wrong(g, err);
}

static void fetch_add(struct err *err, const char *text)
{
	size_t n = err ? strlen(err->msg) : 0;

	if (err)
		snprintf(err->msg + n, sizeof(err->msg) - n, "%s", text);
}

int fetch_image(const struct fetch *f, const char *dir, const char *out,
		struct progress *progress, struct err *err)
{
	struct fetch_get g = { .url = f->url,
			       .dir = dir,
			       .progress = progress };
	struct fetch_want want;
	char path[PATH_MAX];
	int rc;

	if (strncmp(f->url, "http://", 7) && strncmp(f->url, "https://", 8))
		return err_set(err, EINVAL,
			       "'%.200s' is no http or https address, nor one "
			       "of debian:12, debian:13, ubuntu:24.04; a file "
			       "is taken by hostel image import",
			       f->url);
	if (!proc_have("curl"))
		return err_set(err, ENOENT,
			       "pulling an image needs curl; install it: "
			       "apt-get install -y curl");
	progress_step(progress, "Looking for the checksum of %.60s",
		      strrchr(f->url, '/') + 1);
	rc = fetch_wanted(f, dir, &want, err);
	if (!rc)
		rc = fetch_path(f, &want, dir, path, err);
	if (rc)
		return rc;
	g.fd = fetch_open(path, progress, err);
	if (g.fd < 0)
		return g.fd;
	progress_step(progress, "Fetching %.80s", strrchr(f->url, '/') + 1);
	rc = fetch_right(&g, &want, path, err);
	if (!rc && rename(path, out))
		rc = err_set(err, errno, "cannot make %s: %s", out,
			     strerror(errno));
	if (rc == -EIO && g.done && want.hex[0])
		fetch_add(err, "; what came is kept: pull it again to go on");
	/* On a full disk what we hold is what others miss. */
	if (rc == -EBADMSG || g.write_rc || !g.done)
		unlink(path);
	close(g.fd);
	return rc;
}
