/* JSON lines on standard error, one object a line:
 * {"time":..., "level":..., "program":..., "migration":..., "request":..., "host":..., "trace":...,
 *  "text":...}
 * The ids come from the calling thread's context. Never pass a secret. */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

void log_init(const char *program, enum log_level threshold);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...)   log_write(LOG_ERROR, __VA_ARGS__)

/* Host of all threads that have none of their own; before they begin. */
void log_default_host(const char *id);

/* Context of this thread; NULL clears. The text is copied. A trace is given as a traceparent
 * (base/traceparent.h); what is not one clears. */
void log_context_migration(const char *id);
void log_context_request(const char *id);
void log_context_host(const char *id);
void log_context_trace(const char *traceparent);

/* For lines about something else than what the thread works on. */
enum { LOG_CONTEXT_SIZE = 72 };
struct log_context {
    char migration[LOG_CONTEXT_SIZE];
    char request[LOG_CONTEXT_SIZE];
    char host[LOG_CONTEXT_SIZE];
    char trace[LOG_CONTEXT_SIZE];
};
void log_context_get(struct log_context *context);
void log_context_set(const struct log_context *context);
