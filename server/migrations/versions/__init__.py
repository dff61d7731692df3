"""One file a version, never changed after a release."""
