"""What a view answered, kept and given again: the rooms behind `@cached_completion`."""
