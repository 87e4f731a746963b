/* Keeps the module that contains the library loaded for ever, as `-z nodelete` does for the shared one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>

/* A program that is linked with -static has none of these, nor modules to unload. */
#pragma weak dlopen
#pragma weak dlclose
#pragma weak dl_iterate_phdr

int sp_pin_module(void);

struct search {
    uintptr_t address;
    const char *name; /* of the module with the address; NULL: it is the program itself */
    int modules;
};

static int look(struct dl_phdr_info *module, size_t bytes, void *context)
{
    struct search *search = context;
    int first = search->modules++ == 0, n;

    (void)bytes;
    for (n = 0; n < module->dlpi_phnum; n++) {
        const ElfW(Phdr) *part = &module->dlpi_phdr[n];
        if (part->p_type == PT_LOAD && search->address - (module->dlpi_addr + part->p_vaddr) < part->p_memsz) {
            search->name = first ? NULL : module->dlpi_name;
            return 1;
        }
    }
    return 0;
}

/* 0: it stays. */
int sp_pin_module(void)
{
    struct search search = {0, NULL, 0};
    void *module;

    search.address = (uintptr_t)&sp_pin_module;
    if (dlopen == NULL || dlclose == NULL || dl_iterate_phdr == NULL) return 0;
    if (dl_iterate_phdr(look, &search) == 0 || search.name == NULL || search.name[0] == 0) return 0;
    module = dlopen(search.name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    if (module == NULL) return 1;
    /* The mark stays. */
    dlclose(module);
    return 0;
}
