/* What the hosts of a pool can all give a guest. */
#include "coordinator/domain/pool_cpu.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define INTEL "GenuineIntel"

Test(pool_cpu, takes_what_all_have)
{
    const struct pool_cpu_report reports[] = {{INTEL, "pvh", "1d=0000000f 1c=00002001"},
                                              {INTEL, "pvh", "1d=00000007 1c=00002000"},
                                              {INTEL, "pvh", ""}};
    struct pool_cpu_type *types = NULL;
    cr_assert_eq(pool_cpu_types(reports, 3, 3, &types), 1);
    cr_assert(types[0].is_common && types[0].hosts == 3);
    cr_assert_str_eq(types[0].features, "1d=00000007 1c=00002000");
    free(types);
}

static void assert_nothing(const struct pool_cpu_report *reports, size_t count, int hosts,
                           const char *words)
{
    struct pool_cpu_type *types = NULL;
    cr_assert_eq(pool_cpu_types(reports, count, hosts, &types), 1);
    cr_assert_not(types[0].is_common);
    cr_assert_str_eq(types[0].features, "");
    cr_assert(strstr(types[0].why_not, words), "%s", types[0].why_not);
    free(types);
}

Test(pool_cpu, says_why_nothing_is_common)
{
    const struct pool_cpu_report vendors[] = {{INTEL, "pvh", "1d=0000000f"},
                                              {"AuthenticAMD", "pvh", "1d=0000000f"}};
    assert_nothing(vendors, 2, 2, "different vendors");
    const struct pool_cpu_report words[] = {{INTEL, "pvh", "vendor-b=756e6547 1d=0000000f"},
                                            {INTEL, "pvh", "vendor-b=68747541 1d=0000000f"}};
    assert_nothing(words, 2, 2, "different vendors");
    const struct pool_cpu_report unknown[] = {{INTEL, "pvh", "1d=0000000f"},
                                              {INTEL, "pvh", "new=0000000f"}};
    assert_nothing(unknown, 2, 2, "not known here");
    assert_nothing(vendors, 1, 2, "1 of 2 hosts");
}

Test(pool_cpu, types_stand_beside_each_other)
{
    const struct pool_cpu_report reports[] = {{INTEL, "hvm", "1d=0000000f"},
                                              {INTEL, "pv", "1d=00000003"}};
    struct pool_cpu_type *types = NULL;
    cr_assert_eq(pool_cpu_types(reports, 2, 1, &types), 2);
    cr_assert_str_eq(types[0].type, "hvm");
    cr_assert_str_eq(types[1].features, "1d=00000003");
    free(types);
    cr_assert_eq(pool_cpu_types(NULL, 0, 0, &types), 0);
}
