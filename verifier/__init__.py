"""The protocol as the verifier sees it, small enough to audit in an afternoon: `verify` is the box, `rounds`,
`messages`, `identities`, `collapse`, `sizes` its parts, `batch` many proofs at once, `claims` what is claimed.

What venues and auditors make of it are rooms of their own, `decision` and `replay`; both read a log by `log_index` and
`log_epoch` and believe whom a `policy` names.
"""
