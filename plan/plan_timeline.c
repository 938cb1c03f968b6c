/* Spans of moves; see plan_timeline.h. */
#include "plan/plan_timeline.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

void plan_timeline_init(struct plan_timeline *timeline, int moves)
{
    *timeline = (struct plan_timeline){.move_count = moves};
    timeline->moves = memory_array((size_t)moves, sizeof *timeline->moves);
    for (int i = 0; i < moves; i++)
        timeline->moves[i] = (struct plan_times){.first = -1, .last = -1};
}

void plan_timeline_done(struct plan_timeline *timeline)
{
    free(timeline->moves);
    free(timeline->spans);
    *timeline = (struct plan_timeline){0};
}

static int new_span(struct plan_timeline *timeline)
{
    int count = timeline->span_count;
    if (count == 0 || (count >= 16 && (count & (count - 1)) == 0))
        timeline->spans =
            memory_resize(timeline->spans, count ? 2 * (size_t)count : 16, sizeof *timeline->spans);
    return timeline->span_count++;
}

void plan_timeline_add(struct plan_timeline *timeline, int move, double begin, double end,
                       double rate)
{
    struct plan_times *times = &timeline->moves[move];
    struct plan_span *last = times->last >= 0 ? &timeline->spans[times->last] : NULL;
    if (end <= begin)
        return;
    if (last && fabs(last->rate - rate) <= 1e-9 * rate && last->end >= begin) {
        last->end = end;
        return;
    }
    int index = new_span(timeline);
    assert(timeline->spans); /* it holds one at least */
    timeline->spans[index] = (struct plan_span){move, -1, begin, end, rate};
    if (times->last >= 0)
        timeline->spans[times->last].next = index;
    else
        times->first = index;
    times->last = index;
}
