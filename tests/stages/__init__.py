"""A package, because some of its modules are named as those above it."""
