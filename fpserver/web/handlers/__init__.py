"""One module per part of the API: each handler reads a request, walks one journey, and answers.

Invariant: a handler knows shapes and limits, never how anything is done.
"""
