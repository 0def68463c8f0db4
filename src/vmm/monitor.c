/*
 * monitor.c - the control socket of a named guest: see monitor.h.
 *
 * One thread waits for connections and requests, and answers them one after
 * the other: a verb has the guest for itself.  It ends when `wake` is written
 * to.  Who may connect is decided by the directory's mode, and looked at once
 * more.
 */
#include "vmm/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control.h"
#include "vmm/monitor_dir.h"

/*
 * #syscalls: accept4 recvmsg sendto sendmsg getsockopt socketpair
 * #syscalls: unlinkat rmdir flock mkdir getdents64
 */

#define MONITOR_CLIENTS 16
#define MONITOR_SEND_S  5 /* who does not read its answers is left */

enum monitor_slot { MONITOR_WAKE, MONITOR_LISTEN, MONITOR_FIRST };
#define MONITOR_SLOTS (MONITOR_FIRST + MONITOR_CLIENTS)

struct monitor {
	struct vm *vm;
	struct monitor_dir dir;
	pthread_t thread;
	struct pollfd fds[MONITOR_SLOTS]; /* the thread's own */
};

/* --- Requests ------------------------------------------------------------- */

static monitor_fn *monitor_find(const char *verb)
{
	for (const struct monitor_verb *v = monitor_verbs; v->name; v++)
		if (!strcmp(v->name, verb))
			return v->fn;
	return NULL;
}

/* A new reply, whatever the request is. */
static json_t *monitor_answer(struct monitor *m, const json_t *request, int fd)
{
	const char *verb = json_string_value(json_object_get(request, "do"));
	monitor_fn *fn = verb ? monitor_find(verb) : NULL;
	json_t *reply = json_object();
	struct err err = { "" };
	int rc;

	if (!verb)
		rc = err_set(&err, EINVAL, "a request is {\"do\": VERB, ...}");
	else if (!fn)
		rc = err_set(&err, EINVAL, "there is no verb '%.32s'", verb);
	else
		rc = fn(m->vm, request, fd, reply, &err);
	json_object_set_new(reply, "ok", json_boolean(rc == 0));
	if (rc)
		json_object_set_new(reply, "error", json_string(err.msg));
	return reply;
}

/* The first descriptor of a packet; what else came is closed. */
static int monitor_take_fd(struct msghdr *msg)
{
	int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c;
	     c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

/* 1: *request is there; 0: the client has gone, or is not worth listening. */
static int monitor_receive(int sock, json_t **request, int *fd)
{
	char *buf = malloc(CONTROL_PACKET_MAX);
	struct iovec iov = { buf, CONTROL_PACKET_MAX };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t n = buf ? recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) : -1;

	*fd = -1;
	*request = NULL;
	if (n > 0) {
		*fd = monitor_take_fd(&msg);
		if (!(msg.msg_flags & MSG_TRUNC))
			*request = json_loadb(buf, (size_t)n, 0, NULL);
	}
	free(buf);
	return n > 0;
}

static bool monitor_serve(struct monitor *m, int sock)
{
	json_t *request;
	int fd, rc;

	if (!monitor_receive(sock, &request, &fd))
		return false;
	rc = control_send(sock, monitor_answer(m, request, fd), NULL);
	json_decref(request);
	if (fd >= 0)
		close(fd);
	return rc == 0;
}

/* --- The thread ----------------------------------------------------------- */

static bool monitor_trusts(int sock)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static void monitor_accept(struct monitor *m)
{
	const struct timeval patience = { .tv_sec = MONITOR_SEND_S };
	int sock = accept4(m->fds[MONITOR_LISTEN].fd, NULL, NULL, SOCK_CLOEXEC);
	unsigned i = MONITOR_FIRST;

	if (sock < 0)
		return;
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	while (i < MONITOR_SLOTS && m->fds[i].fd >= 0)
		i++;
	if (i < MONITOR_SLOTS && monitor_trusts(sock))
		m->fds[i] = (struct pollfd){ sock, POLLIN, 0 };
	else
		close(sock);
}

static void *monitor_thread(void *opaque)
{
	struct monitor *m = opaque;

	while (!(m->fds[MONITOR_WAKE].revents & POLLIN)) {
		if (poll(m->fds, MONITOR_SLOTS, -1) < 0)
			continue;
		for (unsigned i = MONITOR_FIRST; i < MONITOR_SLOTS; i++) {
			struct pollfd *p = &m->fds[i];

			if (p->fd < 0 || !p->revents || monitor_serve(m, p->fd))
				continue;
			close(p->fd);
			p->fd = -1;
		}
		if (m->fds[MONITOR_LISTEN].revents)
			monitor_accept(m);
	}
	return NULL;
}

/* --- Life ----------------------------------------------------------------- */

static int monitor_listen(struct monitor *m, struct err *err)
{
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;

	m->fds[MONITOR_LISTEN] = (struct pollfd){ sock, POLLIN, 0 };
	unlinkat(m->dir.dir, "monitor", 0); /* of one that crashed */
	monitor_dir_address(m->dir.dir, &addr);
	if (sock < 0 || bind(sock, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(sock, MONITOR_CLIENTS))
		return err_set(err, errno, "cannot listen in %s: %s",
			       m->dir.path, strerror(errno));
	m->fds[MONITOR_WAKE] =
		(struct pollfd){ eventfd(0, EFD_CLOEXEC), POLLIN, 0 };
	if (m->fds[MONITOR_WAKE].fd < 0)
		return err_set(err, errno, "cannot make an eventfd: %s",
			       strerror(errno));
	return 0;
}

static int monitor_describe(struct monitor *m, struct err *err)
{
	json_t *j = vm_config_to_json(&m->vm->config);
	char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
	char pid[16];
	int rc;

	json_decref(j);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	rc = monitor_dir_write(&m->dir, "config.json", text, err);
	free(text);
	return rc ? rc : monitor_dir_write(&m->dir, "pid", pid, err);
}

static int monitor_run(struct monitor *m, struct err *err)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&m->thread, NULL, monitor_thread, m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? err_set(err, rc, "cannot start a thread: %s", strerror(rc))
		  : 0;
}

static void monitor_free(struct monitor *m)
{
	for (unsigned i = 0; i < MONITOR_SLOTS; i++)
		if (m->fds[i].fd >= 0)
			close(m->fds[i].fd);
	monitor_dir_drop(&m->dir);
	free(m);
}

int monitor_start(struct monitor **out, struct vm *vm, const char *name,
		  struct err *err)
{
	struct monitor *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return err_set(err, ENOMEM, "out of memory");
	m->vm = vm;
	for (unsigned i = 0; i < MONITOR_SLOTS; i++)
		m->fds[i].fd = -1;
	rc = monitor_dir_own(&m->dir, name, err);
	if (rc) {
		free(m);
		return rc;
	}
	rc = monitor_describe(m, err);
	if (rc == 0)
		rc = monitor_listen(m, err);
	if (rc == 0)
		rc = monitor_run(m, err);
	if (rc)
		monitor_free(m);
	else
		*out = m;
	return rc;
}

void monitor_stop(struct monitor *m)
{
	const uint64_t one = 1;

	if (!m)
		return;
	if (write(m->fds[MONITOR_WAKE].fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(m->thread, NULL);
	monitor_free(m);
}
