// A library without the entry function.
int something_else(void);
int something_else(void) { return 1; }
