"""A study whose file is broken."""

raise RuntimeError("no data on this machine")
