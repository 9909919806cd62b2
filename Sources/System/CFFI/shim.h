#pragma once
#include <ffi.h>
#include <stddef.h>

/// libffi's description of a type by its FFI_TYPE_... number; NULL for numbers that name no simple type. Swift cannot
/// use the library's variables themselves: it takes them for state that threads share.
static inline ffi_type *attune_ffi_type(unsigned short number) {
  switch (number) {
    case FFI_TYPE_VOID: return &ffi_type_void;
    case FFI_TYPE_FLOAT: return &ffi_type_float;
    case FFI_TYPE_DOUBLE: return &ffi_type_double;
    case FFI_TYPE_UINT8: return &ffi_type_uint8;
    case FFI_TYPE_SINT8: return &ffi_type_sint8;
    case FFI_TYPE_UINT16: return &ffi_type_uint16;
    case FFI_TYPE_SINT16: return &ffi_type_sint16;
    case FFI_TYPE_UINT32: return &ffi_type_uint32;
    case FFI_TYPE_SINT32: return &ffi_type_sint32;
    case FFI_TYPE_UINT64: return &ffi_type_uint64;
    case FFI_TYPE_SINT64: return &ffi_type_sint64;
    case FFI_TYPE_POINTER: return &ffi_type_pointer;
    default: return NULL;
  }
}

#if defined(__linux__)
// From <dlfcn.h> and <link.h>, which hide them unless _GNU_SOURCE was defined before any other header was read.
extern int dlinfo(void *handle, int request, void *info);

/// The file that a handle of dlopen stands for, as the loader found it; NULL if it does not say. Borrowed while the
/// library stays loaded.
static inline const char *attune_library_file(void *handle) {
  struct head_of_link_map {
    void *address;
    const char *name;
  } *map = NULL;
  const int request_link_map = 2; /* RTLD_DI_LINKMAP */
  if (dlinfo(handle, request_link_map, &map) != 0 || !map || !map->name || !map->name[0]) return NULL;
  return map->name;
}
#else
static inline const char *attune_library_file(void *handle) {
  (void)handle;
  return NULL;
}
#endif
