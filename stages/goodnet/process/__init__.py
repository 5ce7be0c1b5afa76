"""What commands do to their process: errors in one line, flags, a guard on what a stage starts from."""
