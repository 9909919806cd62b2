// A program that starts threads, but no processes, and ends with the process that started it.
#ifndef ATTUNE_CONFINEMENT_SINGLE_PROCESS_H
#define ATTUNE_CONFINEMENT_SINGLE_PROCESS_H

#include "system_calls.h"
#include <signal.h>

// From here on this process, and the program that it becomes, starts no process: fork, vfork, and clone without CLONE_THREAD
// get EPERM. The limit RLIMIT_NPROC counts all processes of a user, and none of root's. 0 or -errno.
static inline int attune_refuse_processes(void) {
#if defined(ATTUNE_AUDIT_ARCHITECTURE)
  attune_filter f;
  f.count = 0;
  attune_filter_load(&f, -1);
#if defined(__x86_64__)
  attune_filter_refuse(&f, SYS_fork, EPERM);
  attune_filter_refuse(&f, SYS_vfork, EPERM);
#endif
  attune_filter_refuse(&f, 435, ENOSYS); // clone3
  attune_filter_add(&f, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_clone);
  attune_filter_return(&f, SECCOMP_RET_ALLOW);
  attune_filter_load(&f, 0);
  attune_filter_add(&f, BPF_JMP | BPF_JSET | BPF_K, 1, 0, 0x00010000u); // CLONE_THREAD
  attune_filter_return(&f, attune_filter_error(EPERM));
  attune_filter_return(&f, SECCOMP_RET_ALLOW);
  const struct sock_fprog program = {f.count, f.code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : -errno;
#else
  return -ENOSYS;
#endif
}

// This process is killed when the thread that started it ends. -ESRCH if that has happened already.
static inline int attune_end_with_parent(pid_t parent) {
#if defined(__linux__)
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return -errno;
  return getppid() == parent ? 0 : -ESRCH;
#else
  (void)parent;
  return 0;
#endif
}

#endif
