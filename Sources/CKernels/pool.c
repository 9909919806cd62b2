// The worker pool. Chunks are claimed by compare-and-swap from one word, `generation << 32 | next chunk`, so that a thread
// that wakes late can only claim chunks of the job that is running now. Threads spin for a while before they sleep on a
// futex; waking a sleeping thread of a virtual machine costs as much as a small job.
#define _GNU_SOURCE
#include "attune_kernels.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { spins = 4000 };
static const uint32_t closed = 0xffffffffu;

struct atk_pool {
  _Alignas(64) _Atomic uint64_t ticket;  // generation << 32 | next chunk
  _Alignas(64) _Atomic uint32_t done;    // chunks of this generation that are finished
  _Alignas(64) _Atomic uint32_t wake;    // changes with every job; what sleepers wait on
  _Atomic uint32_t sleepers;
  _Atomic bool stop;
  _Atomic(atk_chunk) run;
  _Atomic(void *) context;
  _Atomic size_t chunks;
  size_t threads;
  size_t started;
  pthread_t *handles;
  struct worker {
    atk_pool *pool;
    size_t index;
  } *workers;
#if !defined(__linux__)
  pthread_mutex_t mutex;
  pthread_cond_t condition;
#endif
};

static inline void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void sleep_until_change(atk_pool *p, uint32_t seen) {
  atomic_fetch_add(&p->sleepers, 1);
#if defined(__linux__)
  if (atomic_load(&p->wake) == seen) syscall(SYS_futex, &p->wake, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
#else
  pthread_mutex_lock(&p->mutex);
  while (atomic_load(&p->wake) == seen && !atomic_load(&p->stop)) pthread_cond_wait(&p->condition, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
#endif
  atomic_fetch_sub(&p->sleepers, 1);
}

static void wake_all(atk_pool *p) {
#if defined(__linux__)
  atomic_fetch_add(&p->wake, 1);
  if (atomic_load(&p->sleepers)) syscall(SYS_futex, &p->wake, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
#else
  pthread_mutex_lock(&p->mutex);
  atomic_fetch_add(&p->wake, 1);
  pthread_cond_broadcast(&p->condition);
  pthread_mutex_unlock(&p->mutex);
#endif
}

// Claims and runs chunks of the current job until none is left.
static void work(atk_pool *p, size_t worker) {
  for (;;) {
    uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    uint32_t next = (uint32_t)t;
    if (next == closed) return;
    // The job's fields are read before the claim: a successful swap proves that they belonged to this generation.
    atk_chunk run = atomic_load_explicit(&p->run, memory_order_relaxed);
    void *context = atomic_load_explicit(&p->context, memory_order_relaxed);
    size_t chunks = atomic_load_explicit(&p->chunks, memory_order_relaxed);
    if (next >= chunks) return;
    if (!atomic_compare_exchange_weak_explicit(&p->ticket, &t, t + 1, memory_order_acq_rel, memory_order_acquire)) continue;
    run(context, next, worker);
    atomic_fetch_add_explicit(&p->done, 1, memory_order_release);
  }
}

static void *thread_main(void *argument) {
  struct worker *w = argument;
  atk_pool *p = w->pool;
  uint32_t seen = 0;
  for (;;) {
    uint32_t now = atomic_load_explicit(&p->wake, memory_order_acquire);
    for (int i = 0; now == seen && i < spins; i++) {
      pause_briefly();
      now = atomic_load_explicit(&p->wake, memory_order_acquire);
    }
    if (now == seen) {
      sleep_until_change(p, seen);
      now = atomic_load(&p->wake);
    }
    if (atomic_load(&p->stop)) return NULL;
    if (now == seen) continue;
    seen = now;
    work(p, w->index);
  }
}

atk_pool *atk_pool_create(size_t threads) {
  if (threads < 1) threads = 1;
  void *memory = NULL;
  if (posix_memalign(&memory, 64, sizeof(atk_pool))) return NULL;
  atk_pool *p = memory;
  memset(p, 0, sizeof *p);
  atomic_store(&p->ticket, (uint64_t)closed);
  p->threads = threads;
#if !defined(__linux__)
  pthread_mutex_init(&p->mutex, NULL);
  pthread_cond_init(&p->condition, NULL);
#endif
  p->handles = calloc(threads, sizeof *p->handles);
  p->workers = calloc(threads, sizeof *p->workers);
  if (!p->handles || !p->workers) {
    atk_pool_destroy(p);
    return NULL;
  }
  for (size_t i = 1; i < threads; i++) {
    p->workers[i] = (struct worker){p, i};
    if (pthread_create(&p->handles[i], NULL, thread_main, &p->workers[i])) {
      atk_pool_destroy(p);
      return NULL;
    }
    p->started = i;
  }
  return p;
}

void atk_pool_destroy(atk_pool *p) {
  if (!p) return;
  atomic_store(&p->stop, true);
  wake_all(p);
  for (size_t i = 1; i <= p->started; i++) pthread_join(p->handles[i], NULL);
  free(p->handles);
  free(p->workers);
  free(p);
}

size_t atk_pool_threads(const atk_pool *p) { return p->threads; }

void atk_pool_run(atk_pool *p, atk_chunk run, void *context, size_t chunks) {
  if (p->threads == 1 || chunks <= 1) {
    for (size_t i = 0; i < chunks; i++) run(context, i, 0);
    return;
  }
  uint64_t generation = (atomic_load(&p->ticket) >> 32) + 1;
  // Close the old job before its fields change, or a late thread could claim a chunk of a job that is half written.
  atomic_store(&p->ticket, (generation << 32) | closed);
  atomic_store_explicit(&p->run, run, memory_order_relaxed);
  atomic_store_explicit(&p->context, context, memory_order_relaxed);
  atomic_store_explicit(&p->chunks, chunks, memory_order_relaxed);
  atomic_store(&p->done, 0);
  atomic_store_explicit(&p->ticket, (generation + 1) << 32, memory_order_release);
  wake_all(p);
  work(p, 0);
  while (atomic_load_explicit(&p->done, memory_order_acquire) < chunks) pause_briefly();
  atomic_store(&p->ticket, ((generation + 1) << 32) | closed);
}
