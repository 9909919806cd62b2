// An entry that returns something else.
static int numbers[64] = {64, 1, 2, 3};
const void *attune_reward_entry(void);
const void *attune_reward_entry(void) { return numbers; }
