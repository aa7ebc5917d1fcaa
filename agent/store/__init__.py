"""What was asked for: objects in memory, journalled to disk, and the ring of their changes."""
