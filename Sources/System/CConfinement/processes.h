// Limits, descriptors and shared memory.
#ifndef ATTUNE_CONFINEMENT_PROCESSES_H
#define ATTUNE_CONFINEMENT_PROCESSES_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#endif

enum { ATTUNE_LIMIT_CORE, ATTUNE_LIMIT_FILE_SIZE, ATTUNE_LIMIT_OPEN_FILES, ATTUNE_LIMIT_ADDRESS_SPACE };

// Limits this process for good; a limit that is lower already stays.
static inline int attune_set_limit(int which, uint64_t value) {
  struct rlimit now, wanted = {(rlim_t)value, (rlim_t)value};
#define ATTUNE_SET_LIMIT(RESOURCE)                                                                                     \
  do {                                                                                                                 \
    if (getrlimit(RESOURCE, &now) != 0) return -errno;                                                                 \
    if (now.rlim_max < wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max = now.rlim_max;                              \
    return setrlimit(RESOURCE, &wanted) == 0 ? 0 : -errno;                                                             \
  } while (0)
  switch (which) {
  case ATTUNE_LIMIT_CORE: ATTUNE_SET_LIMIT(RLIMIT_CORE);
  case ATTUNE_LIMIT_FILE_SIZE: ATTUNE_SET_LIMIT(RLIMIT_FSIZE);
  case ATTUNE_LIMIT_OPEN_FILES: ATTUNE_SET_LIMIT(RLIMIT_NOFILE);
  case ATTUNE_LIMIT_ADDRESS_SPACE: ATTUNE_SET_LIMIT(RLIMIT_AS);
  }
#undef ATTUNE_SET_LIMIT
  return -EINVAL;
}

// Lets a child of this process use so many more seconds of processor time from now on.
static inline int attune_grant_cpu_time(pid_t process, uint64_t seconds) {
#if defined(__linux__)
  clockid_t clock;
  struct timespec used;
  const int status = clock_getcpuclockid(process, &clock);
  if (status != 0) return -status;
  if (clock_gettime(clock, &used) != 0) return -errno;
  // What the kernel calls rlimit64.
  struct {
    uint64_t now, most;
  } limit;
  if (syscall(SYS_prlimit64, process, RLIMIT_CPU, NULL, &limit) != 0) return -errno;
  const uint64_t wanted = (uint64_t)used.tv_sec + seconds;
  limit.now = limit.most < wanted ? limit.most : wanted;
  return syscall(SYS_prlimit64, process, RLIMIT_CPU, &limit, NULL) == 0 ? 0 : -errno;
#else
  (void)process, (void)seconds;
  return -ENOSYS;
#endif
}

// Processes that are started below this one and lose their parent become children of this one.
static inline void attune_adopt_orphans(void) {
#if defined(__linux__)
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
#endif
}

// Closes every descriptor from `first` on.
static inline void attune_close_from(int first) {
#if defined(__linux__) && defined(SYS_close_range)
  if (syscall(SYS_close_range, (unsigned)first, ~0u, 0) == 0) return;
#endif
  const long open_max = sysconf(_SC_OPEN_MAX);
  const int end = open_max > 0 && open_max < 65536 ? (int)open_max : 65536;
  for (int file = first; file < end; file++) close(file);
}

// A file of `size` zero bytes that has no name; -errno if there can be none. `*reader` is a second descriptor of it that
// cannot write, or -1.
static inline int attune_anonymous_file(const char *name, const char *folder, size_t size, int *reader) {
  int file = -1;
  *reader = -1;
#if defined(__linux__) && defined(SYS_memfd_create)
  (void)folder;
  // MFD_CLOEXEC | MFD_ALLOW_SEALING
  file = (int)syscall(SYS_memfd_create, name, 3u);
  if (file < 0) return -errno;
  char path[40] = "/proc/self/fd/";
  char digits[12];
  int count = 0;
  for (int rest = file; count == 0 || rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
  for (int i = 0; i < count; i++) path[14 + i] = digits[count - 1 - i];
  path[14 + count] = 0;
  *reader = open(path, O_RDONLY | O_CLOEXEC);
#else
  char path[1024];
  const char *parts[3] = {folder, "/", name};
  size_t length = 0;
  for (int part = 0; part < 3; part++)
    for (const char *c = parts[part]; *c && length < sizeof path - 8; c++) path[length++] = *c;
  for (int i = 0; i < 6; i++) path[length++] = 'X';
  path[length] = 0;
  file = mkstemp(path);
  if (file < 0) return -errno;
  fcntl(file, F_SETFD, FD_CLOEXEC);
  *reader = open(path, O_RDONLY | O_CLOEXEC);
  unlink(path);
#endif
  if (ftruncate(file, (off_t)size) != 0) {
    const int status = -errno;
    close(file);
    if (*reader >= 0) close(*reader);
    return status;
  }
  return file;
}

// The file keeps its size, so that no reader meets its end; with `writers` 0 only mappings that are there already can
// write to it. 0 or -errno.
static inline int attune_seal(int file, int writers) {
#if defined(__linux__)
  // F_ADD_SEALS; F_SEAL_SEAL 1, F_SEAL_SHRINK 2, F_SEAL_GROW 4, F_SEAL_FUTURE_WRITE 16.
  if (fcntl(file, 1033, 1 | 2 | 4 | (writers ? 0 : 16)) == 0) return 0;
  // Before Linux 5.1 only the size is kept, and that a reader's descriptor cannot write.
  return errno == EINVAL && fcntl(file, 1033, 1 | 2 | 4) == 0 ? 0 : -errno;
#else
  (void)file, (void)writers;
  return -ENOSYS;
#endif
}

static inline void *attune_map(int file, size_t size, int writable) {
  int flags = MAP_SHARED;
#if defined(MAP_NORESERVE)
  flags |= MAP_NORESERVE;
#endif
  void *memory = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), flags, file, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

// Pages of address space that this process takes, or 0.
static inline uint64_t attune_address_space(void) {
#if defined(__linux__)
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[64];
  const ssize_t got = read(file, text, sizeof text);
  close(file);
  uint64_t pages = 0;
  for (ssize_t i = 0; i < got && text[i] >= '0' && text[i] <= '9'; i++) pages = pages * 10 + (uint64_t)(text[i] - '0');
  return pages;
#else
  return 0;
#endif
}

#endif
