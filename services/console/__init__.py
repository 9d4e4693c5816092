"""What a person sees: the supervisor behind `up`, the live table, what this installation is and lacks."""
