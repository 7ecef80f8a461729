"""Range reduction, softmax and normalisation as components."""
