#define ATTUNE_ENTRY_NAME attune_entry_iou
#include "../../rewards/iou/iou.c"
