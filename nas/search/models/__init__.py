"""What a strategy computes with: predicted costs, what candidates would add, proposals, designs."""
