"""Networks with choices in them, one per file. Add your own: see ``README.md`` beside this file."""
