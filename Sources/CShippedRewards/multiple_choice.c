#define ATTUNE_ENTRY_NAME attune_entry_multiple_choice
#include "../../rewards/multiple_choice/multiple_choice.c"
