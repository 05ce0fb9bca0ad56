"""From a file to rows that keep to a contract."""
