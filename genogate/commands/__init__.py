"""One file for each command: options, order of calls and printing together."""
