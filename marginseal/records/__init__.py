"""What the parties sign and commit to."""
