"""The walk: every verb that changes something, met by a fault at each of its steps."""
