/*
 * guest.h - the guests that stay (image/instance.h), for `hostel list`.
 */
#ifndef HOSTEL_CLI_GUEST_H
#define HOSTEL_CLI_GUEST_H

/* One line each on stdout; nothing where there are none. */
void guest_list_stopped(void);

#endif
