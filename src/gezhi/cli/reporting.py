"""`gezhi report`: render a run again, or compare two."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from gezhi.cli.flow import Flow, grid
from gezhi.cli.output import console, echo_json, note
from gezhi.cli.phrases import in_language
from gezhi.lab.record import Words, load_all
from gezhi.lab.reference import reference_run
from gezhi.lab.report.text import VERDICTS, full_width
from gezhi.lab.verdicts import Record, difference, record_of

REPORT = Words(en="Report: {}", zh="报告：{}")
AGREE = Words(en="The runs agree in every verdict.", zh="两次运行的判定全部一致。")
ABSENT = Words(en="absent", zh="缺")
CLAIM = Words(en="claim", zh="论断")


def run_in(place: Path) -> Record:
    """The run in a folder, or in the folder of its `result.json`."""
    return record_of(load_all(place.parent if place.name == "result.json" else place))


def rewrite(place: Path, output: Path, lang: str, *, as_json: bool) -> None:
    """Write the report of a run to `output`."""
    from gezhi.lab.report import write_report

    record = run_in(place)
    write_report(record, reference_run(), output, cast(Literal["en", "zh"], lang))
    if as_json:
        echo_json({"report": str(output), "methods": [method.stem for method in record.methods]})
    else:
        note(in_language(REPORT, lang).format(output))


def print_difference(left: Path, right: Path, lang: str, *, as_json: bool) -> None:
    """Claims whose verdicts differ between two runs."""
    one, other = run_in(left), run_in(right)
    rows = difference(one, other)
    if as_json:
        echo_json(rows)
    elif not rows:
        note(in_language(AGREE, lang))
    else:
        claims = {(method.stem, claim.id): claim for record in (one, other) for method, claim in record.claims()}
        found = []
        for row in rows:
            words = claims[row["stem"], row["claim"]].words
            texts = [in_language(VERDICTS[verdict] if verdict else ABSENT, lang) for verdict in row["verdicts"]]
            sentence = full_width(words.zh) if lang == "zh" else words.en
            found.append([Flow(f"{row['stem']}: {sentence}"), *map(Flow, texts)])
        console().print(grid(found, heads=(in_language(CLAIM, lang), str(left), str(right))))
