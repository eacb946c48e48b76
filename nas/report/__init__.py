"""What a run found, as values; and as tables, figures and text made from them alone."""
