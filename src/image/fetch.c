#include "image/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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

struct fetch_sink {
	int fd;
	const char *headers;
	uint64_t done, total;
	struct progress *progress;
};

/* The last Content-Length: those before it are of redirections. */
static uint64_t fetch_total(const char *headers)
{
	char line[1024];
	uint64_t total = 0;
	FILE *f = fopen(headers, "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncasecmp(line, "content-length:", 15))
			total = strtoull(line + 15, NULL, 10);
	if (f)
		fclose(f);
	return total;
}

static int fetch_take(void *opaque, const void *buf, size_t len)
{
	struct fetch_sink *s = opaque;
	const char *at = buf;

	if (!s->done)
		s->total = fetch_total(s->headers);
	s->done += len;
	while (len) {
		ssize_t n = write(s->fd, at, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	progress_bytes(s->progress, s->done, s->total);
	return 0;
}

static int fetch_refused(const char *url, const char *said, int rc,
			 struct err *err)
{
	char why[256] = "";
	FILE *f = fopen(said, "re");

	if (f && fgets(why, sizeof(why), f))
		why[strcspn(why, "\r\n")] = '\0';
	if (f)
		fclose(f);
	return err_set(err, -rc, "cannot fetch %s: %s", url,
		       why[0] ? why : strerror(-rc));
}

static int fetch_one(const char *url, const char *dir, const char *out,
		     struct progress *progress, struct err *err)
{
	char headers[PATH_MAX], said[PATH_MAX];
	const char *argv[] = { "curl",       "-q",          "--fail",
			       "--location", "--silent",    "--show-error",
			       "--proto",    "=http,https", "--retry",
			       "2",          "--stderr",    said,
			       "-D",         headers,       "--url",
			       url,          NULL };
	struct fetch_sink sink = { .headers = headers, .progress = progress };
	int rc = home_path(headers, err, "%s/headers", dir);

	if (!rc)
		rc = home_path(said, err, "%s/said", dir);
	if (rc)
		return rc;
	sink.fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (sink.fd < 0)
		return err_set(err, errno, "cannot make %s: %s", out,
			       strerror(errno));
	rc = proc_stream(argv, fetch_take, &sink);
	close(sink.fd);
	return rc ? fetch_refused(url, said, rc, err) : 0;
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

/* From the list of that name in the image's directory. */
static bool fetch_look_up(const char *url, const char *list_name,
			  unsigned hex_len, const char *dir, char *hex)
{
	char list_url[2048], path[PATH_MAX], *text;
	const char *file = strrchr(url, '/') + 1;
	struct progress quiet;
	bool found = false;

	progress_init(&quiet, NULL);
	if (snprintf(list_url, sizeof(list_url), "%.*s%s", (int)(file - url),
		     url, list_name) >= (int)sizeof(list_url) ||
	    home_path(path, NULL, "%s/sums", dir) ||
	    fetch_one(list_url, dir, path, &quiet, NULL))
		return false;
	text = fetch_read(path);
	if (text)
		found = fetch_find_sum(text, file, hex_len, hex);
	free(text);
	return found;
}

struct fetch_want {
	enum hash_kind kind;
	char hex[HASH_HEX_MAX];
};

static bool fetch_sum_ok(const char *hex, size_t len)
{
	return strlen(hex) == len && strspn(hex, "0123456789abcdef") == len;
}

static int fetch_wanted(const struct fetch *f, const char *dir,
			struct fetch_want *want, struct err *err)
{
	const char *given = f->sha512 ? f->sha512 : f->sha256;

	want->kind = f->sha512 ? HASH_SHA512 : HASH_SHA256;
	want->hex[0] = '\0';
	if (given && !fetch_sum_ok(given, f->sha512 ? 128 : 64))
		return err_set(err, EINVAL,
			       "'%.140s' is no checksum of that kind", given);
	if (given) {
		strcpy(want->hex, given);
		return 0;
	}
	if (f->no_verify)
		return 0;
	want->kind = HASH_SHA512;
	if (fetch_look_up(f->url, "SHA512SUMS", 128, dir, want->hex))
		return 0;
	want->kind = HASH_SHA256;
	if (fetch_look_up(f->url, "SHA256SUMS", 64, dir, want->hex))
		return 0;
	return err_set(err, ENOENT,
		       "no SHA512SUMS or SHA256SUMS beside %s names it; give "
		       "--sha256 or --sha512, or --no-verify",
		       f->url);
}

static int fetch_check(const struct fetch_want *want, const char *url,
		       const char *out, struct progress *progress,
		       struct err *err)
{
	char hex[HASH_HEX_MAX];
	int rc, fd = open(out, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, errno, "cannot open %s: %s", out,
			       strerror(errno));
	progress_step(progress, "Checking its checksum");
	rc = hash_fd(want->kind, fd, out, progress, hex, err);
	close(fd);
	if (!rc && strcmp(hex, want->hex))
		rc = err_set(err, EBADMSG,
			     "%s does not have the checksum it should: "
			     "nothing was kept",
			     url);
	return rc;
}

int fetch_image(const struct fetch *f, const char *dir, const char *out,
		struct progress *progress, struct err *err)
{
	struct fetch_want want;
	int rc;

	if (strncmp(f->url, "http://", 7) && strncmp(f->url, "https://", 8))
		return err_set(err, EINVAL,
			       "'%.200s' is no http or https address", f->url);
	if (!proc_have("curl"))
		return err_set(err, ENOENT,
			       "pulling an image needs curl; install it: "
			       "apt-get install -y curl");
	progress_step(progress, "Looking for the checksum of %.60s",
		      strrchr(f->url, '/') + 1);
	rc = fetch_wanted(f, dir, &want, err);
	if (rc)
		return rc;
	progress_step(progress, "Fetching %.80s", strrchr(f->url, '/') + 1);
	rc = fetch_one(f->url, dir, out, progress, err);
	if (!rc && want.hex[0])
		rc = fetch_check(&want, f->url, out, progress, err);
	return rc;
}
