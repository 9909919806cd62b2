// Does what the completion asks for, and says what became of it.
#include "attune_reward.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

static volatile int depth;

static int recurse(int n) {
  volatile char room[4096];
  memset((char *)room, n, sizeof room);
  depth = n;
  const int below = recurse(n + 1);
  return below + room[n & 4095];
}

static void *scribble(void *place) {
  for (;;) memset(place, 0xFF, 1 << 21);
  return NULL;
}

static void *nothing(void *place) {
  *(int *)place = 7;
  return NULL;
}

// The writable memory that is shared with the host.
static void *shared_memory(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  unsigned long start = 0;
  while (maps && fgets(line, sizeof line, maps))
    if (strstr(line, "rw-s") && sscanf(line, "%lx", &start) == 1) break;
  if (maps) fclose(maps);
  return (void *)start;
}

// The error of a call, as the log line; 1 if there was none.
static double outcome_of(const attune_call *call, long status) {
  if (status >= 0) return 1;
  attune_log(call, strerror(errno));
  return 0.5;
}

ATTUNE_REWARD(hostile, "what the completion says") {
  const char *wish = sample->completion.data;
  if (!strcmp(wish, "stack")) return recurse(0);
  if (!strcmp(wish, "leak"))
    for (;;) {
      char *more = (char *)malloc(1 << 20);
      if (!more) abort();
      memset(more, 1, 1 << 20);
    }
  if (!strcmp(wish, "input")) ((char *)(size_t)sample->completion.data)[0] = 'x';
  if (!strcmp(wish, "struct")) ((attune_sample *)(size_t)sample)->group_size = 0;
  if (!strcmp(wish, "children")) {
    pid_t child = 0;
    for (int i = 0; i < 8; i++)
      if ((child = fork()) == 0)
        for (;;) pause();
    attune_component_add(call, "child", child);
  }
  if (!strcmp(wish, "grandchild")) {
    int ends[2];
    pid_t grandchild = 0;
    if (pipe(ends) != 0) return 0;
    if (fork() == 0) {
      if ((grandchild = fork()) == 0)
        for (;;) {}
      (void)!write(ends[1], &grandchild, sizeof grandchild);
      _exit(0);
    }
    (void)!read(ends[0], &grandchild, sizeof grandchild);
    close(ends[0]);
    close(ends[1]);
    attune_component_add(call, "child", grandchild);
  }
  if (!strcmp(wish, "orphan and crash")) {
    if (fork() == 0)
      for (;;) pause();
    raise(SIGSEGV);
  }
  if (!strcmp(wish, "socket")) return outcome_of(call, socket(AF_INET, SOCK_STREAM, 0));
  if (!strncmp(wish, "write ", 6)) {
    const int file = open(wish + 6, O_WRONLY | O_CREAT, 0600);
    if (file < 0) return outcome_of(call, -1);
    return outcome_of(call, write(file, "x", 1));
  }
  if (!strncmp(wish, "remove ", 7)) return outcome_of(call, unlink(wish + 7));
  if (!strncmp(wish, "mode ", 5)) return outcome_of(call, chmod(wish + 5, 0777));
  if (!strncmp(wish, "read ", 5)) return outcome_of(call, open(wish + 5, O_RDONLY));
  if (!strcmp(wish, "kill the host")) return outcome_of(call, kill(getppid(), SIGTERM));
  if (!strcmp(wish, "leave the group")) return outcome_of(call, setsid());
  if (!strcmp(wish, "raise a limit")) {
    const struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    return outcome_of(call, setrlimit(RLIMIT_AS, &limit));
  }
#if defined(__linux__)
  if (!strcmp(wish, "trace")) return outcome_of(call, syscall(SYS_ptrace, 16, getppid(), NULL, NULL));
  if (!strcmp(wish, "namespace")) return outcome_of(call, syscall(SYS_unshare, 0x10000000));
  if (!strcmp(wish, "a call of tomorrow")) return outcome_of(call, syscall(1000));
#endif
  if (!strcmp(wish, "close everything"))
    for (int file = 0; file < 256; file++) close(file);
  if (!strcmp(wish, "scribble")) {
    pthread_t thread;
    void *place = shared_memory();
    if (place) pthread_create(&thread, NULL, scribble, place);
    usleep(20000);
  }
  if (!strcmp(wish, "thread")) {
    pthread_t thread;
    int seen = 0;
    if (pthread_create(&thread, NULL, nothing, &seen) == 0) pthread_join(thread, NULL);
    return seen;
  }
  if (!strcmp(wish, "noise")) {
    char line[1024];
    memset(line, '.', sizeof line);
    for (int i = 0; i < 4096; i++) (void)!write(2, line, sizeof line);
  }
  if (!strcmp(wish, "last words")) {
    fputs("the horse does not eat cucumber salad\n", stderr);
    abort();
  }
  if (!strcmp(wish, "counts")) {
    call->outcome->component_count = (size_t)-1;
    call->outcome->components = (const attune_component *)(size_t)sample;
  }
  if (!strcmp(wish, "counts at NULL")) call->outcome->token_reward_count = 3;
  if (!strcmp(wish, "error frame")) {
    // A well-formed message that only a worker sends: magic, kind "error", length, a text.
    const unsigned words[4] = {0x52465441u, 36, 16, 0};
    const unsigned long long text[2] = {2, 0x7D7B};
    (void)!write(3, words, sizeof words);
    (void)!write(3, text, sizeof text);
    usleep(20000);
  }
  return 0.25;
}
