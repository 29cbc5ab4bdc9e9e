"""What tasks on speech share: corpora, waveforms as examples, and who holds which."""
