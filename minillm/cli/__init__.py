"""The `minillm` command."""
