from pathlib import Path

from loadtest.corpus import Recording, thirds


def recording(cluster: str, number: int, *, near: tuple[str, ...] = ()) -> Recording:
    return Recording(
        path=Path(f"/music/{cluster}/{number}.ogg"),
        seconds=60,
        cluster=cluster,
        package=cluster,
        name=f"{cluster}/{number}.ogg",
        near=near,
    )


def test_no_cluster_is_split_and_the_largest_is_reported_on() -> None:
    recordings = [recording("large", i) for i in range(50)]
    recordings += [recording(f"small{k}", i) for k in range(20) for i in range(1 + k % 4)]
    parts = thirds(recordings)
    assert {each.cluster for each in parts.reporting} == {"large"}
    assert not {each.cluster for each in parts.tuning} & {each.cluster for each in parts.unknown}
    assert len(parts.tuning) + len(parts.reporting) + len(parts.unknown) == len(recordings)
    assert abs(len(parts.tuning) - len(parts.unknown)) <= 4
    assert thirds(recordings[::-1]).tuning != []


def test_sharing_material_is_mutual() -> None:
    a, b, c = recording("a", 1, near=("b:1.ogg",)), recording("b", 1), recording("c", 1)
    assert a.shares_material(b)
    assert b.shares_material(a)
    assert not a.shares_material(c)
