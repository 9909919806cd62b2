#define ATTUNE_ENTRY_NAME attune_entry_repetition
#include "../../rewards/repetition/repetition.c"
