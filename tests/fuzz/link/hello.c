/* Any bytes as a hello or an answer: refused, or understood and the same after a round trip. */
#include "agent/link/hello.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link_hello hello, again;
    struct error err;
    char line[HELLO_LIMIT + 1];
    if (hello_decode((const char *)data, size, &hello, &err)) {
        hello_encode(&hello, line);
        if (!hello_decode(line, strlen(line) - 1, &again, &err) || again.epoch != hello.epoch ||
            again.disk != hello.disk || again.channel != hello.channel ||
            strcmp(again.migration, hello.migration) != 0)
            abort();
    }
    if (!hello_decode_answer((const char *)data, size, &err)) {
        char answer[ANSWER_LIMIT + 1];
        struct error back;
        hello_encode_answer(&err, answer);
        if (hello_decode_answer(answer, strlen(answer), &back) || back.code != err.code)
            abort();
    }
    return 0;
}
