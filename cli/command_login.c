/* crosspool login: keeps where the coordinator is and the token, once they have worked. */
#include "cli/commands.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "cli/client.h"
#include "cli/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_CA_FILE = 256 << 10, LIMIT_TOKEN_FILE = 256 };

static bool read_standard_input(char **out, struct error *err)
{
    char text[LIMIT_TOKEN_FILE + 1];
    size_t size = fread(text, 1, sizeof text, stdin);
    if (size > LIMIT_TOKEN_FILE)
        return error_set(err, ERROR_INVALID, "standard input: expected a token, not %d bytes",
                         (int)LIMIT_TOKEN_FILE + 1);
    *out = memory_format("%.*s", (int)size, text);
    explicit_bzero(text, sizeof text);
    return true;
}

static bool read_token(const char *file, char **out, struct error *err)
{
    size_t size = 0;
    char *text = NULL;
    bool is_file = file && strcmp(file, "-") != 0;
    if (is_file ? !file_read(file, LIMIT_TOKEN_FILE, &text, &size, err)
                : !read_standard_input(&text, err))
        return false;
    text[strcspn(text, " \r\n")] = '\0';
    *out = text;
    return text[0] ||
           error_set(err, ERROR_INVALID, "%s: expected a token", is_file ? file : "standard input");
}

static bool try_it(const struct session *session, struct error *err)
{
    auto_client struct client *client = NULL;
    json_t *pools = NULL;
    bool is_done = client_open(&client, session, err) &&
                   client_call(client, "/v1/pools?limit=1", NULL, &pools, err);
    json_decref(pools);
    return is_done;
}

bool command_login(const struct options *options, bool *is_whole, struct error *err)
{
    struct session session = {0};
    size_t size = 0;
    if (strncmp(options->url, "https://", 8) != 0 || strlen(options->url) >= sizeof session.url)
        return error_set(err, ERROR_INVALID, "--url: expected https://host:port");
    snprintf(session.url, sizeof session.url, "%s", options->url);
    size_t length = strlen(session.url);
    if (session.url[length - 1] == '/')
        session.url[length - 1] = '\0';
    bool is_done = file_read(options->ca, LIMIT_CA_FILE, &session.ca, &size, err) &&
                   read_token(options->token_file, &session.token, err) && try_it(&session, err) &&
                   session_write(&session, err);
    session_done(&session);
    *is_whole = is_done;
    return is_done;
}
