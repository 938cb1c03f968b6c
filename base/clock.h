/* Clocks. Durations always come from the monotonic clock; wall time is only shown. Clocks of two
 * hosts are never compared. */
#pragma once

#include <stdint.h>

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_wall_s(void);
double clock_wall_precise_s(void);
/* "2026-01-31T12:00:00.123Z" (25 bytes with NUL). */
#define CLOCK_TEXT_SIZE 25
void clock_wall_text(char out[CLOCK_TEXT_SIZE]);
void clock_sleep_ms(int64_t ms);
