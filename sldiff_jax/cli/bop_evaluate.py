"""``sldiff-jax bop evaluate``: what estimated poses are worth."""

from __future__ import annotations

import argparse
import json
import sys

from tqdm import tqdm

from ..bop import Dataset, Scores, evaluate, read_estimates
from ..bop._atomic import write_atomically
from ..bop._run_record import RunRecord
from ._bop_common import open_dataset, reporting, settings_of
from ._output import check_output
from ._table import print_table


def run(options: argparse.Namespace) -> int:
    """Reads, scores, writes and prints."""
    check_output(options.output.parent)
    record = RunRecord(["sldiff-jax", *options.words], settings_of(options))
    with reporting():
        dataset = open_dataset(options.dataset, options.split, options.results)
        estimates = read_estimates(options.results)
        scores = _evaluate(dataset, estimates)
        objects = {str(object_id): values for object_id, values in scores.objects.items()}
        write_atomically(options.output, json.dumps(scores.summary | {"objects": objects}, indent=2) + "\n")
        record.write(options.output, scores.summary)
    print_scores(scores)
    print(f"scores are in {options.output}")
    return 0


def _evaluate(dataset: Dataset, estimates: list) -> Scores:
    with tqdm(desc="score", unit="image", file=sys.stderr) as bar:

        def progress(done: int, count: int) -> None:
            bar.total = count
            bar.update(done - bar.n)

        return evaluate(dataset, estimates, callback=progress)


def print_scores(scores: Scores) -> None:
    """A table with a line per object and one for all."""

    def row(name: str, recalls: list[float | None], precisions: list[float | None], targets: float) -> list[str]:
        return [name, f"{targets:.0f}", *(_percent(value) for value in (*recalls, *precisions))]

    rows = []
    parts = ("average_recall", "average_recall_vsd", "average_recall_mssd", "average_recall_mspd", "ad_recall")
    for object_id, values in scores.objects.items():
        precisions = [values["mAP"], values["mAP_mssd"], values["mAP_mspd"]]
        rows.append(row(str(object_id), [values[part] for part in parts], precisions, values["targets"] or 0))
    recalls = [scores.summary[part if part == "ad_recall" else f"bop19_{part}"] for part in parts]
    precisions = [scores.summary[name] for name in ("bop24_mAP", "bop24_mAP_mssd", "bop24_mAP_mspd")]
    targets = sum(values["targets"] or 0 for values in scores.objects.values())
    rows.append(row("all", recalls, precisions, targets))
    names = ["object", "targets", "AR", "AR VSD", "AR MSSD", "AR MSPD", "ADD(-S)", "AP", "AP MSSD", "AP MSPD"]
    print_table(names, rows)
    time = scores.summary["bop19_average_time_per_image"]
    if time is not None and time >= 0:
        print(f"average time per image: {time:.3f} s")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
