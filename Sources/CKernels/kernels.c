#include "attune_kernels.h"
