#define ATTUNE_ENTRY_NAME attune_entry_length
#include "../../rewards/length/length.c"
