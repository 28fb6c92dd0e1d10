"""From the members' probabilities to one vote."""
