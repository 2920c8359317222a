"""What strangers do to a server, and what it costs those who are served: see `__main__`."""
