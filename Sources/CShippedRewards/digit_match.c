#define ATTUNE_ENTRY_NAME attune_entry_digit_match
#include "../../rewards/digit_match/digit_match.c"
