"""I have a terminal. What can fpserver do for me?

In: arguments. Out: words for people (or JSON for programs), and an exit status: 0 all well, 1 something was
not found or some files failed, 2 usage or settings, 3 the store or the server is not reached.
Invariant: an error that has a name is one line on standard error, never a traceback.
"""


def main() -> int:
    """The `fpserver` command."""
    from fpserver.cli.arguments import run  # noqa: PLC0415 – a door plate imports nothing

    return run()
