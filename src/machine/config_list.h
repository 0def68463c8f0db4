/*
 * config_list.h - the parts of a description that are given many times:
 * disks, networks, forwarded ports, volumes.  config.c's own.
 */
#ifndef HOSTEL_MACHINE_CONFIG_LIST_H
#define HOSTEL_MACHINE_CONFIG_LIST_H

#include "machine/config.h"

/* Is it one of the lists' keys?  Then get/put know it. */
bool config_list_has(const char *key);
/* Adds what j holds: one entry or an array of them. */
int config_list_get(struct vm_config *c, const char *key, const json_t *j,
		    struct err *err);
/* Sets every list that has entries. */
void config_list_put(const struct vm_config *c, json_t *out);
/* Is a disk or a network in that slot? */
bool config_list_has_slot(const struct vm_config *c, unsigned slot);
/* Removes it. */
void config_list_drop_slot(struct vm_config *c, unsigned slot);
/* Removes the last entry of a list. */
void config_list_drop_last(struct vm_config *c, const char *key);
void config_list_free(struct vm_config *c);

#endif
