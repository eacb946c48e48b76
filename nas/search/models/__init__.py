"""Models that strategies compute with: predicted costs, expected improvement, proposals, designs."""
