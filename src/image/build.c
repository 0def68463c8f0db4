/*
 * build.c - see build.h.
 *
 *	workplace/early/...	files that packages must find when they are
 *				configured: what the initial RAM disk holds
 *	workplace/hostel-build/	copied into the new system; its script `setup`
 *				runs there, leaves GRUB's images, and removes it
 *	workplace/sources	the host's own mirror of this release, if any
 *	workplace/root.tar	what mmdebstrap made
 *
 * mmdebstrap's choice of how to be root is followed by our own: what it packs
 * into a tar archive is unpacked under fakeroot where we are not root.
 */
#include "image/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/guest.h"
#include "image/home.h"
#include "image/proc.h"

#define BUILD_TEXT_MAX 16384
#define BUILD_ARGS_MAX 64
#define BUILD_UUID_LEN 37

/* What mmdebstrap installs beside Debian's minimum. */
#define BUILD_PACKAGES                                                     \
	"systemd-sysv,udev,dbus,systemd-resolved,openssh-server,iproute2," \
	"iputils-ping,initramfs-tools,lz4,kmod,e2fsprogs,grub-common,"     \
	"grub-pc-bin,grub-efi-amd64-bin,sudo,ca-certificates,less,nano,"   \
	"procps,netbase,tzdata"

/* The last console is the one that /dev/console means. */
#define BUILD_CMDLINE                                                       \
	"console=tty0 console=ttyS0,115200 rootfstype=ext4 noresume quiet " \
	"systemd.show_status=yes"

/* more: what other releases have in packages named here already. */
static const struct build_release {
	const char *name, *suite, *more;
} build_releases[] = {
	{ "debian:12", "bookworm", "" },
	{ "debian:bookworm", "bookworm", "" },
	{ "debian:13", "trixie", ",systemd-repart,login" },
	{ "debian:trixie", "trixie", ",systemd-repart,login" },
};

#define BUILD_RELEASES (sizeof(build_releases) / sizeof(build_releases[0]))

/* A program, and the package that brings it; root needs no fakeroot. */
static const struct build_tool {
	const char *program, *package;
	bool user_only;
} build_tools[] = {
	{ "mmdebstrap", "mmdebstrap", false },
	{ "mke2fs", "e2fsprogs", false },
	{ "mformat", "mtools", false },
	{ "tar", "tar", false },
	{ "fakeroot", "fakeroot", true },
	{ "fakechroot", "fakechroot", true },
	{ "newuidmap", "uidmap", true },
};

#define BUILD_TOOLS (sizeof(build_tools) / sizeof(build_tools[0]))

struct build_work {
	const struct build *b;
	const char *dir;
	const struct build_release *release;
	char root_uuid[BUILD_UUID_LEN];
	int log_fd;
	struct progress *progress;
};

static const struct build_release *build_find(const char *release)
{
	for (size_t i = 0; i < BUILD_RELEASES; i++)
		if (!strcmp(build_releases[i].name, release))
			return &build_releases[i];
	return NULL;
}

bool build_knows(const char *release)
{
	return build_find(release) != NULL;
}

int build_check_host(struct err *err)
{
	char missing[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < BUILD_TOOLS; i++) {
		const struct build_tool *t = &build_tools[i];

		if ((t->user_only && !geteuid()) || proc_have(t->program))
			continue;
		n += (size_t)snprintf(missing + n, sizeof(missing) - n, " %s",
				      t->package);
	}
	if (!missing[0])
		return 0;
	return err_set(err, ENOENT,
		       "building an image needs programs that are not here; "
		       "install them: apt-get install -y%s",
		       missing);
}

/* --- What may be asked for ------------------------------------------------ */

static bool build_word_ok(const char *s, const char *letters, size_t max)
{
	return !s ||
	       (*s && strlen(s) <= max && strspn(s, letters) == strlen(s));
}

#define BUILD_LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define BUILD_UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* These words reach a shell and files with a syntax of their own. */
static int build_check(const struct build *b, struct err *err)
{
	if (!build_knows(b->release))
		return err_set(err, EINVAL,
			       "'%.64s' cannot be built; this version builds "
			       "debian:12 and debian:13",
			       b->release);
	if (!build_word_ok(b->hostname, BUILD_LOWER BUILD_UPPER ".-", 63))
		return err_set(err, EINVAL, "--hostname: '%.64s' is none",
			       b->hostname);
	if (!build_word_ok(b->user, BUILD_LOWER "_-", 32) ||
	    (b->user && !strchr("abcdefghijklmnopqrstuvwxyz_", b->user[0])))
		return err_set(err, EINVAL, "--user: '%.64s' is no user's name",
			       b->user);
	if (!build_word_ok(b->packages, BUILD_LOWER "+-.,:", 8192))
		return err_set(err, EINVAL,
			       "--packages takes names with commas between: "
			       "'%.100s'",
			       b->packages);
	if (b->password && strpbrk(b->password, ":\n"))
		return err_set(err, EINVAL, "--password: no ':' or newline");
	if (b->append && strpbrk(b->append, "|'\"\\&\n"))
		return err_set(err, EINVAL,
			       "--append: no quotes, '|', '&' or '\\'");
	if (b->kernel && strcmp(b->kernel, "cloud") &&
	    strcmp(b->kernel, "generic"))
		return err_set(err, EINVAL, "--kernel: cloud or generic");
	if (b->size && b->size < BUILD_SIZE_MIN)
		return err_set(err, EINVAL, "--size: at least 1G");
	return 0;
}

/* --- The workplace -------------------------------------------------------- */

static const struct build_early {
	const char *file, *path;
	unsigned mode;
} build_earlies[] = {
	{ "initramfs.conf", "etc/initramfs-tools/conf.d/hostel", 0644 },
	{ "initramfs-hook", "etc/initramfs-tools/hooks/zz-hostel", 0755 },
	{ "initramfs-top", "etc/initramfs-tools/scripts/local-top/hostel",
	  0755 },
};

#define BUILD_EARLIES (sizeof(build_earlies) / sizeof(build_earlies[0]))

static const char *build_file(const char *name)
{
	for (const struct guest_file *f = guest_files; f->name; f++)
		if (!strcmp(f->name, name))
			return f->text;
	return "";
}

/* dir/sub = text; makes the directories of sub. */
static int build_put(const struct build_work *w, const char *sub,
		     const char *text, unsigned mode, struct err *err)
{
	char path[PATH_MAX];
	int rc = home_path(path, err, "%s/%s", w->dir, sub);

	if (rc)
		return rc;
	for (char *at = path + strlen(w->dir) + 1; (at = strchr(at, '/'));
	     *at++ = '/') {
		*at = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return err_set(err, errno, "cannot make %s: %s", path,
				       strerror(errno));
		chmod(path, 0755);
	}
	return home_write(path, text, strlen(text), mode, err);
}

static int build_put_files(const struct build_work *w, struct err *err)
{
	char sub[256];
	int rc = 0;

	for (const struct guest_file *f = guest_files; f->name && !rc; f++) {
		snprintf(sub, sizeof(sub), "hostel-build/%s", f->name);
		rc = build_put(w, sub, f->text, 0644, err);
	}
	if (!rc && w->b->ssh_keys)
		rc = build_put(w, "hostel-build/authorized_keys",
			       w->b->ssh_keys, 0600, err);
	for (size_t i = 0; i < BUILD_EARLIES && !rc; i++) {
		snprintf(sub, sizeof(sub), "early/%s", build_earlies[i].path);
		rc = build_put(w, sub, build_file(build_earlies[i].file),
			       build_earlies[i].mode, err);
	}
	return rc;
}

/*
 * Lines for sources.list(5) of this release as the host's own apt has them:
 * its mirror is near, and may be the only one that can be reached.  Where the
 * host is of another release, its mirror will have this one too.
 */
static int build_host_sources(const struct build_work *w, char *out,
			      unsigned size)
{
	char script[1280];
	const char *argv[] = { "sh", "-c", script, NULL };

	snprintf(script, sizeof(script),
		 "apt-get indextargets --format "
		 "'$(CREATED_BY)|$(SIGNED_BY)|$(REPO_URI)|$(RELEASE)|"
		 "$(COMPONENT)|$(ORIGIN)' 2>/dev/null | awk -F'|' -v s=%s '"
		 "$1 == \"Packages\" && $6 == \"Debian\" && "
		 "$4 ~ /^[a-z]+(-updates|-security)?$/ {"
		 "  o = $2 ~ /^\\// ? \"[signed-by=\" $2 \"] \" : \"\";"
		 "  own = $4 ~ \"^\" s \"(-|$)\"; r = $4;"
		 "  sub(/^[a-z]+/, s, r);"
		 "  l = \"deb \" o $3 \" \" r \" \" $5 \"\\n\";"
		 "  if (own && !index(is, l)) is = is l;"
		 "  if (!own && !index(like, l)) like = like l }"
		 "END { printf \"%%s\", is ? is : like }'",
		 w->release->suite);
	return proc_output(argv, out, size);
}

/* How the host's apt reaches its mirrors: one --aptopt each. */
static int build_apt_options(char *out, unsigned size)
{
	static const char *const argv[] = {
		"sh", "-c",
		"apt-config dump 2>/dev/null | grep -E "
		"'^Acquire::(https?::([^ ]*::)?(Proxy|CaInfo|Verify-)|"
		"Check-|Retries)' | grep -v ' \"\";$'",
		NULL
	};

	return proc_output(argv, out, size);
}

static int build_put_sources(const struct build_work *w, bool *have,
			     struct err *err)
{
	char text[BUILD_TEXT_MAX];

	*have = false;
	if (w->b->mirror) {
		snprintf(text, sizeof(text), "deb %s %s main\n", w->b->mirror,
			 w->release->suite);
		*have = true;
	} else if (!build_host_sources(w, text, sizeof(text)) && text[0]) {
		/* A list cut in the middle is worse than none. */
		*have = strlen(text) + 1 < sizeof(text) &&
			strstr(text, w->release->suite);
	}
	return *have ? build_put(w, "sources", text, 0644, err) : 0;
}

/* --- mmdebstrap ----------------------------------------------------------- */

/* Steps that mmdebstrap tells of as "I: ...", in a person's words. */
static const struct build_step {
	const char *said, *step;
} build_steps[] = {
	{ "running apt-get update", "Reading package lists" },
	{ "downloading packages", "Downloading packages" },
	{ "extracting archives", "Unpacking the base system" },
	{ "installing essential", "Installing the base system" },
	{ "installing remaining", "Installing packages and the kernel" },
	{ "running --customize-hook", "Setting up boot, network and logins" },
	{ "creating tarball", "Packing the system" },
};

#define BUILD_STEPS (sizeof(build_steps) / sizeof(build_steps[0]))

static void build_heard(void *opaque, const char *line)
{
	struct build_work *w = opaque;

	for (size_t i = 0; i < BUILD_STEPS; i++)
		if (!strncmp(line, "I: ", 3) &&
		    strstr(line, build_steps[i].said)) {
			if (strcmp(w->progress->step, build_steps[i].step))
				progress_step(w->progress, "%s",
					      build_steps[i].step);
			return;
		}
	progress_note(w->progress, line);
}

/* 'text' for a shell. */
static void build_quote(char *out, size_t size, const char *text)
{
	size_t n = 0;

	out[n++] = '\'';
	for (; *text && n + 6 < size; text++) {
		if (*text == '\'') {
			memcpy(out + n, "'\\''", 4);
			n += 4;
		} else {
			out[n++] = *text;
		}
	}
	out[n++] = '\'';
	out[n] = '\0';
}

static void build_customize(const struct build_work *w, char *out, size_t size)
{
	const struct build *b = w->b;
	char password[512], append[1100];

	build_quote(password, sizeof(password),
		    b->password ? b->password : BUILD_PASSWORD);
	build_quote(append, sizeof(append), b->append ? b->append : "");
	snprintf(out, size,
		 "--customize-hook=env -u TMPDIR LC_ALL=C.UTF-8 ROOT_UUID=%s "
		 "KEEP='%s' CMDLINE='" BUILD_CMDLINE " '%s "
		 "HOST_NAME=%s USER_NAME=%s PASSWORD=%s "
		 "chroot \"$1\" sh /hostel-build/setup",
		 w->root_uuid, b->packages ? b->packages : "", append,
		 b->hostname ? b->hostname : "debian",
		 b->user ? b->user : BUILD_USER, password);
}

struct build_argv {
	const char *argv[BUILD_ARGS_MAX];
	unsigned count;
};

static void build_arg(struct build_argv *a, const char *arg)
{
	if (a->count + 1 < BUILD_ARGS_MAX)
		a->argv[a->count++] = arg;
	a->argv[a->count] = NULL;
}

/* options: lines that are cut apart here, and stay in use. */
static void build_add_options(struct build_argv *a, char *options,
			      char store[][300], unsigned max)
{
	char *save, *line = strtok_r(options, "\n", &save);

	for (unsigned i = 0; line && i < max; i++) {
		snprintf(store[i], sizeof(store[i]), "--aptopt=%.280s", line);
		build_arg(a, store[i]);
		line = strtok_r(NULL, "\n", &save);
	}
}

/*
 * As root mmdebstrap mounts /proc and more in the new system, and leaves them
 * and it behind when it is killed.  In a mount namespace of its own they go
 * with the last process, and in our workplace we remove the rest.  Others
 * work in a user namespace, which may not look into our workplace.
 */
static void build_confine(struct build_argv *a, const char *tmpdir)
{
	static const char *const probe[] = { "unshare", "--mount", "true",
					     NULL };
	char none[1];

	if (geteuid())
		return;
	if (!proc_output(probe, none, sizeof(none))) {
		build_arg(a, "unshare");
		build_arg(a, "--mount");
	}
	build_arg(a, "env");
	build_arg(a, tmpdir);
}

static int build_bootstrap(struct build_work *w, bool sources, struct err *err)
{
	char include[BUILD_TEXT_MAX], early[PATH_MAX + 64], copy[PATH_MAX + 64];
	char customize[4096], tar[PATH_MAX], list[PATH_MAX], quoted[PATH_MAX];
	char options[BUILD_TEXT_MAX], option_store[16][300];
	char tmpdir[PATH_MAX + 8];
	struct build_argv a = { .count = 0 };
	struct proc proc = { a.argv, w->log_fd, build_heard, w };
	const struct build *b = w->b;

	build_quote(quoted, sizeof(quoted) - 16, w->dir);
	quoted[strlen(quoted) - 1] = '\0';
	snprintf(early, sizeof(early), "--essential-hook=sync-in %s/early' /",
		 quoted);
	snprintf(copy, sizeof(copy),
		 "--customize-hook=copy-in %s/hostel-build' /", quoted);
	snprintf(include, sizeof(include),
		 "--include=%s%s,linux-image-%samd64%s%s", BUILD_PACKAGES,
		 w->release->more,
		 b->kernel && !strcmp(b->kernel, "generic") ? "" : "cloud-",
		 b->packages ? "," : "", b->packages ? b->packages : "");
	build_customize(w, customize, sizeof(customize));
	if (home_path(tar, err, "%s/root.tar", w->dir) ||
	    home_path(list, err, "%s/sources", w->dir))
		return -ENAMETOOLONG;
	snprintf(tmpdir, sizeof(tmpdir), "TMPDIR=%s", w->dir);
	build_confine(&a, tmpdir);
	build_arg(&a, "mmdebstrap");
	build_arg(&a, "--variant=minbase");
	build_arg(&a, "--architectures=amd64");
	build_arg(&a, include);
	build_arg(&a, early);
	build_arg(&a, copy);
	build_arg(&a, customize);
	if (!build_apt_options(options, sizeof(options)))
		build_add_options(&a, options, option_store, 16);
	build_arg(&a, w->release->suite);
	build_arg(&a, tar);
	if (sources)
		build_arg(&a, list);
	return proc_run(&proc, err);
}

/* --- All of it ------------------------------------------------------------ */

static int build_make_uuid(char out[BUILD_UUID_LEN], struct err *err)
{
	int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, BUILD_UUID_LEN - 1);

	if (fd >= 0)
		close(fd);
	if (n != BUILD_UUID_LEN - 1)
		return err_set(err, EIO, "cannot make a UUID");
	out[BUILD_UUID_LEN - 1] = '\0';
	return 0;
}

static int build_run(struct build_work *w, const char *out, struct err *err)
{
	struct build_parts parts = { w->dir, w->root_uuid,
				     w->b->size ? w->b->size : BUILD_SIZE };
	bool sources;
	int rc = build_put_files(w, err);

	progress_step(w->progress, "Building %s", w->b->release);
	if (!rc)
		rc = build_put_sources(w, &sources, err);
	if (!rc)
		rc = build_bootstrap(w, sources, err);
	if (!rc)
		rc = build_disk(&parts, out, w->progress, err);
	progress_end(w->progress);
	return rc;
}

/* What went wrong is somewhere in what apt and its packages said. */
static void build_keep_log(const char *log, struct err *err)
{
	char dir[PATH_MAX], kept[PATH_MAX];
	size_t n = strlen(err->msg);

	if (!home_dir("images", dir, NULL) &&
	    !home_path(kept, NULL, "%s/build.log", dir) && !rename(log, kept))
		snprintf(err->msg + n, sizeof(err->msg) - n, "; all of it: %s",
			 kept);
}

int build_image(const struct build *b, const char *dir, const char *out,
		struct progress *progress, struct err *err)
{
	struct build_work w = { .b = b, .dir = dir, .progress = progress };
	char log[PATH_MAX];
	int rc = build_check(b, err);

	proc_set_path();
	if (!rc)
		rc = build_check_host(err);
	if (!rc)
		rc = build_make_uuid(w.root_uuid, err);
	if (!rc)
		rc = home_path(log, err, "%s/log", dir);
	if (rc)
		return rc;
	w.release = build_find(b->release);
	w.log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	rc = build_run(&w, out, err);
	if (rc)
		build_keep_log(log, err);
	if (w.log_fd >= 0)
		close(w.log_fd);
	return rc;
}
