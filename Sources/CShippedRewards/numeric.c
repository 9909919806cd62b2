#define ATTUNE_ENTRY_NAME attune_entry_numeric
#include "../../rewards/numeric/numeric.c"
