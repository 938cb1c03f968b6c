/* Errors, buffers, files, UUIDs. */
#include "base/buffer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/uuid.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Test(error, prefix_and_errno_give_one_sentence)
{
    struct error err;
    cr_assert_not(error_set_errno(&err, ERROR_UNREACHABLE, ECONNREFUSED, "10.0.0.1:7801"));
    cr_assert_not(error_prefix(&err, "disk %d", 3));
    cr_assert_str_eq(err.text, "disk 3: 10.0.0.1:7801: Connection refused");
    cr_assert_eq(err.code, ERROR_UNREACHABLE);
}

Test(error, a_full_disk_is_no_space_whatever_the_caller_says)
{
    struct error err;
    error_set_errno(&err, ERROR_INTERNAL, ENOSPC, "image");
    cr_assert_eq(err.code, ERROR_NO_SPACE);
}

Test(error, text_too_long_is_cut_and_terminated)
{
    struct error err;
    error_set(&err, ERROR_INTERNAL, "%0300d", 1);
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
    error_prefix(&err, "ab");
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
    cr_assert(strncmp(err.text, "ab: 000", 7) == 0);
}

Test(error, every_code_has_a_name_that_parses_back)
{
    for (int i = 0; error_code_names[i]; i++) {
        enum error_code code;
        cr_assert(error_code_parse(error_code_name((enum error_code)i), &code));
        cr_assert_eq((int)code, i);
    }
    enum error_code code;
    cr_assert_not(error_code_parse("no such", &code));
}

Test(buffer, append_stops_at_the_ceiling_and_keeps_what_was_there)
{
    struct buffer buffer;
    struct error err;
    buffer_init(&buffer, 5);
    cr_assert(buffer_append(&buffer, "abc", 3, &err));
    cr_assert_not(buffer_append(&buffer, "def", 3, &err));
    cr_assert_eq(err.code, ERROR_NO_SPACE);
    cr_assert_str_eq(buffer.data, "abc");
    cr_assert(buffer_printf(&buffer, &err, "%d", 12));
    buffer_consume(&buffer, 2);
    cr_assert_str_eq(buffer.data, "c12");
    char *text = buffer_take(&buffer);
    cr_assert_str_eq(text, "c12");
    free(text);
    buffer_done(&buffer);
}

Test(uuid, made_ones_are_valid_and_differ)
{
    char a[UUID_SIZE], b[UUID_SIZE];
    uuid_make(a);
    uuid_make(b);
    cr_assert(uuid_is_valid(a) && uuid_is_valid(b));
    cr_assert_str_neq(a, b);
    cr_assert_not(uuid_is_valid("01234567-89ab-4cde-8f01-23456789abcg"));
    cr_assert_not(uuid_is_valid("01234567-89ab-4cde-8f01-23456789abc"));
}

Test(file, write_replaces_whole_and_read_has_a_limit)
{
    char directory[] = "/tmp/crosspool-unit-XXXXXX";
    cr_assert_not_null(mkdtemp(directory));
    char *nested = memory_format("%s/a/b", directory);
    char *path = memory_format("%s/file", nested);
    struct error err;
    cr_assert(file_make_directory(nested, 0700, &err), "%s", err.text);
    cr_assert(file_make_directory(nested, 0700, &err), "%s", err.text);
    cr_assert(file_write(path, 0600, "old", 3, &err), "%s", err.text);
    cr_assert(file_write(path, 0640, "newer", 5, &err), "%s", err.text);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0640);
    char *text = NULL;
    size_t size;
    cr_assert(file_read(path, 5, &text, &size, &err), "%s", err.text);
    cr_assert_str_eq(text, "newer");
    free(text);
    cr_assert_not(file_read(path, 4, &text, &size, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(file_remove(path, &err));
    cr_assert(file_remove(path, &err));
    cr_assert_not(file_read(path, 4, &text, &size, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    cr_assert(file_remove_tree(directory, &err), "%s", err.text);
    cr_assert_neq(access(directory, F_OK), 0);
    free(path);
    free(nested);
}
