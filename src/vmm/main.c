/*
 * hostel-vm: one process, one guest.
 *
 * `hostel run` starts it with a control socket (control.h) and a console, and
 * sends the machine's description.  The main thread builds the machine, runs
 * its I/O loop and reports how it ended; a second thread listens on the socket
 * for "stop", and ends the process at once when the other side is gone.  A
 * named guest has a third that listens for everybody else (monitor.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine/config.h"
#include "machine/pc.h"
#include "machine/screenshot.h"
#include "machine/vm.h"
#include "state/state.h"
#include "vmm/control.h"
#include "vmm/jail.h"
#include "vmm/monitor.h"
#include "vmm/sandbox.h"
#include "vmm/trim.h"

/* #syscalls: sendto recvfrom prctl */

struct vmm {
	pthread_mutex_t lock;
	struct vm *vm; /* guarded by lock; NULL before and after its life */
	struct vm_config config;
	int console_in;
	int console_out;
	/* The terminal, as last heard; guarded by lock; 0: nothing was. */
	uint16_t columns, rows;
	enum sandbox_mode sandbox;
};

/* "end" is the last word: sent once, by the thread that then exits. */
static void vmm_send_end(int status, const char *error, const char *stats,
			 bool reset)
{
	json_t *end = json_object();
	json_t *j = json_object();

	json_object_set_new(end, "status", json_integer(status));
	if (error && *error)
		json_object_set_new(end, "error", json_string(error));
	if (stats && *stats)
		json_object_set_new(end, "stats", json_string(stats));
	if (reset)
		json_object_set_new(end, "reset", json_true());
	json_object_set_new(j, "end", end);
	/* If it cannot be sent nobody is there to hear of it. */
	control_send(CONTROL_FD, j, NULL);
}

static int vmm_fail(const struct err *err)
{
	vmm_send_end(CONTROL_STATUS_ERROR, err->msg, NULL, false);
	return CONTROL_STATUS_ERROR;
}

/*
 * In a signal handler: neither malloc() nor locks.  `why` holds nothing that
 * JSON would have to escape.
 */
static void vmm_end_of_jail(const char *why)
{
	static const char head[] = "{\"end\":{\"status\":125,\"error\":\"";
	char text[sizeof(head) + 200], *at = stpcpy(text, head);

	at = stpcpy(at, why);
	at = stpcpy(at, "\"}}");
	send(CONTROL_FD, text, (size_t)(at - text), MSG_NOSIGNAL);
	_exit(CONTROL_STATUS_ERROR);
}

/* --- The listener --------------------------------------------------------- */

static void vmm_stop(struct vmm *vmm, const json_t *status)
{
	int v = (int)json_integer_value(status) & 0xff;

	pthread_mutex_lock(&vmm->lock);
	if (!vmm->vm) { /* still loading, or already ending */
		vmm_send_end(v, NULL, NULL, false);
		_exit(0);
	}
	vm_end(vmm->vm, VM_END_STOPPED, v);
	pthread_mutex_unlock(&vmm->lock);
}

/* [COLUMNS, ROWS]; before the machine is there it is kept. */
static void vmm_resize(struct vmm *vmm, const json_t *size)
{
	json_int_t columns = json_integer_value(json_array_get(size, 0));
	json_int_t rows = json_integer_value(json_array_get(size, 1));

	if (columns < 1 || columns > UINT16_MAX || rows < 1 ||
	    rows > UINT16_MAX)
		return;
	pthread_mutex_lock(&vmm->lock);
	vmm->columns = (uint16_t)columns;
	vmm->rows = (uint16_t)rows;
	if (vmm->vm)
		pc_resize_console(vmm->vm, vmm->columns, vmm->rows);
	pthread_mutex_unlock(&vmm->lock);
}

static void *vmm_listen(void *opaque)
{
	struct vmm *vmm = opaque;
	json_t *j, *status;

	while (control_recv(CONTROL_FD, &j, NULL) > 0) {
		status = json_object_get(j, "stop");
		if (json_is_integer(status))
			vmm_stop(vmm, status);
		if (json_is_array(json_object_get(j, "resize")))
			vmm_resize(vmm, json_object_get(j, "resize"));
		json_decref(j);
	}
	_exit(CONTROL_STATUS_ERROR);
}

static int vmm_start_listener(struct vmm *vmm, struct err *err)
{
	sigset_t all, old;
	pthread_t thread;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, NULL, vmm_listen, vmm);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(err, rc, "cannot start a thread: %s",
			       strerror(rc));
	pthread_detach(thread);
	return 0;
}

/* --- The guest's life ----------------------------------------------------- */

static int vmm_read_config(struct vmm *vmm, struct err *err)
{
	json_t *j;
	int rc = control_recv(CONTROL_FD, &j, err);

	if (rc == 0)
		return err_set(err, EPIPE, "no machine description came");
	if (rc < 0)
		return rc;
	rc = vm_config_from_json(&vmm->config, json_object_get(j, "config"),
				 err);
	json_decref(j);
	return rc;
}

/*
 * In and out are separate descriptors even where they are one socket, so that
 * the event loop can watch each for itself.
 */
static void vmm_open_console(struct vmm *vmm)
{
	int flags = fcntl(CONTROL_CONSOLE_FD, F_GETFL);

	vmm->console_in = -1;
	vmm->console_out = -1;
	if (vmm->config.console == VM_CONSOLE_NONE || flags < 0)
		return;
	fcntl(CONTROL_CONSOLE_FD, F_SETFL, flags | O_NONBLOCK);
	vmm->console_out = CONTROL_CONSOLE_FD;
	if (vmm->config.console != VM_CONSOLE_FILE)
		vmm->console_in = dup(CONTROL_CONSOLE_FD);
}

static char *vmm_stats(struct vm *vm)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	vm_print_stats(vm, f);
	fclose(f);
	return text;
}

/* The vm, and for a named one its control socket. */
static int vmm_build(struct vmm *vmm, struct vm **vm, struct monitor **monitor,
		     struct err *err)
{
	int rc = vm_new(vm, &vmm->config, vmm->console_in, vmm->console_out,
			err);

	if (rc || !(*vm)->config.name)
		return rc;
	rc = monitor_start(monitor, *vm, (*vm)->config.name, err);
	if (rc)
		vm_free(*vm);
	return rc;
}

/* Makes the guest and gives it its state; then all that is named is open. */
static int vmm_prepare(struct vmm *vmm, struct vm **vm,
		       struct monitor **monitor, struct err *err)
{
	int rc = vmm_build(vmm, vm, monitor, err);

	if (rc < 0)
		return rc;
	if ((*vm)->config.restore)
		rc = state_load(*vm, (*vm)->config.restore, err);
	if (rc == 0)
		rc = sandbox_enter(vmm->sandbox, vmm_end_of_jail, err);
	if (rc == 0)
		return 0;
	monitor_stop(*monitor);
	vm_free(*vm);
	return rc;
}

static int vmm_run(struct vmm *vmm)
{
	struct monitor *monitor = NULL;
	struct err err = { "" };
	struct vm *vm;
	char *stats = NULL;
	int status = CONTROL_STATUS_ERROR;
	bool want_stats = vmm->config.stats;
	enum vm_end end;
	bool failed;

	if (vmm_prepare(vmm, &vm, &monitor, &err))
		return vmm_fail(&err);
	pthread_mutex_lock(&vmm->lock);
	vmm->vm = vm;
	if (vmm->columns)
		pc_resize_console(vm, vmm->columns, vmm->rows);
	pthread_mutex_unlock(&vmm->lock);

	trim_memory();
	end = vm_run(vm, &status, &err);
	failed = end == VM_END_ERROR;
	/* What the guest showed last is still there. */
	if (vm->config.screenshot && !failed)
		failed = screenshot_file(vm, vm->config.screenshot, &err) < 0;
	if (failed)
		status = CONTROL_STATUS_ERROR;
	if (want_stats)
		stats = vmm_stats(vm);

	monitor_stop(monitor);
	/* From here on a "stop" has nothing to stop. */
	pthread_mutex_lock(&vmm->lock);
	vmm->vm = NULL;
	vm_free(vm);
	vmm_send_end(status, failed ? err.msg : NULL, stats,
		     end == VM_END_RESET);
	free(stats);
	_exit(0);
}

/* The terminal's keys reach the whole foreground group; hostel decides. */
static void vmm_ignore_signals(void)
{
	/* SIGXFSZ: a write past the host's limit is an error of that disk. */
	static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGPIPE,
				       SIGXFSZ };

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

int main(int argc, char **argv)
{
	struct vmm vmm = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct err err = { "" };

	if (fcntl(CONTROL_FD, F_GETFL) < 0) {
		fprintf(stderr, "hostel-vm: run by hostel(1), not by hand; see "
				"hostel run --help\n");
		return CONTROL_STATUS_ERROR;
	}
	vmm_ignore_signals();
	trim_stacks();
	if (jail_enter(CONTROL_CONSOLE_FD, &err) ||
	    sandbox_mode(&vmm.sandbox, &err) || vmm_read_config(&vmm, &err) ||
	    vmm_start_listener(&vmm, &err))
		return vmm_fail(&err);
	vmm_open_console(&vmm);
	return vmm_run(&vmm);
}
