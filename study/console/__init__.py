"""What a person sees of a study in a terminal."""
