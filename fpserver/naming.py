"""Which track a row of a table means: the one of its `track_id`, else the one of its `external_id`.

External ids are the caller's: nobody keeps two tracks from having the same. Then a row that names it means neither.
"""

from collections.abc import Sequence

from fpserver.services import Services
from fpserver.tables import Row
from fpserver.terms import MAX_TRACK_ID

NAMES = ("track_id", "external_id")  # columns
SEVERAL = 0
SHOWN_CHARS = 100  # of what somebody has written


class Naming:
    """The names of a catalogue's tracks."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._by_external_id: dict[str, int] | None = None  # read when it is first needed

    async def tracks(self, rows: Sequence[Row]) -> list[int | str]:
        """The track of each row, or why there is none.

        Raises:
            StoreUnavailable: repeat it later.
        """
        meant = [await self._meant(row) for row in rows]
        absent = await self._services.tracks.missing({each for each in meant if isinstance(each, int)})
        return [f"there is no track {each}" if each in absent else each for each in meant]

    async def _meant(self, row: Row) -> int | str:
        if written := row.cells.get("track_id"):
            if written.isascii() and written.isdigit() and 0 < int(written[:20]) <= MAX_TRACK_ID:
                return int(written)
            return f"track_id is {written[:SHOWN_CHARS]!r}, must be a whole number from 1 to {MAX_TRACK_ID}"
        external_id = row.cells.get("external_id")
        if not external_id:
            return f"the row names no track: {' and '.join(n for n in NAMES if n in row.cells)} empty"
        if self._by_external_id is None:
            self._by_external_id = await self._read()
        track_id = self._by_external_id.get(external_id)
        if track_id is None:
            return f"no track has the external_id {external_id[:SHOWN_CHARS]!r}"
        if track_id == SEVERAL:
            return f"several tracks have the external_id {external_id[:SHOWN_CHARS]!r}"
        return track_id

    async def _read(self) -> dict[str, int]:
        found: dict[str, int] = {}
        async for track_id, external_id in self._services.tracks.external_ids():
            found[external_id] = SEVERAL if external_id in found else track_id
        return found
