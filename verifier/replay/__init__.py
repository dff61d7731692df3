"""An auditor replays: every attestation of a log judged again, from an export bundle and nothing else."""
