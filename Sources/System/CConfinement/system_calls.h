// A seccomp filter: system calls that a reward's worker, and what it starts, has no use for. See
// Documentation/userspace-api/seccomp_filter.rst of the Linux kernel.
#ifndef ATTUNE_CONFINEMENT_SYSTEM_CALLS_H
#define ATTUNE_CONFINEMENT_SYSTEM_CALLS_H

#include "processes.h"

#if defined(__linux__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#endif

#if defined(__linux__) && defined(__x86_64__)
#define ATTUNE_AUDIT_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__linux__) && defined(__aarch64__)
#define ATTUNE_AUDIT_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

// True if the kernel filters system calls on this processor.
static inline int attune_seccomp_available(void) {
#if defined(ATTUNE_AUDIT_ARCHITECTURE)
  const uint32_t action = SECCOMP_RET_KILL_PROCESS;
  return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
#else
  return 0;
#endif
}

#if defined(ATTUNE_AUDIT_ARCHITECTURE)

typedef struct attune_filter {
  struct sock_filter code[640];
  unsigned short count;
} attune_filter;

static inline void attune_filter_add(attune_filter *f, uint16_t code, uint8_t yes, uint8_t no, uint32_t k) {
  const struct sock_filter instruction = {code, yes, no, k};
  if (f->count < sizeof f->code / sizeof *f->code) f->code[f->count++] = instruction;
}

// The low half of an argument, or the number of the call for -1.
static inline void attune_filter_load(attune_filter *f, int argument) {
  const size_t place = argument < 0 ? offsetof(struct seccomp_data, nr)
                                    : offsetof(struct seccomp_data, args) + 8 * (size_t)argument;
  attune_filter_add(f, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)place);
}

static inline void attune_filter_return(attune_filter *f, uint32_t what) {
  attune_filter_add(f, BPF_RET | BPF_K, 0, 0, what);
}

static inline uint32_t attune_filter_error(int error) { return SECCOMP_RET_ERRNO | (uint32_t)error; }

// Refuses a call altogether.
static inline void attune_filter_refuse(attune_filter *f, int call, int error) {
  attune_filter_add(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)call);
  attune_filter_return(f, attune_filter_error(error));
}

// Calls that change the system, look into other processes, or reach around the limits of this one.
static inline void attune_filter_refuse_all(attune_filter *f, int network) {
#define ATTUNE_REFUSE(NAME) attune_filter_refuse(f, SYS_##NAME, EPERM)
  // Other processes.
  ATTUNE_REFUSE(ptrace);
  ATTUNE_REFUSE(process_vm_readv);
  ATTUNE_REFUSE(process_vm_writev);
  ATTUNE_REFUSE(kcmp);
  ATTUNE_REFUSE(migrate_pages);
  ATTUNE_REFUSE(move_pages);
  ATTUNE_REFUSE(sched_setscheduler);
  ATTUNE_REFUSE(sched_setparam);
  ATTUNE_REFUSE(sched_setattr);
  ATTUNE_REFUSE(sched_setaffinity);
  ATTUNE_REFUSE(setpriority);
  ATTUNE_REFUSE(ioprio_set);
  attune_filter_refuse(f, 438, EPERM); // pidfd_getfd
  attune_filter_refuse(f, 440, EPERM); // process_madvise
  attune_filter_refuse(f, 448, EPERM); // process_mrelease
  // What a worker starts ends with its process group.
  ATTUNE_REFUSE(setsid);
  ATTUNE_REFUSE(setpgid);
  ATTUNE_REFUSE(setrlimit);
  // The system.
  ATTUNE_REFUSE(mount);
  ATTUNE_REFUSE(umount2);
  ATTUNE_REFUSE(pivot_root);
  ATTUNE_REFUSE(chroot);
  for (int call = 428; call <= 433; call++) attune_filter_refuse(f, call, EPERM); // open_tree, move_mount, fsopen to fspick
  attune_filter_refuse(f, 442, EPERM); // mount_setattr
  ATTUNE_REFUSE(swapon);
  ATTUNE_REFUSE(swapoff);
  ATTUNE_REFUSE(quotactl);
  attune_filter_refuse(f, 443, EPERM); // quotactl_fd
  ATTUNE_REFUSE(acct);
  ATTUNE_REFUSE(reboot);
  ATTUNE_REFUSE(kexec_load);
#if defined(SYS_kexec_file_load)
  ATTUNE_REFUSE(kexec_file_load);
#endif
  ATTUNE_REFUSE(init_module);
  ATTUNE_REFUSE(finit_module);
  ATTUNE_REFUSE(delete_module);
  ATTUNE_REFUSE(syslog);
  ATTUNE_REFUSE(settimeofday);
  ATTUNE_REFUSE(clock_settime);
  ATTUNE_REFUSE(clock_adjtime);
  ATTUNE_REFUSE(adjtimex);
  ATTUNE_REFUSE(sethostname);
  ATTUNE_REFUSE(setdomainname);
  ATTUNE_REFUSE(vhangup);
  ATTUNE_REFUSE(personality);
  ATTUNE_REFUSE(unshare);
  ATTUNE_REFUSE(setns);
  ATTUNE_REFUSE(bpf);
  ATTUNE_REFUSE(perf_event_open);
  ATTUNE_REFUSE(userfaultfd);
  ATTUNE_REFUSE(add_key);
  ATTUNE_REFUSE(request_key);
  ATTUNE_REFUSE(keyctl);
  ATTUNE_REFUSE(fanotify_init);
  ATTUNE_REFUSE(name_to_handle_at);
  ATTUNE_REFUSE(open_by_handle_at);
  for (int call = 425; call <= 427; call++) attune_filter_refuse(f, call, EPERM); // io_uring_setup, _enter, _register
  // Memory that outlives a process, or that its limit does not count.
  ATTUNE_REFUSE(shmget);
  ATTUNE_REFUSE(shmat);
  ATTUNE_REFUSE(shmctl);
  ATTUNE_REFUSE(msgget);
  ATTUNE_REFUSE(semget);
  ATTUNE_REFUSE(mq_open);
  attune_filter_refuse(f, 447, EPERM); // memfd_secret
  // What is written about files, which Landlock does not look after.
  ATTUNE_REFUSE(fchmod);
  ATTUNE_REFUSE(fchmodat);
  attune_filter_refuse(f, 452, EPERM); // fchmodat2
  ATTUNE_REFUSE(fchown);
  ATTUNE_REFUSE(fchownat);
  ATTUNE_REFUSE(utimensat);
  ATTUNE_REFUSE(setxattr);
  ATTUNE_REFUSE(lsetxattr);
  ATTUNE_REFUSE(fsetxattr);
  ATTUNE_REFUSE(removexattr);
  ATTUNE_REFUSE(lremovexattr);
  ATTUNE_REFUSE(fremovexattr);
#if defined(__x86_64__)
  ATTUNE_REFUSE(chmod);
  ATTUNE_REFUSE(chown);
  ATTUNE_REFUSE(lchown);
  ATTUNE_REFUSE(utime);
  ATTUNE_REFUSE(utimes);
  ATTUNE_REFUSE(futimesat);
  ATTUNE_REFUSE(iopl);
  ATTUNE_REFUSE(ioperm);
  ATTUNE_REFUSE(uselib);
  ATTUNE_REFUSE(modify_ldt);
#endif
  // Its arguments lie in memory, where a filter cannot look; the C library falls back on clone.
  attune_filter_refuse(f, 435, ENOSYS); // clone3
  if (!network) {
    ATTUNE_REFUSE(socket);
    ATTUNE_REFUSE(socketpair);
    ATTUNE_REFUSE(connect);
    ATTUNE_REFUSE(bind);
    ATTUNE_REFUSE(listen);
    ATTUNE_REFUSE(accept);
    ATTUNE_REFUSE(accept4);
  }
#undef ATTUNE_REFUSE
}

// Refuses the call unless the argument is one of the values.
static inline void attune_filter_argument(
    attune_filter *f, int call, int argument, const uint32_t *values, int count, int error) {
  attune_filter_add(f, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)(count + 3), (uint32_t)call);
  attune_filter_load(f, argument);
  for (int i = 0; i < count; i++)
    attune_filter_add(f, BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(count - i), 0, values[i]);
  attune_filter_return(f, attune_filter_error(error));
  attune_filter_return(f, SECCOMP_RET_ALLOW);
}

// Refuses the call if the argument has one of the bits.
static inline void attune_filter_bits(attune_filter *f, int call, int argument, uint32_t bits, int error) {
  attune_filter_add(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)call);
  attune_filter_load(f, argument);
  attune_filter_add(f, BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
  attune_filter_return(f, attune_filter_error(error));
  attune_filter_return(f, SECCOMP_RET_ALLOW);
}

// Refuses the call if the argument is the value.
static inline void attune_filter_value(attune_filter *f, int call, int argument, uint32_t value, int error) {
  attune_filter_add(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)call);
  attune_filter_load(f, argument);
  attune_filter_add(f, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
  attune_filter_return(f, attune_filter_error(error));
  attune_filter_load(f, -1);
}

#endif

// From here on all threads of this process, and what they start, make no system call of the list: they get EPERM. Calls of
// another processor's convention kill. `signals` 0: only this process itself is signalled, for kernels whose Landlock does
// not see to that. 0 or -errno.
static inline int attune_filter_system_calls(int network, int signals) {
#if defined(ATTUNE_AUDIT_ARCHITECTURE)
  attune_filter f;
  f.count = 0;
  attune_filter_add(&f, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, arch));
  attune_filter_add(&f, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ATTUNE_AUDIT_ARCHITECTURE);
  attune_filter_return(&f, SECCOMP_RET_KILL_PROCESS);
  attune_filter_load(&f, -1);
#if defined(__x86_64__)
  // The convention of 32-bit pointers.
  attune_filter_add(&f, BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000u);
  attune_filter_return(&f, SECCOMP_RET_KILL_PROCESS);
#endif
  // Calls that came after mseal are not known here.
  attune_filter_add(&f, BPF_JMP | BPF_JGT | BPF_K, 0, 1, 462);
  attune_filter_return(&f, attune_filter_error(ENOSYS));
  attune_filter_refuse_all(&f, network);
  if (network) {
    // Unix, IPv4, IPv6, netlink (asked by getaddrinfo).
    const uint32_t families[4] = {1, 2, 10, 16};
    attune_filter_argument(&f, SYS_socket, 0, families, 4, EPERM);
  }
  // New namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
  attune_filter_bits(&f, SYS_clone, 0, 0x7E020000u, EPERM);
  // Reading limits is allowed, setting them is not: the new ones' address is 0 in both halves.
  attune_filter_add(&f, BPF_JMP | BPF_JEQ | BPF_K, 0, 6, SYS_prlimit64);
  attune_filter_load(&f, 2);
  attune_filter_add(&f, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0);
  attune_filter_add(&f, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offsetof(struct seccomp_data, args) + 20);
  attune_filter_add(&f, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
  attune_filter_return(&f, attune_filter_error(EPERM));
  attune_filter_load(&f, -1);
  // Typing into the terminal that the program was started from: TIOCSTI and TIOCLINUX.
  attune_filter_value(&f, SYS_ioctl, 1, 0x5412, EPERM);
  attune_filter_value(&f, SYS_ioctl, 1, 0x541C, EPERM);
  if (!signals) {
    const uint32_t own[1] = {(uint32_t)getpid()}, own_or_group[2] = {(uint32_t)getpid(), 0};
    attune_filter_argument(&f, SYS_kill, 0, own_or_group, 2, EPERM);
    attune_filter_argument(&f, SYS_tgkill, 0, own, 1, EPERM);
    attune_filter_argument(&f, SYS_rt_sigqueueinfo, 0, own, 1, EPERM);
    attune_filter_argument(&f, SYS_rt_tgsigqueueinfo, 0, own, 1, EPERM);
    attune_filter_refuse(&f, SYS_tkill, EPERM);
    attune_filter_refuse(&f, 424, EPERM); // pidfd_send_signal
  }
  attune_filter_return(&f, SECCOMP_RET_ALLOW);
  const struct sock_fprog program = {f.count, f.code};
  const long status = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  return status == 0 ? 0 : status > 0 ? -EBUSY : -errno;
#else
  (void)network, (void)signals;
  return -ENOSYS;
#endif
}

#endif
