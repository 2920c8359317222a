"""fpserver: identify a few noisy seconds of sound against a catalogue of recordings."""
