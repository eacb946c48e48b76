"""What scores of untrained networks tell of trained ones, and what a search gains by them."""
