/*
 * The foreground side of a guest.  One thread, one poll():
 *
 *	stdin ──> to_guest ──> console socket ──> from_guest ──> stdout
 *
 * Each direction has one buffer; a side is read only while its buffer is
 * empty, so a reader that stands still makes the guest's serial port wait and
 * costs no memory.  Nothing here may block but poll(): signals arrive through
 * a descriptor and must be heard.
 *
 * Life: the guest ends -> hostel-vm says so on the control socket and exits ->
 * both sockets come to their end of file -> the loop has drained every byte
 * and ends.  A request to leave (signal, Ctrl-], stdout gone) is passed on as
 * "stop"; if hostel-vm has not ended a while later it is killed.
 */
#include "cli/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/tty.h"
#include "vmm/control.h"

#define ATTACH_ESCAPE  0x1d /* Ctrl-] */
#define ATTACH_GRACE_S 3    /* from "stop", or --timeout, to SIGKILL */
/* What a pipe that polls writable takes without blocking: pipe(7). */
#define ATTACH_CHUNK 4096

struct attach_buf {
	char data[ATTACH_CHUNK];
	size_t start, end;
};

enum attach_slot { SLOT_SIGNAL, SLOT_CONTROL, SLOT_IN, SLOT_OUT, SLOT_CONSOLE };
#define ATTACH_SLOTS 5

struct attach {
	struct launch *vm;
	enum vm_console console;
	struct tty tty;
	int signals;
	int out;
	bool in_open;
	bool out_pipe;
	struct attach_buf to_guest, from_guest;
	int leave_status; /* -1: nobody asked to leave */
	uint64_t kill_at; /* clock_mono_ns(); 0: never */
	json_t *end;      /* hostel-vm's last word */
	struct err why;   /* our own sentence, if any */
};

static uint64_t attach_after(double seconds)
{
	return clock_mono_ns() + (uint64_t)(seconds * 1e9);
}

/* --- Leaving -------------------------------------------------------------- */

static void attach_kill(struct attach *a)
{
	kill(a->vm->pid, SIGKILL);
	a->kill_at = 0;
}

static void attach_drop_console(struct attach *a)
{
	if (a->vm->console >= 0)
		close(a->vm->console);
	a->vm->console = -1;
	a->from_guest.start = a->from_guest.end;
}

/* The first reason counts. */
static void attach_leave(struct attach *a, int status)
{
	json_t *j;

	if (a->end) { /* only its last bytes are still on their way */
		attach_drop_console(a);
		return;
	}
	if (a->leave_status >= 0)
		return;
	a->leave_status = status;
	a->kill_at = attach_after(ATTACH_GRACE_S);
	j = json_object();
	json_object_set_new(j, "stop", json_integer(status));
	control_send(a->vm->control, j, NULL);
}

/* Nobody reads our output any more: what write(2) would say with SIGPIPE. */
static void attach_out_gone(struct attach *a, int error)
{
	bool quiet = error == EPIPE || error == EIO;

	if (!quiet)
		err_set(&a->why, error, "cannot write the guest's output: %s",
			strerror(error));
	attach_leave(a, quiet ? CONTROL_STATUS_SIGNAL + SIGPIPE
			      : CONTROL_STATUS_ERROR);
	attach_drop_console(a);
}

/* --- Bytes ---------------------------------------------------------------- */

static bool attach_empty(const struct attach_buf *b)
{
	return b->start == b->end;
}

/* Fills an empty buffer; false: end of file or worse. */
static bool attach_fill(struct attach_buf *b, int fd)
{
	ssize_t n = read(fd, b->data, sizeof(b->data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	b->start = 0;
	b->end = n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* Writes what goes; 0 or an errno value. */
static int attach_drain(struct attach_buf *b, int fd)
{
	ssize_t n = write(fd, b->data + b->start, b->end - b->start);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : errno;
	b->start += (size_t)n;
	return 0;
}

static void attach_read_in(struct attach *a)
{
	struct attach_buf *b = &a->to_guest;
	char *escape;

	if (!attach_fill(b, STDIN_FILENO)) {
		a->in_open = false; /* the guest goes on without */
		return;
	}
	if (!a->tty.is_tty)
		return;
	escape = memchr(b->data, ATTACH_ESCAPE, b->end);
	if (escape) {
		b->end = (size_t)(escape - b->data);
		a->in_open = false;
		attach_leave(a, 0);
	}
}

static void attach_console_event(struct attach *a, short events)
{
	if ((events & POLLOUT) && !attach_empty(&a->to_guest) &&
	    attach_drain(&a->to_guest, a->vm->console))
		a->to_guest.start = a->to_guest.end; /* nobody is there */
	if ((events & (POLLIN | POLLHUP | POLLERR)) &&
	    attach_empty(&a->from_guest) &&
	    !attach_fill(&a->from_guest, a->vm->console)) {
		close(a->vm->console);
		a->vm->console = -1;
	}
}

static void attach_out_event(struct attach *a, short events)
{
	int error = 0;

	if (events & (POLLERR | POLLHUP | POLLNVAL))
		error = EPIPE;
	else if (!attach_empty(&a->from_guest))
		error = attach_drain(&a->from_guest, a->out);
	if (error)
		attach_out_gone(a, error);
}

/* --- Signals and the control socket --------------------------------------- */

static bool attach_enter_tty(struct attach *a)
{
	return (a->console == VM_CONSOLE_STDIO ||
		a->console == VM_CONSOLE_VIRTIO) &&
	       tty_enter(&a->tty);
}

/* The terminal's size, for a console that can know it. */
static void attach_send_size(struct attach *a)
{
	struct winsize size;
	json_t *j, *pair;

	if (a->console != VM_CONSOLE_VIRTIO || a->end ||
	    ioctl(a->tty.fd, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		return;
	j = json_object();
	pair = json_array();
	json_array_append_new(pair, json_integer(size.ws_col));
	json_array_append_new(pair, json_integer(size.ws_row));
	json_object_set_new(j, "resize", pair);
	control_send(a->vm->control, j, NULL);
}

static void attach_signal_event(struct attach *a)
{
	struct signalfd_siginfo info;

	if (read(a->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		attach_send_size(a);
	else if (info.ssi_signo == SIGCONT)
		a->in_open = a->leave_status < 0 && attach_enter_tty(a);
	else if (info.ssi_signo == SIGINT && a->leave_status >= 0)
		attach_kill(a); /* twice is impatience */
	else
		attach_leave(a, CONTROL_STATUS_SIGNAL + (int)info.ssi_signo);
}

static void attach_control_event(struct attach *a)
{
	json_t *j = NULL;

	if (control_recv(a->vm->control, &j, NULL) <= 0) {
		close(a->vm->control);
		a->vm->control = -1;
		return;
	}
	if (!a->end)
		a->end = json_incref(json_object_get(j, "end"));
	json_decref(j);
}

static int attach_block_signals(struct attach *a, struct err *err)
{
	static const int heard[] = { SIGINT,  SIGTERM, SIGHUP,
				     SIGQUIT, SIGCONT, SIGWINCH };
	struct sigaction hup;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(heard) / sizeof(heard[0]); i++)
		sigaddset(&set, heard[i]);
	if (!sigaction(SIGHUP, NULL, &hup) && hup.sa_handler == SIG_IGN)
		sigdelset(&set, SIGHUP); /* nohup(1) */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	a->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signals < 0)
		return err_set(err, errno, "cannot receive signals: %s",
			       strerror(errno));
	return 0;
}

/* --- The loop ------------------------------------------------------------- */

static void attach_prepare(const struct attach *a, struct pollfd p[])
{
	bool console = a->vm->console >= 0;
	bool want_in = a->in_open && console && attach_empty(&a->to_guest);
	short out = attach_empty(&a->from_guest) ? 0 : POLLOUT;
	short sock = attach_empty(&a->from_guest) ? POLLIN : 0;

	if (!attach_empty(&a->to_guest))
		sock |= POLLOUT;
	/* Only a pipe tells without being written to that it is of no use. */
	p[SLOT_SIGNAL] = (struct pollfd){ a->signals, POLLIN, 0 };
	p[SLOT_CONTROL] = (struct pollfd){ a->vm->control, POLLIN, 0 };
	p[SLOT_IN] = (struct pollfd){ want_in ? STDIN_FILENO : -1, POLLIN, 0 };
	p[SLOT_OUT] =
		(struct pollfd){ out || (a->out_pipe && console) ? a->out : -1,
				 out, 0 };
	/* A hang-up is reported even if not asked for: not before it is due. */
	p[SLOT_CONSOLE] =
		(struct pollfd){ sock ? a->vm->console : -1, sock, 0 };
}

static void attach_dispatch(struct attach *a, const struct pollfd p[])
{
	if (p[SLOT_OUT].revents)
		attach_out_event(a, p[SLOT_OUT].revents);
	if (p[SLOT_CONSOLE].revents && a->vm->console >= 0)
		attach_console_event(a, p[SLOT_CONSOLE].revents);
	if (p[SLOT_IN].revents)
		attach_read_in(a);
	if (p[SLOT_CONTROL].revents)
		attach_control_event(a);
	if (p[SLOT_SIGNAL].revents)
		attach_signal_event(a);
}

static int attach_poll_ms(const struct attach *a)
{
	uint64_t now = clock_mono_ns();

	if (!a->kill_at)
		return -1;
	if (a->kill_at <= now)
		return 0;
	if (a->kill_at - now > 1000000000000ull) /* far off: look again */
		return 1000000;
	return (int)((a->kill_at - now) / 1000000) + 1;
}

static bool attach_done(const struct attach *a)
{
	return a->vm->control < 0 && a->vm->console < 0 &&
	       attach_empty(&a->from_guest);
}

/* hostel-vm ignores "stop", or its own --timeout. */
static void attach_too_late(struct attach *a)
{
	if (a->leave_status < 0)
		a->leave_status = CONTROL_STATUS_TIMEOUT;
	attach_kill(a);
}

static void attach_loop(struct attach *a)
{
	struct pollfd p[ATTACH_SLOTS];

	while (!attach_done(a)) {
		attach_prepare(a, p);
		if (poll(p, ATTACH_SLOTS, attach_poll_ms(a)) > 0)
			attach_dispatch(a, p);
		else if (a->kill_at && clock_mono_ns() >= a->kill_at)
			attach_too_late(a);
	}
}

/* --- Before and after ----------------------------------------------------- */

/*
 * A terminal may block a writer in the middle of a chunk, so it is opened
 * anew, not blocking; our descriptor is shared with others, whom that flag
 * would hit as well.
 */
static void attach_open_out(struct attach *a)
{
	struct stat st;

	a->out = -1;
	if (isatty(STDOUT_FILENO))
		a->out = open("/proc/self/fd/1",
			      O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (a->out < 0)
		a->out = STDOUT_FILENO;
	a->out_pipe = !fstat(a->out, &st) &&
		      (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

/* hostel-vm is gone without a word: say what became of it. */
static int attach_vanished(struct attach *a, int wait_status, struct err *err)
{
	if (a->leave_status >= 0)
		return a->leave_status;
	if (WIFSIGNALED(wait_status))
		err_set(err, EIO, "hostel-vm was killed by signal %d (%s)",
			WTERMSIG(wait_status),
			strsignal(WTERMSIG(wait_status)));
	else
		err_set(err, EIO, "hostel-vm ended without saying why");
	return CONTROL_STATUS_ERROR;
}

static int attach_result(struct attach *a, int wait_status, struct err *err)
{
	const char *error = json_string_value(json_object_get(a->end, "error"));
	const char *stats = json_string_value(json_object_get(a->end, "stats"));
	json_t *status = json_object_get(a->end, "status");

	if (stats)
		fprintf(stderr, "%s%s", stats,
			stats[strcspn(stats, "\n")] ? "" : "\n");
	a->vm->reset = json_is_true(json_object_get(a->end, "reset"));
	*err = a->why;
	if (!status)
		return attach_vanished(a, wait_status, err);
	if (error)
		err_set(err, EIO, "%s", error);
	return (int)json_integer_value(status);
}

int attach_run(struct launch *l, const struct vm_config *config,
	       struct err *err)
{
	struct attach a = { .vm = l,
			    .console = config->console,
			    .leave_status = -1 };
	int wait_status = 0;
	int status;

	if (attach_block_signals(&a, err)) {
		kill(l->pid, SIGKILL);
		return CONTROL_STATUS_ERROR;
	}
	tty_init(&a.tty, STDIN_FILENO);
	attach_open_out(&a);
	a.in_open = attach_enter_tty(&a);
	if (config->timeout > 0)
		a.kill_at = attach_after(config->timeout + ATTACH_GRACE_S);
	attach_send_size(&a);
	attach_loop(&a);
	tty_leave(&a.tty);
	while (waitpid(l->pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	status = attach_result(&a, wait_status, err);
	json_decref(a.end);
	close(a.signals);
	if (a.out != STDOUT_FILENO)
		close(a.out);
	return status;
}
