/*
 * files.c - what programs do with files, in the directory that is named: one
 * line "T NAME yes" for each that goes as on a disk, else "T NAME no: ...".
 *
 *	files DIR [mmap] [many]		shared mappings that are written, too;
 *					a directory with many entries
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FILES_MANY 10000 /* with "many", else a twentieth */

/* Where it went wrong, if it did. */
#define CHECK(x)                          \
	do {                              \
		if (!(x))                 \
			return "no: " #x; \
	} while (0)

static int file_make(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (fd >= 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		perror(name);
	return fd;
}

static int file_has(const char *name, const char *text)
{
	char buf[64] = "";
	int fd = open(name, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	close(fd);
	return n >= 0 && !strcmp(buf, text);
}

static const char *attributes(void)
{
	char buf[5000], big[4000];

	memset(big, 7, sizeof(big));
	close(file_make("x", "x"));
	CHECK(!setxattr("x", "user.one", "first", 5, 0));
	CHECK(getxattr("x", "user.one", buf, sizeof(buf)) == 5);
	CHECK(!memcmp(buf, "first", 5));
	CHECK(getxattr("x", "user.one", NULL, 0) == 5);
	CHECK(getxattr("x", "user.one", buf, 2) < 0 && errno == ERANGE);
	CHECK(getxattr("x", "user.none", buf, 9) < 0 && errno == ENODATA);
	CHECK(setxattr("x", "user.one", "x", 1, XATTR_CREATE) < 0);
	CHECK(errno == EEXIST);
	CHECK(setxattr("x", "user.no", "x", 1, XATTR_REPLACE) < 0);
	CHECK(errno == ENODATA);
	CHECK(!setxattr("x", "user.empty", "", 0, 0));
	CHECK(getxattr("x", "user.empty", buf, sizeof(buf)) == 0);
	CHECK(!removexattr("x", "user.empty"));
	CHECK(!setxattr("x", "user.big", big, 3000, 0));
	CHECK(getxattr("x", "user.big", buf, sizeof(buf)) == 3000);
	CHECK(!memcmp(buf, big, 3000));
	CHECK(listxattr("x", buf, sizeof(buf)) == 18);
	CHECK(!removexattr("x", "user.big"));
	CHECK(listxattr("x", buf, sizeof(buf)) == 9);
	CHECK(!strcmp(buf, "user.one"));
	CHECK(setxattr("x", "trusted.one", "x", 1, 0) < 0);
	CHECK(setxattr("x", "security.capability", "x", 1, 0) < 0);
	CHECK(!setxattr(".", "user.dir", "d", 1, 0));
	return "yes";
}

static const char *names(void)
{
	struct stat a, b;
	char buf[16] = "";

	close(file_make("a", "one"));
	CHECK(!link("a", "b") && !stat("a", &a) && !stat("b", &b));
	CHECK(a.st_ino == b.st_ino && b.st_nlink == 2);
	CHECK(!symlink("a", "s") && !lstat("s", &b) && S_ISLNK(b.st_mode));
	CHECK(readlink("s", buf, sizeof(buf)) == 1 && buf[0] == 'a');
	CHECK(file_has("s", "one"));
	close(file_make("c", "two"));
	CHECK(!rename("c", "a") && file_has("a", "two") &&
	      file_has("b", "one"));
	CHECK(!mkdir("d", 0755) && !rename("a", "d/a"));
	CHECK(rename("d", "d/e") < 0 && errno == EINVAL);
	CHECK(rmdir("d") < 0 && errno == ENOTEMPTY);
	CHECK(!unlink("d/a") && !rmdir("d") && !unlink("b") && !unlink("s"));
	CHECK(open("b", O_RDONLY) < 0 && errno == ENOENT);
	CHECK(open("x/y", O_RDONLY) < 0 && errno == ENOTDIR);
	CHECK(open("x", O_RDWR | O_CREAT | O_EXCL, 0644) < 0);
	CHECK(errno == EEXIST);
	return "yes";
}

static const char *unlinked(void)
{
	int fd = file_make("u", "still");
	char buf[16] = "";
	struct stat st;

	CHECK(!unlink("u") && access("u", F_OK) < 0);
	CHECK(pwrite(fd, "here", 4, 5) == 4);
	CHECK(pread(fd, buf, 15, 0) == 9 && !strcmp(buf, "stillhere"));
	CHECK(!fstat(fd, &st) && st.st_size == 9);
	CHECK(!ftruncate(fd, 5) && !fstat(fd, &st) && st.st_size == 5);
	CHECK(!close(fd));
	return "yes";
}

static unsigned files_many = FILES_MANY / 20;

static const char *many(void)
{
	static char seen[FILES_MANY];
	char name[64];
	struct dirent *d;
	unsigned n = 0;
	DIR *dir;

	CHECK(!mkdir("many", 0755));
	for (unsigned i = 0; i < files_many; i++) {
		snprintf(name, sizeof(name), "many/a rather long name %u", i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	dir = opendir("many");
	CHECK(dir);
	while ((d = readdir(dir))) {
		unsigned i = 0;

		if (sscanf(d->d_name, "a rather long name %u", &i) != 1)
			continue;
		CHECK(i < files_many && !seen[i]);
		seen[i] = 1;
		n++;
	}
	CHECK(n == files_many);
	rewinddir(dir);
	CHECK(readdir(dir));
	closedir(dir);
	for (unsigned i = 0; i < files_many; i++) {
		snprintf(name, sizeof(name), "many/a rather long name %u", i);
		CHECK(!unlink(name));
	}
	CHECK(!rmdir("many"));
	return "yes";
}

/* Two processes want one byte. */
static const char *locks(void)
{
	int fd = file_make("l", "lock"), status, wait[2];
	struct flock l = { .l_type = F_WRLCK, .l_start = 1, .l_len = 1 };
	pid_t pid;
	char c;

	CHECK(!fcntl(fd, F_SETLK, &l) && !pipe(wait));
	pid = fork();
	if (!pid) {
		int mine = open("l", O_RDWR);
		struct flock want = l;

		if (!fcntl(mine, F_SETLK, &want) ||
		    (errno != EAGAIN && errno != EACCES))
			_exit(1);
		if (fcntl(mine, F_GETLK, &want) || want.l_type != F_WRLCK)
			_exit(2);
		want = l;
		want.l_start = 2;
		if (fcntl(mine, F_SETLK, &want))
			_exit(3);
		want = l;
		if (write(wait[1], "x", 1) != 1)
			_exit(4);
		_exit(fcntl(mine, F_SETLKW, &want) ? 5 : 0);
	}
	CHECK(read(wait[0], &c, 1) == 1);
	l.l_type = F_UNLCK;
	CHECK(!fcntl(fd, F_SETLK, &l));
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status) {
		printf("T lock-status %d\n", status >> 8);
		return "no: status";
	}
	close(fd);
	return "yes";
}

static const char *mapped(void)
{
	int fd = file_make("m", "mapped text");
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	CHECK(p != MAP_FAILED && !strcmp(p, "mapped text"));
	p[0] = 'M';
	CHECK(file_has("m", "mapped text"));
	munmap(p, 4096);
	close(fd);
	return "yes";
}

static const char *shared(void)
{
	int fd = file_make("m", "mapped text");
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED && !strcmp(p, "mapped text"));
	memcpy(p, "MAPPED", 6);
	CHECK(!msync(p, 4096, MS_SYNC));
	munmap(p, 4096);
	CHECK(!fsync(fd) && !close(fd));
	CHECK(file_has("m", "MAPPED text"));
	return "yes";
}

static const char *sizes(void)
{
	int fd = file_make("s", "0123456789");
	struct timespec t[2] = { { 1000000000, 123 }, { 1111111111, 456 } };
	char buf[32] = "";
	struct statfs fs;
	struct stat st;

	CHECK(pwrite(fd, "far", 3, 5000000000) == 3);
	CHECK(!fstat(fd, &st) && st.st_size == 5000000003);
	CHECK(!ftruncate(fd, 4) && pread(fd, buf, 31, 0) == 4);
	CHECK(!futimens(fd, t) && !fstat(fd, &st));
	CHECK(st.st_mtim.tv_sec == 1111111111);
	CHECK(!fchmod(fd, 0640) && !fstat(fd, &st));
	CHECK((st.st_mode & 07777) == 0640);
	close(fd);
	fd = open("s", O_WRONLY | O_APPEND);
	CHECK(write(fd, "45", 2) == 2 && !close(fd) && file_has("s", "012345"));
	CHECK(!statfs(".", &fs) && fs.f_blocks && fs.f_bsize && fs.f_namelen);
	return "yes";
}

/* A guest's kernel may follow them; they end in the guest. */
static const char *walls(void)
{
	int fd;

	CHECK(!symlink("../../../../../../../../etc/passwd", "out"));
	fd = open("out", O_RDONLY);
	CHECK(fd < 0 && errno == ENOENT);
	CHECK(!symlink("/proc/self/fd/0", "magic"));
	CHECK(mknod("dev", S_IFBLK | 0600, 0x800) < 0);
	CHECK(mknod("dev", S_IFCHR | 0600, 0x103) < 0);
	CHECK(open("a\\b", O_RDONLY) < 0 && errno == ENOENT);
	close(file_make("su", "x"));
	CHECK(chmod("su", 04755) == 0);
	CHECK(!unlink("out") && !unlink("magic"));
	return "yes";
}

static const struct {
	const char *name;
	const char *(*run)(void);
} files_checks[] = {
	{ "attributes", attributes }, { "names", names },
	{ "unlinked", unlinked },     { "many", many },
	{ "locks", locks },           { "mapped", mapped },
	{ "sizes", sizes },           { "walls", walls },
	{ "shared", shared },
};

int main(int argc, char **argv)
{
	unsigned n = sizeof(files_checks) / sizeof(files_checks[0]);
	bool maps = false;

	if (argc < 2 || chdir(argv[1])) {
		perror("files");
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		maps |= !strcmp(argv[i], "mmap");
		if (!strcmp(argv[i], "many"))
			files_many = FILES_MANY;
	}
	for (unsigned i = 0; i < n - !maps; i++) {
		printf("T %s %s", files_checks[i].name, files_checks[i].run());
		printf(" (%d)\n", errno);
		fflush(stdout);
	}
	return 0;
}
