"""What the operator of a test's service offers."""
