/* machine.c - a machine in a thread of the test, and its console. */
#include "machine.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void *run_thread(void *opaque)
{
	struct machine *m = opaque;
	int status;

	vm_run(m->vm, &status, NULL);
	return NULL;
}

struct machine *machine_make(const struct vm_config *like)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct vm_config c;
	struct err err = { "" };
	int fds[2];

	vm_config_init(&c);
	c.memory = like->memory;
	c.cpus = like->cpus;
	c.kernel = strdup(like->kernel);
	c.initrd = like->initrd ? strdup(like->initrd) : NULL;
	c.append = strdup(like->append);
	c.engine = strdup(like->engine);
	c.cpu = like->cpu ? strdup(like->cpu) : NULL;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	m->console = fds[0];
	m->far_end = fds[1];
	if (vm_new(&m->vm, &c, fds[1], dup(fds[1]), &err))
		fail_msg("%s", err.msg);
	return m;
}

void machine_start(struct machine *m)
{
	assert_int_equal(pthread_create(&m->thread, NULL, run_thread, m), 0);
}

void machine_end(struct machine *m)
{
	vm_end(m->vm, VM_END_STOPPED, 130);
	pthread_join(m->thread, NULL);
	close(m->vm->console_out);
	vm_free(m->vm);
	close(m->console);
	close(m->far_end);
	free(m);
}

static int patience_ms(void)
{
	const char *s = getenv("PATIENCE");

	return 1000 * (s ? atoi(s) : 60);
}

void machine_expect(struct machine *m, const char *text)
{
	struct pollfd p = { m->console, POLLIN, 0 };
	int patience = patience_ms();

	while (!strstr(m->said, text)) {
		ssize_t n;

		if (poll(&p, 1, patience) <= 0 ||
		    m->said_len > sizeof(m->said) - 2)
			fail_msg("no '%s' in '%s'", text, m->said);
		n = read(m->console, m->said + m->said_len,
			 sizeof(m->said) - 1 - m->said_len);
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++) /* NULs end no string */
			if (!m->said[m->said_len + (size_t)i])
				m->said[m->said_len + (size_t)i] = '?';
		m->said_len += (size_t)n;
		m->said[m->said_len] = 0;
		if (m->never && strstr(m->said, m->never))
			fail_msg("'%s' in '%s'", m->never, m->said);
	}
	m->said_len = 0;
	m->said[0] = 0;
}

void machine_type(struct machine *m, const char *text)
{
	assert_int_equal(write(m->console, text, strlen(text)), strlen(text));
}
