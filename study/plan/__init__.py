"""What a study will do and need: described, estimated and checked before it starts."""
