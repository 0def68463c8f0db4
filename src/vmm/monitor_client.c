/* monitor_client.c - asking a running guest: see monitor.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/control.h"
#include "vmm/monitor.h"
#include "vmm/monitor_dir.h"

static int client_not_there(const char *name, struct err *err)
{
	return err_set(err, ENOENT,
		       "no guest named %s is running; `hostel list` shows "
		       "those that are",
		       name);
}

int monitor_connect(const char *name, struct err *err)
{
	struct sockaddr_un addr;
	char path[256];
	int rc = monitor_dir(name, path, sizeof(path), err);
	int dir, sock;

	if (rc)
		return rc;
	dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (dir < 0)
		return client_not_there(name, err);
	monitor_dir_address(dir, &addr);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	rc = sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr))
		     ? -errno
		     : 0;
	close(dir);
	if (!rc)
		return sock;
	if (sock >= 0)
		close(sock);
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return client_not_there(name, err);
	return err_set(err, -rc, "cannot reach guest %s: %s", name,
		       strerror(-rc));
}

/* One packet, with a descriptor. */
static int client_send(int sock, const char *text, int fd, struct err *err)
{
	struct iovec iov = { (char *)text, strlen(text) };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? err_set(err, errno, "the guest does not listen: %s",
			       strerror(errno))
		     : 0;
}

static int client_check(json_t *reply, struct err *err)
{
	const char *why = json_string_value(json_object_get(reply, "error"));

	if (json_is_true(json_object_get(reply, "ok")))
		return 0;
	return err_set(err, EREMOTEIO, "%s", why ? why : "the guest refuses");
}

int monitor_ask_on(int sock, json_t *request, int fd, json_t **reply,
		   struct err *err)
{
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int rc;

	*reply = NULL;
	json_decref(request);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	rc = client_send(sock, text, fd, err);
	free(text);
	if (rc)
		return rc;
	rc = control_recv(sock, reply, err);
	if (rc == 0)
		return err_set(err, EPIPE, "the guest ended meanwhile");
	return rc < 0 ? rc : client_check(*reply, err);
}

int monitor_ask(const char *name, json_t *request, int fd, json_t **reply,
		struct err *err)
{
	int sock = monitor_connect(name, err);
	int rc;

	*reply = NULL;
	if (sock < 0) {
		json_decref(request);
		return sock;
	}
	rc = monitor_ask_on(sock, request, fd, reply, err);
	close(sock);
	return rc;
}
