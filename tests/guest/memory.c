/* Pages that are written all the time and must hold what was written last: shows a page that got
 * lost on a move. */
#include "guest.h"

#include <stdlib.h>
#include <unistd.h>

enum { PAGE = 4096, PAGE_WORDS = PAGE / 8, BURST = 64 };

static uint64_t *pages;
static uint32_t *written; /* what each page must hold in all its words, mixed with its number */
static uint64_t page_count;

static uint64_t content(uint64_t page, uint32_t round)
{
    return round ? mix(page << 32 | round) : 0;
}

static void write_page(uint64_t page)
{
    uint32_t round = written[page] + 1;
    /* every eighth round the page becomes zero again */
    uint64_t word = round % 8 ? content(page, round) : 0;
    for (int i = 0; i < PAGE_WORDS; i++)
        pages[page * PAGE_WORDS + (uint64_t)i] = word;
    written[page] = round;
}

static void *run_memory(void *unused)
{
    (void)unused;
    uint64_t random = now_us();
    for (;;) {
        while (!writer_begin())
            usleep(1000);
        for (int i = 0; i < BURST; i++) {
            random = mix(random);
            write_page(random % page_count);
        }
        writer_end();
        usleep(10000);
    }
    return NULL;
}

void memory_start(void)
{
    page_count = (uint64_t)options.memory_mb << 20 >> 12;
    if (!page_count)
        return;
    pages = aligned_alloc(PAGE, page_count * PAGE);
    written = calloc(page_count, sizeof *written);
    for (uint64_t page = 0; page < page_count; page++)
        write_page(page);
    pthread_t thread;
    pthread_create(&thread, NULL, run_memory, NULL);
}

uint64_t memory_verify(void)
{
    uint64_t bad = 0;
    for (uint64_t page = 0; page < page_count; page++) {
        uint32_t round = written[page];
        uint64_t word = round % 8 ? content(page, round) : 0;
        bool is_bad = false;
        for (int i = 0; i < PAGE_WORDS; i++)
            is_bad |= pages[page * PAGE_WORDS + (uint64_t)i] != word;
        bad += is_bad;
    }
    return bad;
}
