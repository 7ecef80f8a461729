"""Speech enhancement: noisy speech, energies and gains of bands, resynthesis, measures."""
