// Goes wrong in the way that the completion asks for.
#include "attune_reward.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int is_damaged;

ATTUNE_REWARD(troubled, "what the completion says") {
  const char *wish = sample->completion.data;
  if (!strcmp(wish, "crash")) raise(SIGSEGV);
  if (!strcmp(wish, "null")) return *(volatile double *)NULL;
  if (!strcmp(wish, "exit")) _exit(3);
  if (!strcmp(wish, "exit 0")) exit(0);
  if (!strcmp(wish, "child exits")) {
    const pid_t child = fork();
    if (child == 0) exit(0);
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0 ? 1 : 0;
  }
  if (!strcmp(wish, "abort")) abort();
  if (!strcmp(wish, "hang"))
    for (;;) usleep(1000);
  if (!strcmp(wish, "hang until cancelled")) {
    while (!call->host->cancelled(call->host)) usleep(1000);
    call->outcome->status = ATTUNE_TIMED_OUT;
    attune_log(call, "saw the time");
    return 0;
  }
  // The state of a damaged heap, only reliable: what dies of it is not what did it.
  if (!strcmp(wish, "damage")) {
    is_damaged = 1;
    return attune_fail(call, "damaged");
  }
  if (!strcmp(wish, "frail") && is_damaged) abort();
  if (!strcmp(wish, "nan")) return attune_none();
  if (!strcmp(wish, "infinity")) return 1.0 / (double)(sample->completion.size - 8);
  if (!strcmp(wish, "fail")) return attune_fail(call, "asked to fail");
  if (!strcmp(wish, "invalid")) return attune_invalid(call, "asked to be invalid");
  if (!strcmp(wish, "status 77")) call->outcome->status = 77;
  if (!strcmp(wish, "garbage on the socket")) (void)!write(3, "this is no message at all", 25);
  return 0.25;
}
