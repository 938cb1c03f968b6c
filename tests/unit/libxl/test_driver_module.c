/* The driver is a module, and the words when it is not there. */
#include "agent/hypervisor/hypervisor.h"

#include <criterion/criterion.h>
#include <string.h>

Test(driver_module, a_driver_that_is_not_installed_says_where_it_was_looked_for)
{
    struct error err;
    struct hypervisor *hv = NULL;
    const struct hypervisor_driver *driver = hypervisor_driver_find("libxl");
    cr_assert_not_null(driver);
    cr_assert_str_eq(driver->name, "libxl");
    json_auto_t *options = json_object();
    cr_assert_not(driver->open(options, &hv, &err));
    cr_assert_eq(err.code, ERROR_UNSUPPORTED);
    cr_assert(strstr(err.text, "crosspool-libxl.so cannot be loaded: neither in /"), "%s",
              err.text);
}

Test(driver_module, the_other_driver_needs_none)
{
    cr_assert_eq(hypervisor_driver_find("qemu"), &qemu_driver);
    cr_assert_null(hypervisor_driver_find("xapi"));
}
