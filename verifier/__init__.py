"""The protocol as the verifier sees it; small enough to audit in an afternoon."""
