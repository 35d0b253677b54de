"""How a formula becomes a program, for backends that compile. May change in a minor version."""
