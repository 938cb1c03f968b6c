/* JSON lines on standard error; see log.h. */
#include "base/log.h"

#include "base/clock.h"
#include "base/traceparent.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *program_name = "crosspool";
static enum log_level log_threshold = LOG_INFO;

static _Thread_local struct log_context here;
static char default_host[LOG_CONTEXT_SIZE];

void log_init(const char *program, enum log_level threshold)
{
    program_name = program;
    log_threshold = threshold;
}

static void set_context(char context[LOG_CONTEXT_SIZE], const char *id)
{
    snprintf(context, LOG_CONTEXT_SIZE, "%s", id ? id : "");
}

void log_default_host(const char *id)
{
    set_context(default_host, id);
}

void log_context_migration(const char *id)
{
    set_context(here.migration, id);
}

void log_context_request(const char *id)
{
    set_context(here.request, id);
}

void log_context_host(const char *id)
{
    set_context(here.host, id);
}

void log_context_trace(const char *traceparent)
{
    char id[TRACE_ID_SIZE] = "";
    if (traceparent)
        traceparent_trace_id(traceparent, id);
    set_context(here.trace, id);
}

void log_context_get(struct log_context *context)
{
    *context = here;
}

void log_context_set(const struct log_context *context)
{
    here = *context;
}

static void add_context(json_t *line, const char *key, const char *context)
{
    if (context[0])
        json_object_set_new(line, key, json_string(context));
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (level < log_threshold)
        return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char now[CLOCK_TEXT_SIZE];
    clock_wall_text(now);
    json_t *line = json_pack("{s:s, s:s, s:s}", "time", now, "level", level_names[level], "program",
                             program_name);
    add_context(line, "migration", here.migration);
    add_context(line, "request", here.request);
    add_context(line, "host", here.host[0] ? here.host : default_host);
    add_context(line, "trace", here.trace);
    json_t *shown = json_string(text);
    json_object_set_new(line, "text", shown ? shown : json_string("(text is not UTF-8)"));
    char *encoded = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (encoded)
        dprintf(STDERR_FILENO, "%s\n", encoded); /* one write: lines of threads do not mix */
    free(encoded);
    json_decref(line);
}
