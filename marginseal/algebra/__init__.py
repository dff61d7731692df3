"""Fields, vectors, transforms and curves: the arithmetic under the proof."""
