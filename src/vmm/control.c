#include "vmm/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int control_send(int fd, json_t *j, struct err *err)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	size_t len;
	ssize_t n;

	json_decref(j);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	len = strlen(text);
	if (len > CONTROL_PACKET_MAX) {
		free(text);
		return err_set(err, EMSGSIZE, "the options are too long");
	}
	do {
		n = send(fd, text, len, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	free(text);
	if (n < 0)
		return err_set(err, errno, "control socket: %s",
			       strerror(errno));
	return 0;
}

static int control_parse(const char *buf, size_t len, json_t **j,
			 struct err *err)
{
	json_error_t why;

	*j = json_loadb(buf, len, 0, &why);
	if (!*j)
		return err_set(err, EPROTO, "control packet: %s", why.text);
	if (json_is_object(*j))
		return 1;
	json_decref(*j);
	*j = NULL;
	return err_set(err, EPROTO, "control packet: not a JSON object");
}

int control_recv(int fd, json_t **j, struct err *err)
{
	char *buf = malloc(CONTROL_PACKET_MAX);
	ssize_t n;
	int rc;

	if (!buf)
		return err_set(err, ENOMEM, "out of memory");
	/*
	 * ECONNRESET, told once: the peer died with packets of ours unread.
	 * Its own last ones are still to be had behind that.
	 */
	do {
		n = recv(fd, buf, CONTROL_PACKET_MAX, MSG_TRUNC);
	} while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		rc = err_set(err, errno, "control socket: %s", strerror(errno));
	else if (n > CONTROL_PACKET_MAX)
		rc = err_set(err, EPROTO, "control packet: too long");
	else
		rc = n ? control_parse(buf, (size_t)n, j, err) : 0;
	free(buf);
	return rc;
}
