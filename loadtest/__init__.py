"""Long measurements, each one command; results go to `loadtest/results/`."""
