#define ATTUNE_ENTRY_NAME attune_entry_exact_match
#include "../../rewards/exact_match/exact_match.c"
