"""Files: where they lie, and how they are written, locked and read again."""
