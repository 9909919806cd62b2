// Raw system calls for worker processes: what the C library has no functions for, or only in newer versions. Elsewhere
// than on Linux everything here answers -ENOSYS.
#ifndef ATTUNE_CONFINEMENT_SHIM_H
#define ATTUNE_CONFINEMENT_SHIM_H

#include "processes.h"
#include "landlock.h"
#include "system_calls.h"
#include "faults.h"
#include "single_process.h"

#endif
