"""The prover: witness, messages, proof."""
