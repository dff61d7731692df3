"""HTTP to calls on the packages below; nothing below knows it exists."""
