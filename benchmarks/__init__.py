"""Where the README's figures come from; each prints a peer beside us in the same run."""
