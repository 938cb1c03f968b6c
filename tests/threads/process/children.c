/* Children are started, asked and stopped from several threads at once. */
#include "agent/process/child.h"
#include "base/cleanup.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 6, ROUNDS = 10 };

static void *use_children(void *context)
{
    struct error err;
    const char *name = context;
    for (int round = 0; round < ROUNDS; round++) {
        const char *const say[] = {"printf", "%s", name, NULL};
        const char *const wait[] = {"sleep", "60", NULL};
        auto_free char *text = NULL;
        struct child *child = NULL;
        if (!child_run(say, 20000, 100, &text, &err) || strcmp(text, name) != 0 ||
            !child_start(wait, "/dev/null", -1, &child, &err) || !child_is_alive(child)) {
            fprintf(stderr, "failed: %s\n", err.text);
            exit(1);
        }
        child_stop(child, 5000);
    }
    return NULL;
}

int main(void)
{
    static char names[THREADS][2] = {"a", "b", "c", "d", "e", "f"};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, use_children, names[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
