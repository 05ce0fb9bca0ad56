"""Fingerprints, digests, receipts and their comparison; the code as git knows it."""
