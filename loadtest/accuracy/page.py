"""From figures to the page for people, in Markdown."""

from collections.abc import Mapping
from typing import Any

from loadtest.accuracy.figures import FALSE_ACCEPTS, SPEED_LIMIT
from loadtest.accuracy.waveforms import N_OTHERS, NEAR_S, SAME_RECORDING

_CELLS_TEXT = """Right: the right track is accepted at the default rate of false accepts; of two tracks, both (at
least one in brackets). First: it is named first, accepted or not. Offsets: of those named right whose place is
judged. Intervals are at 95 % (Wilson).""".replace("\n", " ")
_PEERS_TEXT = """What each has right on the same clips, in %, and {ours}'s share less its share in points, with the
interval of the paired difference (bootstrap over tracks). Right means accepted by the system's own rule; fpcalc has
none and “no floor” accepts everything, unknown clips too: there the first guess counts. **Bold: we
lose.**""".replace("\n", " ")
_HALF_TEXT = """A logistic curve per noise and length, with a bootstrap interval over tracks; a dash where the
measured ratios do not enclose the half.""".replace("\n", " ")
_WAVEFORMS_TEXT = f"""Each clip's waveform, of which only the phase is kept, is correlated with the track's. Told is
the highest within {NEAR_S:g} s of the place named, in standard deviations of the correlation over the track, and the
highest at any place of {N_OTHERS} other tracks. From {SAME_RECORDING:g} on, both hold the same recording (a sample, a
loop): music that is only alike has another waveform.""".replace("\n", " ")
FALSE_ACCEPT_GOALS = {"unknown_music_5s": "≤ 3 in 3,000", "unknown_other_5s": "0 in 1,000"}


def page(report: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    figures, ours = report["figures"], report["figures"]["ours"]
    lines = ["# How well it hears", "", *_setting(report), ""]
    lines += _cells_table(figures, ours)
    lines += _peers_table(figures, ours)
    lines += _thresholds_table(figures)
    lines += _kinds_table(figures, ours)
    lines += _half_table(figures)
    lines += _warp_table(figures, ours)
    lines += _unknown_table(figures)
    lines += _cost_tables(report)
    lines += _pairs(figures)
    return "\n".join(lines) + "\n"


def _setting(report: Mapping[str, Any]) -> list[str]:
    return [f"{line}  " for line in report["setting"]]


def _cells_table(figures: Mapping[str, Any], ours: str) -> list[str]:
    lines = [
        f"## {ours}, cell by cell",
        "",
        _CELLS_TEXT,
        "",
        "| cell | clips | target % | right % | interval | first % | wrong accepted | offset ≤ 0.1 s "
        "| ≤ 0.5 s | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, cell in figures["cells"].items():
        own, n = cell["systems"][ours], cell["n"]
        target = cell["target"]
        some = f" ({_percent(own['some_right'], n)})" if cell["family"] == "several" else ""
        missed = target is not None and own["right"] / n < target
        lines.append(
            f"| {name} | {n} | {'' if target is None else f'{100 * target:g}'} | "
            f"{_percent(own['right'], n)}{some} "
            f"| {100 * own['interval']['low']:.1f}-{100 * own['interval']['high']:.1f} "
            f"| {_percent(own['first_right'], n)} | {own['accepted_wrong']} "
            f"| {_of(own['offset_within']['0.1'], own['offsets_judged'])} "
            f"| {_of(own['offset_within']['0.5'], own['offsets_judged'])} | "
            f"{'below target' if missed else ''} |"
        )
    return [*lines, ""]


def _peers_table(figures: Mapping[str, Any], ours: str) -> list[str]:
    others = [name for name in figures["systems"] if name != ours]
    if not others:
        return []
    lines = [
        f"## {ours} beside its peers",
        "",
        _PEERS_TEXT.format(ours=ours),
        "",
        f"| cell | {ours} | {' | '.join(others)} |",
        "|---" * (len(others) + 2) + "|",
    ]
    for name, cell in figures["cells"].items():
        row = []
        for other in others:
            its = cell["systems"][other]
            difference = its["ours_less_it"]
            low, high = 100 * difference["low"], 100 * difference["high"]
            text = f"{_percent(its['right'], cell['n'])} ({100 * difference['value']:+.0f}: {low:+.0f} … {high:+.0f})"
            row.append(f"**{text}**" if difference["value"] < 0 else text)
        lines.append(
            f"| {name} | {_percent(cell['systems'][ours]['right'], cell['n'])} | {' | '.join(row)} |"
        )
    losing = [
        f"{name} against {other}"
        for name, cell in figures["cells"].items()
        for other in others
        if cell["systems"][other]["ours_less_it"]["value"] < 0
    ]
    return [*lines, "", f"Cells that we lose: {'; '.join(losing) or 'none'}.", ""]


def _thresholds_table(figures: Mapping[str, Any]) -> list[str]:
    systems = figures["systems"]
    lines = ["## All at the same rate of false accepts", ""]
    for rate in FALSE_ACCEPTS:
        n_unknown = sum(each["n"] for name, each in figures["unknown"].items() if "music" in name)
        if n_unknown * rate < 1:
            lines += [f"At {rate:.1%}: {n_unknown} unknown music clips are too few to set a threshold.", ""]
            continue
        lines += [
            f"Right and accepted, %, each system at the score that {rate:.1%} of {n_unknown} unknown music "
            f"clips exceed:",
            "",
            f"| cell | {' | '.join(systems)} |",
            "|---" * (len(systems) + 1) + "|",
        ]
        for name, cell in figures["cells"].items():
            shares = [_percent(cell["systems"][each]["right_at"][str(rate)], cell["n"]) for each in systems]
            lines.append(f"| {name} | {' | '.join(shares)} |")
        lines.append("")
    return lines


def _kinds_table(figures: Mapping[str, Any], ours: str) -> list[str]:
    """Right by kind of noise, over the cells with recorded noise."""
    cells = {name: cell for name, cell in figures["cells"].items() if len(cell["right_of_kind"]) > 1}
    if not cells:
        return []
    kinds = sorted({kind for cell in cells.values() for kind in cell["right_of_kind"]})
    lines = [f"## {ours} by kind of recorded noise", "", f"| cell | {' | '.join(kinds)} |"]
    lines.append("|---" * (len(kinds) + 1) + "|")
    for name, cell in cells.items():
        row = [_of(*cell["right_of_kind"].get(kind, (0, 0))) for kind in kinds]
        lines.append(f"| {name} | {' | '.join(row)} |")
    return [*lines, ""]


def _half_table(figures: Mapping[str, Any]) -> list[str]:
    if not figures["half_points"]:
        return []
    systems = figures["systems"]
    lines = [
        "## The ratio at which half is right, dB",
        "",
        _HALF_TEXT,
        "",
        f"| noise | clip | target | {' | '.join(systems)} |",
        "|---" * (len(systems) + 3) + "|",
    ]
    for row in figures["half_points"]:
        values = [
            "-" if (half := row["systems"][name]) is None
            else f"{half['value']:.1f} ({half['low']:.1f} … {half['high']:.1f})"
            for name in systems
        ]  # fmt: skip
        target = "" if row["target_db"] is None else row["target_db"]
        lines.append(f"| {row['family']} | {row['seconds']:g} s | {target} | {' | '.join(values)} |")
    return [*lines, ""]


def _warp_table(figures: Mapping[str, Any], ours: str) -> list[str]:
    rows = {name: cell["warp"] for name, cell in figures["cells"].items() if "warp" in cell}
    if not rows:
        return []
    lines = [
        f"## Speed and pitch as {ours} reports them",
        "",
        f"Among the clips that are right: how many factors lie within {SPEED_LIMIT:.1%} of the true ones.",
        "",
        "| cell | right | speed within | median error | pitch within | median error |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        speed, pitch = row["speed"], row["pitch"]
        lines.append(
            f"| {name} | {row['right']} | {_of(speed['within'], row['right'])} | "
            f"{_share(speed['median_error'])} "
            f"| {_of(pitch['within'], row['right'])} | {_share(pitch['median_error'])} |"
        )
    return [*lines, ""]


def _unknown_table(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Unknown clips that were accepted",
        "",
        f"Promised by default: {figures['promised_false_accept_rate']:g} a clip. Intervals after Clopper "
        f"and Pearson, as if clips were independent. In the track named: of the accepted, those of which "
        f"{figures['ours']} names the very recording, as the waveforms show (last section).",
        "",
        "| clips | of | goal | system | accepted | rate | interval | kinds | in the track named |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, cell in figures["unknown"].items():
        for system in figures["systems"]:
            own, interval = cell[system], cell[system]["interval"]
            kinds = ", ".join(f"{kind} {n}" for kind, n in own["by_kind"].items())
            is_ours = system == figures["ours"]
            goal = FALSE_ACCEPT_GOALS.get(name, "") if is_ours else ""
            there = cell["same_recording"] if is_ours else ""
            lines.append(
                f"| {name} | {cell['n']} | {goal} | {system} | {own['accepted']} | "
                f"{100 * interval['value']:.3f} % "
                f"| {100 * interval['low']:.3f}-{100 * interval['high']:.3f} % | {kinds} | {there} |"
            )
    return [*lines, ""]


def _cost_tables(report: Mapping[str, Any]) -> list[str]:
    figures = report["figures"]
    lines = ["## Bytes", "", "| index | MB per hour of audio |", "|---|---|"]
    lines += [f"| {name} | {value:.3f} |" for name, value in report["mb_per_hour"].items()]
    lines += ["", "## Look-ups and postings read for a clip", ""]
    lines += [
        "| cell | look-ups, median | max | postings, median | max | steps: clips, look-ups median / max, "
        "postings median / max |",
        "|---|---|---|---|---|---|",
    ]
    for name, work in figures["work"].items():
        if not work["steps"]:
            continue
        steps = "; ".join(
            f"{step}: {each['clips']}, {each['look_ups']['median']:.0f} / {each['look_ups']['max']:.0f}, "
            f"{each['postings']['median']:.0f} / {each['postings']['max']:.0f}"
            for step, each in work["steps"].items()
        )
        ups, postings = work["look_ups"], work["postings"]
        lines.append(
            f"| {name} | {ups['median']:.0f} | {ups['max']:.0f} | {postings['median']:.0f} | "
            f"{postings['max']:.0f} | {steps} |"
        )
    lines += ["", "## Time a clip", ""]
    lines += [
        "One clip at a time, on an otherwise idle server, milliseconds (median / 99 % / most); in brackets: "
        "the client's.",
        "",
        "| cell | all | by stage |",
        "|---|---|---|",
    ]
    for name, row in report["alone"].items():
        stages = ", ".join(
            f"{stage} {each['median']:.1f} / {each['p99']:.1f} / {each['max']:.1f}"
            for stage, each in row["stages_ms"].items()
        )
        total, client = row["total_ms"], row["client_ms"]
        lines.append(
            f"| {name} ({row['clips']} clips) | {total['median']:.0f} / {total['p99']:.0f} / "
            f"{total['max']:.0f} "
            f"({client['median']:.0f} / {client['p99']:.0f} / {client['max']:.0f}) | {stages} |"
        )
    lines += ["", "| system | seconds a clip during the run: median | 99 % |", "|---|---|---|"]
    lines += [
        f"| {name} | {each['median']:.3f} | {each['p99']:.3f} |"
        for name, each in figures["peer_seconds"].items()
        if each
    ]
    return [*lines, ""]


def _pairs(figures: Mapping[str, Any]) -> list[str]:
    lines = ["## Tracks that share material, and wrong answers", ""]
    lines += [
        "Counted as one, beside those that the corpus names: found by two independent systems in clean clips.",
        "",
    ]
    lines += [f"- {a} = {b} ({n} clips)" for a, b, n in figures["found_to_share"]] or ["- none"]
    lines += [
        "",
        f"Accepted and not known to be right, all {len(figures['accepted_wrong'])}:",
        "",
        _WAVEFORMS_TEXT,
        "",
    ]
    for each in figures["accepted_wrong"][:50]:
        truth = " + ".join(each["truth"]) or f"unknown ({each['kind']})"
        same = "the same recording" if each["same_recording"] else "not the same recording"
        lines.append(
            f"- {each['clip']}: {truth} → {each['said']}, rate {each['false_accept_rate']}; waveforms: "
            f"{each['waveform_deviations']:g}, other tracks {each['waveform_elsewhere']:g}: {same}"
        )
    return lines


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


def _of(part: int, whole: int) -> str:
    return f"{part}/{whole}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
