/*
 * config_check.h - options that mean nothing together.  vm_config_from_json()
 * has seen that each is right by itself.
 */
#ifndef HOSTEL_MACHINE_CONFIG_CHECK_H
#define HOSTEL_MACHINE_CONFIG_CHECK_H

#include "machine/config.h"

/* -EINVAL with a sentence that names the option. */
int config_check(const struct vm_config *c, struct err *err);
/* One alone, for hot plug. */
int config_check_disk(const struct vm_disk *d, struct err *err);
int config_check_net(const struct vm_net *n, struct err *err);

#endif
