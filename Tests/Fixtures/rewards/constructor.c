// What a library may do while it is loaded: the constructor's answers are the score's.
#include "attune_reward.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int socket_error, file_error;

__attribute__((constructor)) static void begin(void) {
  errno = 0;
  const int made = socket(AF_INET, SOCK_STREAM, 0);
  if (made < 0) socket_error = errno;
  const int file = open("/tmp/attune-constructor", O_WRONLY | O_CREAT, 0600);
  if (file < 0) file_error = errno;
}

ATTUNE_REWARD(constructor, "errors of the constructor") {
  attune_component_add(call, "socket", socket_error);
  attune_component_add(call, "file", file_error);
  return 1;
}
