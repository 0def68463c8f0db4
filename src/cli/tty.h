/*
 * tty.h - the person's terminal, raw while a guest uses it.
 */
#ifndef HOSTEL_CLI_TTY_H
#define HOSTEL_CLI_TTY_H

#include <stdbool.h>
#include <termios.h>

struct tty {
	int fd;
	bool is_tty;
	bool raw;
	struct termios saved;
};

void tty_init(struct tty *t, int fd);
/*
 * Makes the terminal raw if it is one and we are in its foreground; called
 * again after SIGCONT.  Returns whether fd may be read from: always, unless it
 * is a terminal that belongs to somebody else now.
 */
bool tty_enter(struct tty *t);
/* Back to what it was.  May be called at any time, more than once. */
void tty_leave(struct tty *t);

#endif
