// Crashes before anything was asked of it.
#include <stdlib.h>

__attribute__((constructor)) static void start(void) { abort(); }
