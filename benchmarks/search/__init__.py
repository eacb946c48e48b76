"""How few evaluations a search needs to reach a front that is known: ours and what a user would pick instead."""
