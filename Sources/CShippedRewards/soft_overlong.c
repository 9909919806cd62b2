#define ATTUNE_ENTRY_NAME attune_entry_soft_overlong
#include "../../rewards/soft_overlong/soft_overlong.c"
