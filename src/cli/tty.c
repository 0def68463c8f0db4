#include "cli/tty.h"

#include <unistd.h>

void tty_init(struct tty *t, int fd)
{
	*t = (struct tty){ .fd = fd };
	t->is_tty = isatty(fd) && !tcgetattr(fd, &t->saved);
}

/* A background process that touches its terminal is stopped by the kernel. */
static bool tty_foreground(const struct tty *t)
{
	return tcgetpgrp(t->fd) == getpgrp();
}

bool tty_enter(struct tty *t)
{
	struct termios raw = t->saved;

	if (!t->is_tty)
		return true;
	if (!tty_foreground(t))
		return false;
	cfmakeraw(&raw);
	t->raw = !tcsetattr(t->fd, TCSADRAIN, &raw);
	return true;
}

void tty_leave(struct tty *t)
{
	if (t->raw && tty_foreground(t))
		tcsetattr(t->fd, TCSADRAIN, &t->saved);
	t->raw = false;
}
