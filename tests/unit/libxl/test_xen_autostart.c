/* Entries that start a domain at boot: found by what xl would read in them, moved, and made anew at
 * the other host. */
#include "agent/hypervisor/libxl/xen_arrival.h"
#include "agent/hypervisor/libxl/xen_autostart.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOMAIN "2f4dbb7e-63a1-4d4b-a31c-0b6a43c6f3a1"
#define OTHER  "33333333-3333-4333-8333-333333333333"

#define OURS   "# crosspool: where the domain is at this host\n"

static char top[64], from[96], to[96], state[96];
static struct error err;

static void setup(void)
{
    snprintf(top, sizeof top, "/tmp/crosspool-auto-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(from, sizeof from, "%s/auto", top);
    snprintf(to, sizeof to, "%s/auto-moved", top);
    snprintf(state, sizeof state, "%s/state", top);
    cr_assert(file_make_directory(from, 0755, &err));
}

static void teardown(void)
{
    cr_assert(file_remove_tree(top, &err), "%s", err.text);
}

TestSuite(xen_autostart, .init = setup, .fini = teardown);

static void put(const char *folder, const char *entry, const char *text)
{
    auto_free char *path = memory_format("%s/%s", folder, entry);
    cr_assert(file_write(path, 0644, text, strlen(text), &err), "%s", err.text);
}

static bool is_in(const char *folder, const char *entry)
{
    auto_free char *path = memory_format("%s/%s", folder, entry);
    return access(path, F_OK) == 0;
}

static char *content(const char *folder, const char *entry)
{
    auto_free char *path = memory_format("%s/%s", folder, entry);
    char *text = NULL;
    cr_assert(file_read(path, 1 << 20, &text, NULL, &err), "%s", err.text);
    return text;
}

static void expect_content(const char *folder, const char *entry, const char *expected)
{
    auto_free char *text = content(folder, entry);
    cr_assert_str_eq(text, expected);
}

static int move_all(void)
{
    int moved = -1;
    cr_assert(xen_autostart_move(from, to, DOMAIN, "g1", &moved, &err), "%s", err.text);
    return moved;
}

Test(xen_autostart, of_the_name_is_moved_and_of_others_stays)
{
    put(from, "g1.cfg", "# g1\nmemory = 128\n  name='g1'  \nvcpus = 1\n");
    put(from, "g10.cfg", "name = \"g10\"\n");
    put(from, "commented.cfg", "#name = \"g1\"\nname = \"g2\"\n");
    put(from, "longer.cfg", "names = \"g1\"\nname = \"g3\"\n");
    put(from, "last.cfg", "name = \"g1\"\nname = \"g4\"\n");
    put(from, "odd.cfg", "name = \"g1\nname g1\nname = g1");
    cr_assert_eq(move_all(), 1);
    cr_assert(is_in(to, "g1.cfg") && !is_in(from, "g1.cfg"));
    cr_assert(is_in(from, "g10.cfg") && is_in(from, "commented.cfg") && is_in(from, "longer.cfg"));
    cr_assert(is_in(from, "last.cfg") && is_in(from, "odd.cfg"));
    cr_assert_eq(move_all(), 0);
}

Test(xen_autostart, is_known_by_its_uuid_before_its_name)
{
    put(from, "a", "name = \"old\"\nuuid = \"2F4DBB7E-63A1-4D4B-A31C-0B6A43C6F3A1\"\n");
    put(from, "b", "name = \"g1\"\nuuid = \"" OTHER "\"\n");
    cr_assert_eq(move_all(), 1);
    cr_assert(is_in(to, "a") && is_in(from, "b"));
}

Test(xen_autostart, link_moves_and_its_file_stays)
{
    auto_free char *file = memory_format("%s/g1.cfg", top);
    auto_free char *link = memory_format("%s/10-g1", from);
    auto_free char *dangling = memory_format("%s/20-gone", from);
    put(top, "g1.cfg", "name = \"g1\"");
    cr_assert_eq(symlink(file, link), 0);
    cr_assert_eq(symlink("/nonexistent/g1.cfg", dangling), 0);
    cr_assert_eq(move_all(), 1);
    cr_assert(is_in(to, "10-g1") && is_in(top, "g1.cfg"));
}

Test(xen_autostart, of_libvirt_is_known_by_its_uuid)
{
    static const char xml[] = "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n"
                              "<domain type='xen'>\n  <name>g1</name>\n  <uuid>%s</uuid>\n";
    auto_free char *ours = memory_format(xml, DOMAIN), *other = memory_format(xml, OTHER);
    put(from, "g1.xml", ours);
    put(from, "g2.xml", other);
    put(from, "g3.xml", "\n<domain type='xen'>\n  <name>g1</name>\n");
    cr_assert_eq(move_all(), 1);
    cr_assert(is_in(to, "g1.xml") && is_in(from, "g2.xml") && is_in(from, "g3.xml"));
}

Test(xen_autostart, needs_no_folder)
{
    int moved = -1;
    cr_assert(xen_autostart_move("/nonexistent/auto", to, DOMAIN, "g1", &moved, &err));
    cr_assert_eq(moved, 0);
    cr_assert_not(is_in(top, "auto-moved"));
}

Test(xen_autostart, what_a_person_wrote_is_never_replaced)
{
    put(from, "g1.cfg", "name = \"g1\"\nmemory = 1\n");
    cr_assert_eq(move_all(), 1);
    put(from, "g1.cfg", "name = \"g1\"\nmemory = 2\n" OURS);
    cr_assert_eq(move_all(), 1);
    put(from, "g1.cfg", "name = \"g1\"\nmemory = 3\n" OURS);
    cr_assert_eq(move_all(), 1);
    expect_content(to, "g1.cfg", "name = \"g1\"\nmemory = 1\n");
    expect_content(to, "g1.cfg.1", "name = \"g1\"\nmemory = 3\n" OURS);
    cr_assert_not(is_in(to, "g1.cfg.2"));
}

/* -- what goes with the domain */

static char *find(void)
{
    char *text = NULL;
    cr_assert(xen_autostart_find(from, DOMAIN, "g1", &text, &err), "%s", err.text);
    return text;
}

Test(xen_autostart, the_entry_is_found_also_behind_a_link)
{
    cr_assert_null(find());
    auto_free char *file = memory_format("%s/g1.cfg", top);
    auto_free char *link = memory_format("%s/20-g1", from);
    put(top, "g1.cfg", "name = \"g1\"\n# the link");
    cr_assert_eq(symlink(file, link), 0);
    put(from, "g2.cfg", "name = \"g2\"");
    auto_free char *text = find();
    cr_assert_str_eq(text, "name = \"g1\"\n# the link");
    put(from, "10-g1", "name = \"g1\"\n# the first one");
    auto_free char *first = find();
    cr_assert_str_eq(first, "name = \"g1\"\n# the first one");
    put(from, ".00-g1", "name = \"g1\"\n# xendomains sees no such file");
    auto_free char *same = find();
    cr_assert_str_eq(same, first);
}

Test(xen_autostart, needs_no_folder_to_find_nothing)
{
    char *text = from;
    cr_assert(xen_autostart_find("/nonexistent/auto", DOMAIN, "g1", &text, &err));
    cr_assert_null(text);
}

static void expect_stays(const char *expected)
{
    char *text = NULL;
    cr_assert_not(xen_autostart_find(from, DOMAIN, "g1", &text, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, expected), "%s", err.text);
}

Test(xen_autostart, what_cannot_go_along_says_why)
{
    static const char nul[] = "name = \"g1\"\n\0more";
    auto_free char *path = memory_format("%s/g1.cfg", from);
    put(from, "g1.cfg", "name = \"g1\"\n# K\xf6ln\n");
    expect_stays("is no UTF-8");
    cr_assert(file_write(path, 0644, nul, sizeof nul, &err));
    expect_stays("is no UTF-8");
    auto_free char *large = memory_format("name = \"g1\"\n#%0*d\n", XEN_AUTOSTART_LIMIT, 0);
    put(from, "g1.cfg", large);
    expect_stays("at most 65536");
}

/* -- what waits for the domain */

static char *place(const char *name, const char *text)
{
    struct xen_arrival arrival = {
        .uuid = DOMAIN, .name = memory_copy_text(name), .text = memory_copy_text(text)};
    auto_xen_arrival struct xen_arrival read = {0};
    char *entry = NULL;
    cr_assert(xen_arrival_write(state, &arrival, &err), "%s", err.text);
    cr_assert(xen_arrival_read(state, DOMAIN, &read, &err), "%s", err.text);
    cr_assert_str_eq(read.name, name);
    cr_assert_str_eq(read.text, text);
    for (int i = 0; i < 2; i++) { /* an agent that died in between does it again */
        free(entry);
        cr_assert(xen_arrival_place(&read, from, to, &entry, &err), "%s", err.text);
    }
    cr_assert(xen_arrival_remove(state, DOMAIN, &err));
    cr_assert_not(xen_arrival_read(state, DOMAIN, &read, &err));
    cr_assert_eq(err.code, ERROR_NOT_FOUND);
    xen_arrival_done(&arrival);
    return entry;
}

static void expect_placed(const char *name, const char *expected)
{
    const char *text = "name = \"g1\"\nuuid = \"" DOMAIN "\"\n" OURS;
    auto_free char *entry = place(name, text);
    auto_free char *path = memory_format("%s/%s", from, expected);
    cr_assert_str_eq(entry, path);
    expect_content(from, expected, text);
}

Test(xen_autostart, an_arrival_becomes_the_domains_entry)
{
    expect_placed("g1", "g1.cfg");
    cr_assert(xen_arrival_remove(state, DOMAIN, &err), "nothing waits, which is fine");
}

Test(xen_autostart, an_arrival_makes_its_folder)
{
    cr_assert_eq(rmdir(from), 0);
    expect_placed("g1", "g1.cfg");
}

Test(xen_autostart, an_arrival_takes_the_place_of_what_was_left_of_the_domain)
{
    put(from, "10-old", "name = \"g1\"\n");
    put(from, "g1.cfg", "name = \"g1\"\nuuid = \"" DOMAIN "\"\n");
    expect_placed("g1", "g1.cfg");
    cr_assert(is_in(to, "10-old") && !is_in(from, "10-old"));
    expect_content(to, "g1.cfg", "name = \"g1\"\nuuid = \"" DOMAIN "\"\n");
}

Test(xen_autostart, an_arrival_leaves_another_domains_entry_alone)
{
    put(from, "g1.cfg", "name = \"g1\"\nuuid = \"" OTHER "\"\n");
    expect_placed("g1", DOMAIN ".cfg");
    expect_content(from, "g1.cfg", "name = \"g1\"\nuuid = \"" OTHER "\"\n");
}

Test(xen_autostart, a_dangling_link_is_never_replaced)
{
    auto_free char *link = memory_format("%s/g1.cfg", from);
    auto_free char *moved = memory_format("%s/10-g1", to);
    cr_assert(file_make_directory(to, 0755, &err));
    cr_assert_eq(symlink("/nonexistent/of-another", link), 0);
    cr_assert_eq(symlink("/nonexistent/of-another", moved), 0);
    put(from, "10-g1", "name = \"g1\"\n");
    expect_placed("g1", DOMAIN ".cfg");
    char target[64] = "";
    cr_assert_gt(readlink(link, target, sizeof target - 1), 0);
    cr_assert_gt(readlink(moved, target, sizeof target - 1), 0);
    expect_content(to, "10-g1.1", "name = \"g1\"\n");
}

Test(xen_autostart, a_name_that_is_no_files_is_not_used)
{
    expect_placed("../g1", DOMAIN ".cfg");
    expect_placed("two words", DOMAIN ".cfg");
    expect_placed(".hidden", DOMAIN ".cfg");
    expect_placed("", DOMAIN ".cfg");
}

Test(xen_autostart, a_damaged_arrival_is_refused)
{
    auto_xen_arrival struct xen_arrival read = {0};
    cr_assert(file_make_directory(state, 0700, &err));
    put(state, DOMAIN, "{\"uuid\": \"" DOMAIN "\", \"name\": \"g1\"}");
    cr_assert_not(xen_arrival_read(state, DOMAIN, &read, &err));
    cr_assert_eq(err.code, ERROR_INVALID);
    cr_assert(strstr(err.text, "text"), "%s", err.text);
}
