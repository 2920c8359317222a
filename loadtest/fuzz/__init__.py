"""Strange input for everything that takes input: in the process that reads it, and over HTTP."""
