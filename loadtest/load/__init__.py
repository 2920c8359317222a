"""How much a server bears, and what becomes of it when it gets more: question, `python -m loadtest.load --help`."""
