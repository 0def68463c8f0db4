/*
 * crash.c - a disk is used by a process that dies; what was flushed must be
 * there, and no bytes of other places (crash_model.h).
 *
 *	crash --format raw|qcow2|vmdk [--rounds N] [--seed N] [--dir DIR]
 *	      [--mode kill|cut|fault]
 *
 * Each round goes on with the image of the last, but every 16th begins with a
 * new one.  A child process opens it and lets a few threads write, zero,
 * discard, read and flush at random, until
 *
 *	kill	the parent kills it;
 *	cut	the power goes, as the fault filter below the format plays it:
 *		a random part of what was not flushed is lost;
 *	fault	reads, writes and flushes of the image file fail now and then,
 *		writes are torn; then it is killed.
 *
 * Before some rounds a qcow2 image gets a snapshot, so that nothing written is
 * its own any more; before the image is renewed, its first one must still hold
 * what it held.
 *
 * One child in eight has the disk with cache=writethrough, where what was
 * written is there without a flush.
 *
 * Then the image is checked (ours, and qemu-img check where it is there), read
 * and compared.  Same seed, same operations; the moment of a kill is not.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/block.h"
#include "crash_model.h"
#include "rng.h"

#define CRASH_SIZE    (8u << 20)
#define CRASH_SECTORS (CRASH_SIZE / CRASH_SECTOR)
#define CRASH_THREADS 3
#define CRASH_AREA    32u /* sectors that belong to one thread, in turn */
#define CRASH_PENDING 256
#define CRASH_RENEW   16
#define CRASH_OPS     400 /* of a thread, unless it dies before */

enum crash_mode { CRASH_KILL, CRASH_CUT, CRASH_FAULT, CRASH_MODES };

static const char *const crash_mode_names[] = { "kill", "cut", "fault" };

struct crash {
	const char *format;
	char path[256];
	unsigned rounds;
	uint64_t seed;
	int mode; /* -1: in turn */
	struct crash_model *model;
	struct block *disk; /* the child's */
	struct rng rng;     /* the parent's */
	uint8_t *kept;      /* what the first snapshot holds, if there is one */
	unsigned snapshots;
	bool qemu;
};

static void crash_die(const char *what, const struct err *err)
{
	fprintf(stderr, "crash: %s%s%s\n", what, err ? ": " : "",
		err ? err->msg : "");
	exit(2);
}

/* --- The child ------------------------------------------------------------ */

struct crash_done {
	uint64_t sector, count, version;
};

struct crash_thread {
	struct crash *c;
	unsigned index;
	struct rng rng;
	struct crash_done pending[CRASH_PENDING];
	unsigned pendings;
	void *buf;
};

/* Runs of sectors of this thread. */
static void crash_choose(struct crash_thread *t, uint64_t *sector,
			 uint64_t *count)
{
	unsigned areas = CRASH_SECTORS / CRASH_AREA / CRASH_THREADS;
	unsigned area = rng_below(&t->rng, areas) * CRASH_THREADS + t->index;
	unsigned from = rng_below(&t->rng, CRASH_AREA);

	*sector = area * CRASH_AREA + from;
	*count = 1 + rng_below(&t->rng, CRASH_AREA - from);
}

static int crash_change(struct crash_thread *t)
{
	struct crash_model *m = t->c->model;
	unsigned what = rng_below(&t->rng, 10);
	struct crash_done d;
	uint64_t at, n;
	int rc;

	crash_choose(t, &d.sector, &d.count);
	d.version = crash_issue(m);
	at = d.sector * CRASH_SECTOR;
	n = d.count * CRASH_SECTOR;
	if (what < 2)
		crash_zeroing(m, d.sector, d.count, d.version);
	if (what == 0)
		return block_discard(t->c->disk, at, n); /* promises nothing */
	if (what == 1) {
		rc = block_zero(t->c->disk, at, n,
				rng_one_in(&t->rng, 2) ? BLOCK_UNMAP : 0);
	} else {
		crash_fill(m, d.sector, d.count, d.version, t->buf);
		rc = block_write(t->c->disk, t->buf, at, n);
	}
	if (rc == 0 && t->c->disk->writethrough)
		crash_raise(m, d.sector, d.count, d.version);
	else if (rc == 0)
		t->pending[t->pendings++] = d;
	return rc;
}

static int crash_flush(struct crash_thread *t)
{
	int rc = block_flush(t->c->disk);

	for (unsigned i = 0; i < t->pendings && rc == 0; i++)
		crash_raise(t->c->model, t->pending[i].sector,
			    t->pending[i].count, t->pending[i].version);
	t->pendings = 0; /* a failed flush: they may be lost */
	return rc;
}

/* What a thread reads of its own is one of the things it may be. */
static int crash_look(struct crash_thread *t)
{
	uint64_t sector, count;
	int rc;

	crash_choose(t, &sector, &count);
	rc = block_read(t->c->disk, t->buf, sector * CRASH_SECTOR,
			count * CRASH_SECTOR);
	if (rc == 0 && !crash_verify(t->c->model, sector, count, t->buf, false))
		_exit(3);
	return rc;
}

static void *crash_work(void *opaque)
{
	struct crash_thread *t = opaque;

	for (unsigned i = 0; i < CRASH_OPS; i++) {
		unsigned what = rng_below(&t->rng, 16);

		if (what == 0 || t->pendings == CRASH_PENDING)
			crash_flush(t);
		else if (what < 4)
			crash_look(t);
		else
			crash_change(t);
	}
	return NULL;
}

static const char *crash_faults(struct crash *c, int mode, char *buf, size_t n)
{
	unsigned long long seed = rng_next(&c->rng) >> 32;

	if (mode == CRASH_KILL)
		return NULL;
	if (mode == CRASH_CUT)
		snprintf(buf, n, "file.cut:after=%u:seed=%llu",
			 rng_below(&c->rng, 1200), seed);
	else
		snprintf(buf, n,
			 "file.read:prob=0.002:seed=%llu;"
			 "file.write:prob=0.01:seed=%llu;"
			 "file.write:prob=0.01:torn:seed=%llu;"
			 "file.flush:prob=0.03:seed=%llu",
			 seed, seed + 1, seed + 2, seed + 3);
	return buf;
}

static void crash_open(struct crash *c, const struct block_open *how)
{
	struct err err;

	if (block_open(&c->disk, how, &err))
		crash_die("cannot open", &err);
}

/* Does not return. */
static void crash_child(struct crash *c, int mode, int ready)
{
	char rules[256];
	struct block_open how = { .path = c->path,
				  .format = c->format,
				  .discard = true,
				  .cache = BLOCK_CACHE_UNSAFE };
	struct crash_thread t[CRASH_THREADS];
	pthread_t thread[CRASH_THREADS];

	how.fault = crash_faults(c, mode, rules, sizeof(rules));
	if (rng_one_in(&c->rng, 8))
		how.cache = BLOCK_CACHE_WRITETHROUGH;
	/* A cut while it is being opened is as good as any. */
	if (block_open(&c->disk, &how, NULL))
		_exit(mode == CRASH_KILL ? 2 : 0);
	for (unsigned i = 0; i < CRASH_THREADS; i++) {
		t[i] = (struct crash_thread){ .c = c,
					      .index = i,
					      .rng = { rng_next(&c->rng) } };
		t[i].buf = malloc(CRASH_AREA * CRASH_SECTOR);
	}
	if (write(ready, "", 1) != 1)
		_exit(2);
	for (unsigned i = 0; i < CRASH_THREADS; i++)
		pthread_create(&thread[i], NULL, crash_work, &t[i]);
	for (unsigned i = 0; i < CRASH_THREADS; i++)
		pthread_join(thread[i], NULL);
	if (rng_one_in(&c->rng, 4) && mode == CRASH_KILL)
		block_close(c->disk); /* an orderly end is one as well */
	_exit(0);
}

/* --- The parent ----------------------------------------------------------- */

static void crash_new_image(struct crash *c)
{
	struct block_create how = { .path = c->path,
				    .format = c->format,
				    .size = CRASH_SIZE,
				    .force = true };
	struct err err;

	if (!strcmp(c->format, "qcow2")) {
		how.cluster_size = 512u << rng_below(&c->rng, 8);
		how.lazy_refcounts = rng_one_in(&c->rng, 3);
	}
	if (block_create(&how, &err))
		crash_die("cannot create", &err);
	crash_model_clear(c->model);
	c->snapshots = 0;
}

/* --- Snapshots ------------------------------------------------------------ */

static void crash_read_all(struct crash *c, uint8_t *buf)
{
	int rc = block_read(c->disk, buf, 0, CRASH_SIZE);

	if (rc)
		crash_die(strerror(-rc), NULL);
}

static void crash_snapshot(struct crash *c)
{
	struct block_open how = { .path = c->path, .format = c->format };
	struct err err;
	char name[16];

	if (strcmp(c->format, "qcow2") || !rng_one_in(&c->rng, 4))
		return;
	crash_open(c, &how);
	if (c->snapshots == 0)
		crash_read_all(c, c->kept);
	snprintf(name, sizeof(name), "s%u", c->snapshots++);
	if (c->disk->ops->snapshot_create(c->disk, name, &err))
		crash_die("cannot make a snapshot", &err);
	block_close(c->disk);
}

/* Goes back to the first one: the image is renewed next. */
static bool crash_compare_snapshot(struct crash *c)
{
	uint8_t *buf = malloc(CRASH_SIZE);
	struct err err;
	bool good;

	if (c->disk->ops->snapshot_apply(c->disk, "s0", &err))
		crash_die("cannot go back to a snapshot", &err);
	crash_read_all(c, buf);
	good = !memcmp(buf, c->kept, CRASH_SIZE);
	if (!good)
		fprintf(stderr, "the snapshot holds something else\n");
	free(buf);
	return good;
}

/* --- Rounds --------------------------------------------------------------- */

static void crash_run_child(struct crash *c, int mode)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	if (pipe(ready))
		crash_die("pipe", NULL);
	rng_next(&c->rng);
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		crash_child(c, mode, ready[1]);
	}
	close(ready[1]);
	if (mode != CRASH_CUT && read(ready[0], &byte, 1) == 1) {
		usleep(rng_below(&c->rng, 20000));
		kill(pid, SIGKILL);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		crash_die("fork", NULL);
	close(ready[0]);
	if (WIFEXITED(status) ? WEXITSTATUS(status)
			      : WTERMSIG(status) != SIGKILL)
		crash_die("the child went wrong", NULL);
}

/* qemu-img's statuses: 0 good, 3 leaks, which cost space alone. */
static bool crash_check_qemu(struct crash *c)
{
	char command[1024];
	int status;

	if (!c->qemu || !strcmp(c->format, "raw"))
		return true;
	snprintf(command, sizeof(command),
		 "qemu-img check -q -f %s '%s' >'%s.check' 2>&1", c->format,
		 c->path, c->path);
	status = system(command);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	/* 63: a format that it cannot check. */
	if (status == 0 || status == 3 || status == 63)
		return true;
	fprintf(stderr, "qemu-img check: status %d, see %s.check\n", status,
		c->path);
	return false;
}

/* The report counts only if it is bad; leaks are many. */
static bool crash_check(struct crash *c)
{
	struct block_check check = { 0 };
	struct err err = { "" };
	char *text = NULL;
	size_t len;
	FILE *report = open_memstream(&text, &len);
	int rc;

	rc = c->disk->ops->check
		     ? c->disk->ops->check(c->disk, 0, &check, report, &err)
		     : -ENOTSUP;
	fclose(report);
	if (rc != -ENOTSUP && (rc < 0 || check.errors))
		fprintf(stderr, "%scheck: %llu errors %s\n", text,
			(unsigned long long)check.errors, err.msg);
	free(text);
	return rc == -ENOTSUP || (rc == 0 && !check.errors);
}

static bool crash_compare(struct crash *c)
{
	uint8_t *buf = malloc(CRASH_SIZE);
	int rc = block_read(c->disk, buf, 0, CRASH_SIZE);
	bool good =
		rc == 0 && crash_verify(c->model, 0, CRASH_SECTORS, buf, true);

	if (rc)
		fprintf(stderr, "cannot read it: %s\n", strerror(-rc));
	free(buf);
	return good;
}

static bool crash_round(struct crash *c, unsigned round)
{
	struct block_open how = { .path = c->path, .format = c->format };
	int mode = c->mode >= 0 ? c->mode : (int)(round % CRASH_MODES);
	bool good;

	c->rng.state = c->seed * 1000003 + round;
	if (round % CRASH_RENEW == 0 || access(c->path, F_OK))
		crash_new_image(c);
	crash_snapshot(c);
	crash_run_child(c, mode);
	/* As the next user would: for writing, so that repairs are made. */
	crash_open(c, &how);
	good = crash_check(c) && crash_compare(c);
	if (good && c->snapshots && (round + 1) % CRASH_RENEW == 0)
		good = crash_compare_snapshot(c) && crash_check(c);
	block_close(c->disk);
	good = good && crash_check_qemu(c);
	if (!good)
		fprintf(stderr,
			"crash: format %s, seed %llu, round %u (%s): broken; "
			"the image is %s\n",
			c->format, (unsigned long long)c->seed, round,
			crash_mode_names[mode], c->path);
	return good;
}

static void crash_options(struct crash *c, int argc, char **argv)
{
	const char *dir = "/tmp";

	for (int i = 1; i + 1 < argc; i += 2) {
		const char *o = argv[i], *v = argv[i + 1];

		if (!strcmp(o, "--format"))
			c->format = v;
		else if (!strcmp(o, "--rounds"))
			c->rounds = (unsigned)atoi(v);
		else if (!strcmp(o, "--seed"))
			c->seed = strtoull(v, NULL, 0);
		else if (!strcmp(o, "--dir"))
			dir = v;
		else if (strcmp(o, "--mode"))
			crash_die("see the head of tests/crash.c", NULL);
		for (int m = 0; m < CRASH_MODES && !strcmp(o, "--mode"); m++)
			if (!strcmp(v, crash_mode_names[m]))
				c->mode = m;
	}
	snprintf(c->path, sizeof(c->path), "%s/hostel-crash.%d", dir, getpid());
}

int main(int argc, char **argv)
{
	struct crash c = {
		.format = "raw", .rounds = 60, .seed = 1, .mode = -1
	};
	bool good = true;

	crash_options(&c, argc, argv);
	if (!block_format_find(c.format)) {
		printf("SKIPPED: no format %s\n", c.format);
		return 77;
	}
	c.kept = calloc(1, CRASH_SIZE);
	if (!c.kept)
		return 1;
	c.model = crash_model_new(CRASH_SECTORS, c.seed);
	c.qemu = !system("qemu-img --version >/dev/null 2>&1");
	for (unsigned i = 0; i < c.rounds && good; i++)
		good = crash_round(&c, i);
	if (good) {
		unlink(c.path);
		strcat(c.path, ".check");
		unlink(c.path);
		printf("crash: %s, %u rounds, seed %llu: nothing lost\n",
		       c.format, c.rounds, (unsigned long long)c.seed);
	}
	free(c.kept);
	return !good;
}
