/* Links that would start a domain at boot: found by what xl would read in them. */
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

static char top[64], from[96], to[96];
static struct error err;

static void setup(void)
{
    snprintf(top, sizeof top, "/tmp/crosspool-auto-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(from, sizeof from, "%s/auto", top);
    snprintf(to, sizeof to, "%s/auto-moved", top);
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

Test(xen_autostart, needs_no_folder)
{
    int moved = -1;
    cr_assert(xen_autostart_move("/nonexistent/auto", to, DOMAIN, "g1", &moved, &err));
    cr_assert_eq(moved, 0);
    cr_assert_not(is_in(top, "auto-moved"));
}
