/* The commands of the program, one function each. They report by err and print only results. */
#pragma once

#include "base/error.h"

struct coordinator_config;
struct options;

typedef bool command_function(const struct options *options,
                              const struct coordinator_config *config, struct error *err);

command_function command_run; /* run.c */
command_function command_migrate;
command_function command_init;
command_function command_token_create;
command_function command_token_revoke;
command_function command_host_revoke;
command_function command_audit_forget;
