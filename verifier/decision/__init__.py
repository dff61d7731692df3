"""A venue decides: what an attestation and the log say, held against the venue's policy."""
