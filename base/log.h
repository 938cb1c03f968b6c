/* JSON lines on standard error, one object a line:
 * {"time":..., "level":..., "program":..., "migration":..., "request":..., "host":..., "text":...}
 * The ids come from the calling thread's context. Never pass a secret. */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

void log_init(const char *program, enum log_level threshold);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_debug(...)   log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)    log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...)   log_write(LOG_ERROR, __VA_ARGS__)

/* Context of this thread; NULL clears. The text is copied. */
void log_context_migration(const char *id);
void log_context_request(const char *id);
void log_context_host(const char *id);
