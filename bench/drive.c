/*
 * drive.c - starts a virtual machine monitor and listens to its console.
 *
 *	drive LIMIT LOG COMMAND...
 *
 * The guest's lines go to the file LOG; what they mean goes to stdout:
 *
 *	init SECONDS           from the start of COMMAND to the guest's /init
 *	row NAME NS SUM        a measurement, as the guest printed it
 *	cpu NAME NS            processor time of the largest of COMMAND's
 *	                       processes from the guest's "bench: begin NAME
 *	                       TIMES" to its row, for each of so many times
 *	clock GUEST HOST       seconds between the guest's first and last
 *	                       "bench: clock NS", by its clock and by ours
 *	memory PSS PEAK RAM    KiB, at "bench: end", of the largest of COMMAND's
 *	                       processes: its share of resident memory (VmRSS
 *	                       where that may not be read), VmHWM, and what of
 *	                       its largest mapping is resident
 *	exit STATUS SECONDS CPU
 *	                       how COMMAND ended, after how long, and how many
 *	                       of them processors worked for it
 *
 * COMMAND is ended when LIMIT seconds have passed.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DRIVE_LINE 4096

struct drive {
	pid_t pid;
	FILE *log;
	double start; /* seconds, as all times here */
	bool init_seen;
	double guest_first, guest_last, host_first, host_last;
	double row_from, row_times; /* of "bench: begin" */
	char line[DRIVE_LINE];
	size_t length;
};

static double drive_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- Memory -------------------------------------------------------------- */

static FILE *drive_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "r");
}

/* The number behind a word at the start of a line; 0: none. */
static unsigned long drive_field(pid_t pid, const char *name, const char *word)
{
	FILE *f = drive_proc(pid, name);
	unsigned long value = 0;
	char line[512];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, word, strlen(word))) {
			value = strtoul(line + strlen(word), NULL, 10);
			break;
		}
	fclose(f);
	return value;
}

static unsigned long drive_largest_mapping(pid_t pid)
{
	unsigned long size = 0, rss, largest = 0, of_largest = 0;
	FILE *f = drive_proc(pid, "smaps");
	char line[512];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "Size: %lu", &size);
		if (sscanf(line, "Rss: %lu", &rss) == 1 && size > largest) {
			largest = size;
			of_largest = rss;
		}
	}
	fclose(f);
	return of_largest;
}

static bool drive_descends(pid_t pid, pid_t from)
{
	for (unsigned i = 0; i < 16 && pid > 1; i++) {
		if (pid == from)
			return true;
		pid = (pid_t)drive_field(pid, "status", "PPid:");
	}
	return false;
}

/* The virtual machine monitor: the one with the most memory. */
static pid_t drive_vmm(const struct drive *d)
{
	unsigned long most = 0;
	DIR *proc = opendir("/proc");
	struct dirent *e;
	pid_t vmm = 0;

	while (proc && (e = readdir(proc))) {
		pid_t pid = atoi(e->d_name);
		unsigned long hwm;

		if (!pid || !drive_descends(pid, d->pid))
			continue;
		hwm = drive_field(pid, "status", "VmHWM:");
		if (hwm > most) {
			most = hwm;
			vmm = pid;
		}
	}
	if (proc)
		closedir(proc);
	return vmm;
}

static void drive_memory(const struct drive *d)
{
	pid_t vmm = drive_vmm(d);
	unsigned long pss = drive_field(vmm, "smaps_rollup", "Pss:");

	if (!pss)
		pss = drive_field(vmm, "status", "VmRSS:");
	printf("memory %lu %lu %lu\n", pss,
	       drive_field(vmm, "status", "VmHWM:"),
	       drive_largest_mapping(vmm));
}

/* Nanoseconds; 0: cannot say. */
static double drive_processor_time(const struct drive *d)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(drive_vmm(d), &clock) ||
	    clock_gettime(clock, &t))
		return 0;
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* --- Console ------------------------------------------------------------- */

static void drive_clock(struct drive *d, double guest)
{
	double host = drive_now();

	if (!d->host_first) {
		d->guest_first = guest;
		d->host_first = host;
	}
	d->guest_last = guest;
	d->host_last = host;
}

static void drive_row(struct drive *d, const char *row)
{
	char name[32];

	printf("%s\n", row);
	if (d->row_from && sscanf(row, "row %31s", name) == 1)
		printf("cpu %s %.0f\n", name,
		       (drive_processor_time(d) - d->row_from) / d->row_times);
	d->row_from = 0;
}

/* Firmware leaves control sequences before a line: look anywhere in it. */
static void drive_line(struct drive *d)
{
	const char *row = strstr(d->line, "row ");
	const char *clock = strstr(d->line, "bench: clock ");

	fprintf(d->log, "%9.3f %s\n", drive_now() - d->start, d->line);
	if (!d->init_seen && strstr(d->line, "hostel: /init reached")) {
		printf("init %.3f\n", drive_now() - d->start);
		d->init_seen = true;
	}
	if (clock)
		drive_clock(d, strtod(clock + 13, NULL) / 1e9);
	if (strstr(d->line, "bench: end"))
		drive_memory(d);
	if (sscanf(d->line, "bench: begin %*s %lf", &d->row_times) == 1)
		d->row_from = drive_processor_time(d);
	if (row == d->line)
		drive_row(d, row);
	fflush(stdout);
}

static void drive_bytes(struct drive *d, const char *p, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++) {
		if (p[i] == '\r')
			continue;
		if (p[i] != '\n' && d->length < DRIVE_LINE - 1) {
			d->line[d->length++] = p[i];
			continue;
		}
		d->line[d->length] = '\0';
		d->length = 0;
		drive_line(d);
	}
}

/* Until the console closes; false: the limit passed. */
static bool drive_listen(struct drive *d, int console, double limit)
{
	struct pollfd p = { .fd = console, .events = POLLIN };
	char bytes[4096];
	ssize_t n = 1;

	while (n > 0) {
		double left = d->start + limit - drive_now();

		if (left <= 0)
			return false;
		if (poll(&p, 1, (int)(left * 1000) + 1) <= 0)
			continue;
		n = read(console, bytes, sizeof(bytes));
		drive_bytes(d, bytes, n);
	}
	return true;
}

static pid_t drive_start(char **argv, int *console)
{
	int out[2];
	pid_t pid;

	if (pipe(out) || (pid = fork()) < 0) {
		perror("drive");
		exit(2);
	}
	if (!pid) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	close(out[1]);
	*console = out[0];
	return pid;
}

static double drive_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	struct drive d = { 0 };
	int console, status;

	if (argc < 4 || !(d.log = fopen(argv[2], "w"))) {
		fprintf(stderr, "usage: drive LIMIT LOG COMMAND...\n");
		return 2;
	}
	d.start = drive_now();
	d.pid = drive_start(argv + 3, &console);
	if (!drive_listen(&d, console, atof(argv[1])))
		kill(d.pid, SIGTERM);
	if (waitpid(d.pid, &status, 0) != d.pid)
		status = -1;
	if (d.host_last > d.host_first)
		printf("clock %.3f %.3f\n", d.guest_last - d.guest_first,
		       d.host_last - d.host_first);
	printf("exit %d %.3f %.3f\n",
	       WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	       drive_now() - d.start, drive_cpu());
	fclose(d.log);
	return 0;
}
