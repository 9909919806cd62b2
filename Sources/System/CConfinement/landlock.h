// Landlock: files that a process may change, ports that it may use, processes that it may signal. See
// Documentation/userspace-api/landlock.rst of the Linux kernel. The constants are written out here because the system's
// headers often know only the first version.
#ifndef ATTUNE_CONFINEMENT_LANDLOCK_H
#define ATTUNE_CONFINEMENT_LANDLOCK_H

#include "processes.h"

// The version that the kernel speaks; 0 if it has none, or if it is switched off.
static inline int attune_landlock_version(void) {
#if defined(__linux__)
  const long version = syscall(444, NULL, 0, 1u);
  return version > 0 ? (int)version : 0;
#else
  return 0;
#endif
}

typedef struct attune_landlock_ruleset {
  uint64_t files, ports, scopes;
} attune_landlock_ruleset;

#pragma pack(push, 1)
typedef struct attune_landlock_path {
  uint64_t allowed;
  int32_t parent;
} attune_landlock_path;
#pragma pack(pop)

// Adds a rule about what is beneath a path. 0 or -errno.
static inline int attune_landlock_allow(int ruleset, const char *path, uint64_t rights) {
#if defined(__linux__)
  // O_PATH
  const int parent = open(path, 0x200000 | O_CLOEXEC);
  if (parent < 0) return -errno;
  const attune_landlock_path rule = {rights, parent};
  const int status = syscall(445, ruleset, 1, &rule, 0) == 0 ? 0 : -errno;
  close(parent);
  return status;
#else
  (void)ruleset, (void)path, (void)rights;
  return -ENOSYS;
#endif
}

// From here on the calling thread, and what it starts, writes only beneath the folders, uses TCP only if `network` says so,
// and signals only what it started itself. 0 or -errno; `*failed` is the number of a folder that cannot be opened, or -1.
static inline int attune_landlock_restrict(const char *const *folders, int count, int network, int *failed) {
  *failed = -1;
#if defined(__linux__)
  const int version = attune_landlock_version();
  if (version < 1) return -ENOSYS;
  // WRITE_FILE, REMOVE_DIR, REMOVE_FILE and MAKE_CHAR to MAKE_SYM.
  uint64_t files = (1u << 1) | (1u << 4) | (1u << 5) | (0x7fu << 6);
  if (version >= 2) files |= 1u << 13; // REFER
  if (version >= 3) files |= 1u << 14; // TRUNCATE
  if (version >= 5) files |= 1u << 15; // IOCTL_DEV
  // BIND_TCP and CONNECT_TCP; ABSTRACT_UNIX_SOCKET and SIGNAL.
  const attune_landlock_ruleset rules = {files, network ? 0 : 3, 3};
  size_t size = version >= 6 ? sizeof rules : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
  const int ruleset = (int)syscall(444, &rules, size, 0u);
  if (ruleset < 0) return -errno;
  // Writing to /dev/null is no writing.
  (void)attune_landlock_allow(ruleset, "/dev/null", 1u << 1);
  for (int i = 0; i < count; i++) {
    const int status = attune_landlock_allow(ruleset, folders[i], files);
    if (status != 0) {
      *failed = i;
      close(ruleset);
      return status;
    }
  }
  const int status = syscall(446, ruleset, 0u) == 0 ? 0 : -errno;
  close(ruleset);
  return status;
#else
  (void)folders, (void)count, (void)network;
  return -ENOSYS;
#endif
}

// No program that is started from here on gains rights by being started.
static inline int attune_no_new_privileges(void) {
#if defined(__linux__)
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : -errno;
#else
  return -ENOSYS;
#endif
}

#endif
