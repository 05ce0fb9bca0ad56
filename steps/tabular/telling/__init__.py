"""What a person reads: pictures, pages and tables."""
