"""What a study will do and need, said and checked before it starts."""
