"""What the suites share: a hub of their own, streams read without a library, a proxy that cuts, other people's clients."""
