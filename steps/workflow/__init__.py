"""The workflow behind the entry points of `steps/`."""
