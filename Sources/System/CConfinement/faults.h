// What a process was doing when a signal ended it, written down by its last act.
#ifndef ATTUNE_CONFINEMENT_FAULTS_H
#define ATTUNE_CONFINEMENT_FAULTS_H

#include "processes.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>

// Lies in memory that the host sees too.
typedef struct attune_fault {
  uint64_t signal;   // 0: none
  uint64_t kind;     // ATTUNE_FAULT_...
  uint64_t pages;    // of address space
} attune_fault;

enum {
  ATTUNE_FAULT_OTHER,
  ATTUNE_FAULT_IN_INPUTS,  // an access to the inputs that is not allowed
  ATTUNE_FAULT_IN_STACK,   // below the end of the stack
  ATTUNE_FAULT_AT_NULL,    // within the first page
  ATTUNE_FAULT_DESCRIPTORS // the worker's descriptors were closed
};

typedef struct attune_fault_watch {
  attune_fault *record;
  uintptr_t inputs, inputs_end, stack, stack_end;
} attune_fault_watch;

// One of a process.
static inline attune_fault_watch *attune_watched(void) {
  static attune_fault_watch watched;
  return &watched;
}

static inline void attune_on_fault(int number, siginfo_t *info, void *context) {
  (void)context;
  const attune_fault_watch *watched = attune_watched();
  attune_fault *record = watched->record;
  const uintptr_t place = (uintptr_t)info->si_addr;
  // A signal that was sent has no place.
  const int has_place = info->si_code > 0 && (number == SIGSEGV || number == SIGBUS);
  if (record && record->signal == 0) {
    record->kind = ATTUNE_FAULT_OTHER;
    if (has_place && info->si_code != 0x80) { // SI_KERNEL: an address that cannot be, reported as 0
      if (place >= watched->inputs && place < watched->inputs_end)
        record->kind = ATTUNE_FAULT_IN_INPUTS;
      else if (place >= watched->stack && place < watched->stack_end)
        record->kind = ATTUNE_FAULT_IN_STACK;
      else if (place < 4096)
        record->kind = ATTUNE_FAULT_AT_NULL;
    }
    record->pages = attune_address_space();
    record->signal = (uint64_t)number;
  }
  // The instruction is run again, or the signal sent again, and then ends the process as if nobody had looked.
  signal(number, SIG_DFL);
  if (!has_place) raise(number);
}

// Watches over the calling thread. `inputs` may not be written. The stack may be used up: there is another for the watch.
static inline int attune_watch_faults(attune_fault *record, const void *inputs, size_t size) {
  attune_fault_watch *watched = attune_watched();
  watched->record = record;
  watched->inputs = (uintptr_t)inputs;
  watched->inputs_end = (uintptr_t)inputs + size;
#if defined(__linux__)
  pthread_attr_t attributes;
  void *low = NULL;
  size_t bytes = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstack(&attributes, &low, &bytes);
    pthread_attr_destroy(&attributes);
  }
  const uintptr_t end = (uintptr_t)low;
#else
  const uintptr_t end = (uintptr_t)pthread_get_stackaddr_np(pthread_self()) - pthread_get_stacksize_np(pthread_self());
#endif
  // The kernel keeps a gap of 1 MiB below a growing stack; what lies in it was meant to be stack.
  watched->stack = end > (1u << 20) ? end - (1u << 20) : end;
  watched->stack_end = end + (1u << 16);
  const size_t room = 1u << 16;
  stack_t other;
  memset(&other, 0, sizeof other);
  other.ss_sp = malloc(room);
  other.ss_size = room;
  if (!other.ss_sp || sigaltstack(&other, NULL) != 0) return -errno;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = attune_on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGTRAP, SIGFPE};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], &action, NULL) != 0) return -errno;
  return 0;
}

#endif
