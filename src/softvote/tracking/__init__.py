"""What was submitted, and how it did."""
