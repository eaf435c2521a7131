"""One process of the operating system: its identity, signals, memory and garbage collector."""
