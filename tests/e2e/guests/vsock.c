/*
 * vsock.c - a guest's end of vsock connections, for the shell.
 *
 *	vsock listen PORT COMMAND	runs it for each that connects, with the
 *					connection as standard input and output
 *	vsock connect CID PORT		standard input to it, it to standard
 *					output, until both have ended (each may
 *					end first: a half-close)
 *	vsock many CID PORT N		N connections at once, a line echoed on
 *					each
 *	vsock cid			the guest's own context ID
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int vsock_socket(struct sockaddr_vm *addr, const char *cid,
			const char *port)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*addr = (struct sockaddr_vm){
		.svm_family = AF_VSOCK,
		.svm_cid =
			cid ? (unsigned)strtoul(cid, NULL, 0) : VMADDR_CID_ANY,
		.svm_port = (unsigned)strtoul(port, NULL, 0),
	};
	if (fd < 0) {
		perror("vsock: socket");
		exit(2);
	}
	return fd;
}

static int vsock_call(const char *cid, const char *port)
{
	struct sockaddr_vm addr;
	int fd = vsock_socket(&addr, cid, port);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		perror("vsock: connect");
		exit(1);
	}
	return fd;
}

static int vsock_listen(const char *port, const char *command)
{
	struct sockaddr_vm addr;
	int fd = vsock_socket(&addr, NULL, port), one;

	signal(SIGCHLD, SIG_IGN);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(fd, 128)) {
		perror("vsock: listen");
		return 2;
	}
	for (;;) {
		one = accept(fd, NULL, NULL);
		if (one >= 0 && fork() == 0) {
			dup2(one, 0);
			dup2(one, 1);
			close(one);
			signal(SIGCHLD, SIG_DFL);
			execl("/bin/sh", "sh", "-c", command, NULL);
			_exit(127);
		}
		if (one >= 0)
			close(one);
	}
}

/* From one to the other; false: it is at its end. */
static int vsock_copy(int from, int to)
{
	static char buf[65536];
	ssize_t n = read(from, buf, sizeof(buf)), done = 0, m;

	while (done < n) {
		m = write(to, buf + done, (size_t)(n - done));
		if (m <= 0) {
			perror("vsock: write");
			exit(1);
		}
		done += m;
	}
	if (n < 0) {
		perror("vsock: read");
		exit(1);
	}
	return n > 0;
}

static int vsock_connect(const char *cid, const char *port)
{
	struct pollfd p[2] = { { vsock_call(cid, port), POLLIN, 0 },
			       { 0, POLLIN, 0 } };

	int fd = p[0].fd;

	signal(SIGPIPE, SIG_IGN);
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 2, -1) < 0)
			return 2;
		if (p[1].fd >= 0 && p[1].revents && !vsock_copy(0, fd)) {
			shutdown(fd, SHUT_WR);
			p[1].fd = -1;
		}
		if (p[0].fd >= 0 && p[0].revents && !vsock_copy(fd, 1))
			p[0].fd = -1;
	}
	return 0;
}

static int vsock_many(const char *cid, const char *port, int n)
{
	char line[32], back[32];
	int *fd = calloc((size_t)n, sizeof(*fd)), good = 0;

	for (int i = 0; i < n; i++)
		fd[i] = vsock_call(cid, port);
	for (int i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "line %07d\n", i);
		if (write(fd[i], line, 13) != 13)
			perror("vsock: write");
	}
	for (int i = n - 1; i >= 0; i--) {
		snprintf(line, sizeof(line), "line %07d\n", i);
		good += recv(fd[i], back, 13, MSG_WAITALL) == 13 &&
			!memcmp(line, back, 13);
		close(fd[i]);
	}
	free(fd);
	printf("%d\n", good);
	return good != n;
}

static int vsock_cid(void)
{
	int fd = open("/dev/vsock", O_RDONLY);
	unsigned cid = 0;

	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid))
		return 2;
	printf("%u\n", cid);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "cid"))
		return vsock_cid();
	if (argc == 4 && !strcmp(argv[1], "listen"))
		return vsock_listen(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "connect"))
		return vsock_connect(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "many"))
		return vsock_many(argv[2], argv[3], atoi(argv[4]));
	fprintf(stderr, "usage: vsock listen|connect|many|cid ...\n");
	return 2;
}
