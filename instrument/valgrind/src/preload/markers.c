/* What `memloupe_markers.h` calls: being called is all that counts. Different bodies keep two addresses.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later */

void memloupe_region_begin(const char *name);
void memloupe_region_end(const char *name);

__attribute__((noinline)) void memloupe_region_begin(const char *name)
{
    __asm__ volatile("/* begin */" : : "r"(name) : "memory");
}

__attribute__((noinline)) void memloupe_region_end(const char *name)
{
    __asm__ volatile("nop /* end */" : : "r"(name) : "memory");
}
