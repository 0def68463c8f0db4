/*
 * cli.h - the verbs of hostel(1), one file each.
 */
#ifndef HOSTEL_CLI_CLI_H
#define HOSTEL_CLI_CLI_H

#include "base/err.h"

/* argv[0] is the verb; returns the exit status. */
typedef int cli_verb_fn(int argc, char **argv);

cli_verb_fn cli_run;
cli_verb_fn cli_disk;
cli_verb_fn cli_doctor;
/* ctl.c: what is done with guests that run, by their name. */
cli_verb_fn cli_list;
cli_verb_fn cli_stop;
cli_verb_fn cli_ctl;
/* ctl_device.c: their devices. */
cli_verb_fn cli_balloon;
cli_verb_fn cli_attach;
cli_verb_fn cli_detach;
cli_verb_fn cli_devices;
cli_verb_fn cli_cdrom;
/* ctl_file.c: what they write into files. */
cli_verb_fn cli_save;
cli_verb_fn cli_screenshot;
/* ctl_keys.c */
cli_verb_fn cli_sendkey;
cli_verb_fn cli_image;
cli_verb_fn cli_start;
cli_verb_fn cli_rm;
cli_verb_fn cli_ssh;
cli_verb_fn cli_cp;
cli_verb_fn cli_version;
cli_verb_fn cli_help;

/* Says the sentence on stderr; returns the status for it. */
int cli_fail(const struct err *err);

#endif
