"""The dashboards of deploy/grafana, and the command that writes them there.

python -m loadtest.watching.dashboards
"""

import json
from pathlib import Path

from loadtest.watching.pages import identification, index, ingestion, overview, similarity

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "grafana"
DASHBOARDS = (overview.PAGE, identification.PAGE, ingestion.PAGE, index.PAGE, similarity.PAGE)


def texts() -> dict[str, str]:
    """The files, by name."""
    return {
        f"{each.name}.json": json.dumps(each.document(), indent=2, ensure_ascii=False) + "\n"
        for each in DASHBOARDS
    }


def main() -> None:
    """Write them."""
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
