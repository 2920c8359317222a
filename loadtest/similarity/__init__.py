"""Does what is found alike sound alike? Measured on real music, with labels and changed copies nobody tuned to."""
