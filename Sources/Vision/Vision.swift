// The room is furnished from here.
