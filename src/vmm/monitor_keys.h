/*
 * monitor_keys.h - the verb "key": somebody types on the guest's keyboard.
 *
 * key		"key": keys that are pressed together and let go, by name
 *		("ctrl-alt-delete"); or "text": characters, as a US keyboard
 *		types them, at most KEYS_TEXT_MAX; or "down" or "up": one key
 *		that is pressed or let go.  Answers when the guest's keyboard
 *		has taken them; a guest that takes none in a while is an error.
 */
#ifndef HOSTEL_VMM_MONITOR_KEYS_H
#define HOSTEL_VMM_MONITOR_KEYS_H

#include "vmm/monitor.h"

#define KEYS_TEXT_MAX 64

monitor_fn monitor_keys;

#endif
