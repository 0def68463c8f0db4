/*
 * gdb.c - the debugger's port: its thread, its socket, and the machine.
 *
 * Theory of operation
 *
 * One thread polls the listening socket or, while a gdb is connected, its
 * connection, and an eventfd that other threads ring.  It feeds what it reads
 * to a gdb_session, which calls back for what it wants of the machine.
 *
 * Pauses nest, and this is who holds one:
 *
 *	session not running	the session: vm_pause() in gdb_host_stop(),
 *				vm_resume() in gdb_host_go()
 *	VCPU_EXIT_DEBUG		run.c, for each vCPU that met a breakpoint; it
 *				calls gdb_on_debug(), which only takes a note
 *	--gdb-wait		the stub, until the first gdb takes it over
 *
 * When a note is found, the session takes its pause first and then gives back
 * run.c's, one for each note.  Of several vCPUs that stopped at once the first
 * is reported; the others meet their breakpoints again when they go on.
 */
#include "machine/gdb.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "machine/gdb_listen.h"
#include "machine/gdb_session.h"

#define GDB_SEND_SECONDS 5   /* then the peer counts as dead */
#define GDB_END_STATUS   143 /* ended by the debugger: as by SIGTERM */

struct gdb {
	struct vm *vm;
	int listen_fd, wake_fd;
	int conn_fd; /* -1: no gdb is connected */
	pthread_t thread;
	bool waiting; /* --gdb-wait: the guest has not run yet */
	struct gdb_host host;
	struct gdb_session session; /* valid while connected */
	atomic_bool quit;
	int status; /* valid once quit is set */
	pthread_mutex_t lock;
	/* guarded by lock: */
	unsigned stops;    /* vCPUs that met a breakpoint, not yet handled */
	unsigned stop_cpu; /* the first of them */
};

/* --- The machine, for the session ----------------------------------------- */

static void gdb_host_stop(void *opaque)
{
	vm_pause(((struct gdb *)opaque)->vm);
}

static void gdb_host_go(void *opaque)
{
	vm_resume(((struct gdb *)opaque)->vm);
}

static enum vcpu_exit gdb_host_step(void *opaque, unsigned cpu)
{
	return vm_step(((struct gdb *)opaque)->vm, cpu);
}

static void gdb_host_reset(void *opaque)
{
	vm_request_reset(((struct gdb *)opaque)->vm);
}

static void gdb_host_end(void *opaque)
{
	vm_end(((struct gdb *)opaque)->vm, VM_END_STOPPED, GDB_END_STATUS);
}

/* A peer that does not read within GDB_SEND_SECONDS is given up. */
static void gdb_host_send(void *opaque, const void *p, size_t n)
{
	struct gdb *g = opaque;
	const char *b = p;

	while (n) {
		ssize_t sent = send(g->conn_fd, b, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0) {
			g->session.over = true;
			return;
		}
		b += sent;
		n -= (size_t)sent;
	}
}

/* --- The thread ----------------------------------------------------------- */

static void gdb_ring(struct gdb *g)
{
	uint64_t one = 1;

	while (write(g->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* vm->debug_stopped: in the vCPU's thread. */
static void gdb_on_debug(void *opaque, struct x86_cpu *cpu)
{
	struct gdb *g = opaque;

	pthread_mutex_lock(&g->lock);
	if (!g->stops++)
		g->stop_cpu = cpu->index;
	pthread_mutex_unlock(&g->lock);
	gdb_ring(g);
}

static void gdb_handle_stops(struct gdb *g)
{
	bool report = g->conn_fd >= 0 && g->session.running;
	unsigned stops, cpu;

	pthread_mutex_lock(&g->lock);
	stops = g->stops;
	cpu = g->stop_cpu;
	g->stops = 0;
	pthread_mutex_unlock(&g->lock);
	if (!stops)
		return;
	if (report)
		vm_pause(g->vm);
	while (stops--)
		vm_resume(g->vm);
	if (report)
		gdb_session_stopped(&g->session, cpu);
}

static void gdb_hang_up(struct gdb *g)
{
	gdb_session_end(&g->session);
	close(g->conn_fd);
	g->conn_fd = -1;
}

static void gdb_accept(struct gdb *g)
{
	const struct timeval limit = { GDB_SEND_SECONDS, 0 };
	int fd = accept4(g->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!g->waiting)
		vm_pause(g->vm);
	g->waiting = false;
	g->conn_fd = fd;
	if (gdb_session_begin(&g->session, &g->host)) {
		vm_resume(g->vm);
		close(fd);
		g->conn_fd = -1;
	}
}

static void gdb_receive(struct gdb *g)
{
	char buf[4096];
	ssize_t n = recv(g->conn_fd, buf, sizeof(buf), 0);

	if (n < 0 && errno == EINTR)
		return;
	if (n > 0)
		gdb_session_input(&g->session, buf, (size_t)n);
	if (n <= 0 || g->session.over)
		gdb_hang_up(g);
}

static void *gdb_thread(void *opaque)
{
	struct gdb *g = opaque;
	uint64_t rings;

	pthread_setname_np(pthread_self(), "gdb");
	while (!atomic_load(&g->quit)) {
		bool connected = g->conn_fd >= 0;
		struct pollfd p[2] = {
			{ g->wake_fd, POLLIN, 0 },
			{ connected ? g->conn_fd : g->listen_fd, POLLIN, 0 },
		};

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents && read(g->wake_fd, &rings, sizeof(rings)) < 0)
			continue;
		gdb_handle_stops(g);
		if (p[1].revents && connected)
			gdb_receive(g);
		else if (p[1].revents)
			gdb_accept(g);
	}
	if (g->conn_fd >= 0) {
		gdb_session_exited(&g->session, g->status);
		gdb_hang_up(g);
	}
	return NULL;
}

/* --- Life ----------------------------------------------------------------- */

uint16_t gdb_port(const struct gdb *g)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	char port[8] = "0";

	getsockname(g->listen_fd, (struct sockaddr *)&a, &len);
	getnameinfo((struct sockaddr *)&a, len, NULL, 0, port, sizeof(port),
		    NI_NUMERICSERV);
	return (uint16_t)strtoul(port, NULL, 10);
}

static void gdb_free(struct gdb *g)
{
	if (g->listen_fd >= 0)
		close(g->listen_fd);
	if (g->wake_fd >= 0)
		close(g->wake_fd);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static struct gdb *gdb_new(struct vm *vm)
{
	struct gdb *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->vm = vm;
	g->listen_fd = g->wake_fd = g->conn_fd = -1;
	pthread_mutex_init(&g->lock, NULL);
	g->host = (struct gdb_host){
		.xm = &vm->xm,
		.stop = gdb_host_stop,
		.go = gdb_host_go,
		.step = gdb_host_step,
		.reset = gdb_host_reset,
		.end = gdb_host_end,
		.send = gdb_host_send,
		.opaque = g,
	};
	return g;
}

/* Listens and starts the thread. */
static int gdb_open(struct gdb *g, const char *where, struct err *err)
{
	int rc;

	g->listen_fd = gdb_listen(where, err);
	if (g->listen_fd < 0)
		return g->listen_fd;
	g->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (g->wake_fd < 0)
		return err_set(err, errno, "cannot serve gdb: %s",
			       strerror(errno));
	rc = pthread_create(&g->thread, NULL, gdb_thread, g);
	if (rc)
		return err_set(err, rc, "cannot start gdb's thread: %s",
			       strerror(rc));
	return 0;
}

int gdb_start(struct gdb **out, struct vm *vm, const char *where, bool wait,
	      struct err *err)
{
	struct gdb *g = gdb_new(vm);
	int rc;

	if (!g)
		return err_set(err, ENOMEM, "no memory for gdb's port");
	g->waiting = wait;
	if (wait)
		vm_pause(vm);
	rc = gdb_open(g, where, err);
	if (rc) {
		if (wait)
			vm_resume(vm);
		gdb_free(g);
		return rc;
	}
	vm->debug_opaque = g;
	vm->debug_stopped = gdb_on_debug;
	*out = g;
	return 0;
}

void gdb_stop(struct gdb *g, int status)
{
	if (!g)
		return;
	g->status = status;
	atomic_store(&g->quit, true);
	gdb_ring(g);
	pthread_join(g->thread, NULL);
	g->vm->debug_stopped = NULL;
	gdb_free(g);
}
