"""`model_card.md`: what to hand on with a model, filled from its run and one evaluation.

In the form of the Hugging Face Hub's model cards: metadata as YAML, then sections.
"""

import json
from pathlib import Path

from mgn.config.variants import described
from mgn.evaluation.report import Report, as_dict
from mgn.system.files import atomic_write
from mgn.weights.checkpoints import Checkpoint, sha256

_TOLD = ("recipe", "optimizer", "learning_rate", "batch_ids", "batch_images", "precision", "seed")
_USE = """\
Use it to rank images of people by similarity, where you have a lawful reason to compare them. A
small distance is no proof of identity: people in like clothes are near each other, and one person
in other clothes is far away. Do not decide about a person by a distance alone."""
_CITATION = """\
Network: G. Wang, Y. Yuan, X. Chen, J. Li, X. Zhou, "Learning Discriminative Features with Multiple
Granularities for Person Re-Identification", ACM Multimedia 2018 (arXiv:1804.01438)."""


def write(report: Report, checkpoint: Checkpoint | None, folder: Path, overwrite: bool) -> str:
    """Write the card beside `metrics.json`; returns the line to print.

    Args:
        report: of the evaluation.
        checkpoint: that was scored; None: an export, or features from a file.
        folder: where `threshold.json` is too, if there is one.
        overwrite: replace a card.
    """
    path = Path(folder) / "model_card.md"
    scores = as_dict(report)
    parts = [
        _metadata(scores),
        f"# MGN, scored on {Path(scores['dataset']).name}",
        _model(report, checkpoint),
        _training(checkpoint),
        _scores(scores),
        _thresholds(scores, Path(folder) / "threshold.json"),
        _limits(report),
        f"## Citation\n\n{_CITATION}",
    ]
    with atomic_write(path, overwrite) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return f"written: {path}; add a licence, and what you know of the people in the images"


def _metadata(scores: dict) -> str:
    """The block that the Hub reads; JSON strings are YAML's."""
    name = json.dumps(Path(scores["dataset"]).name)
    lines = ["---", "library_name: tensorflow", "tags:"]
    lines += ["- person-re-identification", "- mgn", "model-index:", "- name: mgn", "  results:"]
    lines += ["  - task:", "      type: image-feature-extraction", "    dataset:"]
    lines += [f"      name: {name}", f"      type: {name}", "    metrics:"]
    for metric in ("mAP", "rank@1"):
        lines += [f"    - type: {json.dumps(metric)}", f"      value: {scores[metric]:.6f}"]
    return "\n".join([*lines, "---"])


def _model(report: Report, checkpoint: Checkpoint | None) -> str:
    if checkpoint is None:
        size = report.embedded.query_features.shape[1]
        told = [f"File: `{Path(report.model).name}`, {size} numbers an image."]
        told.append("`python -m mgn.export FILE` prints what it says of itself.")
    else:
        options = checkpoint.options
        told = [
            f"Checkpoint: `{checkpoint.prefix.name}`, sha256 `{sha256(checkpoint.prefix)}`.",
            f"Network: {described(options)}, {options.height}×{options.width} images,"
            f" {options.num_classes} identities in training.",
        ]
    flip = "with the mirror image added" if report.embedded.flip else "without the mirror image"
    listed = "\n".join(f"- {line}" for line in told)
    return f"## Model\n\n{listed}\n- Embedded {flip}.\n\n## Intended use\n\n{_USE}"


def _training(checkpoint: Checkpoint | None) -> str:
    """From the run's `config.json`, where the checkpoint lies in its folder."""
    title = "## Training"
    config = checkpoint and checkpoint.prefix.parent / "config.json"
    if not config or not config.is_file():
        return f"{title}\n\nNot known here: no `config.json` of a run lies beside the model."
    values = json.loads(config.read_text(encoding="utf-8"))
    datasets = values.get("dataset")
    named = datasets if isinstance(datasets, list) else [datasets]
    shown = ", ".join(Path(name).name if name else "the demo set" for name in named)
    start = values.get("init_checkpoint")
    rows = [("data set", shown), ("started from", Path(start).name if start else "nothing")]
    rows += [(name, values[name]) for name in _TOLD if name in values]
    return f"{title}\n\n{_table(('option', 'value'), rows)}\n\n`config.json` has all options."


def _scores(scores: dict) -> str:
    ranks = [name for name in scores if name.startswith("rank@")]
    names = ["mAP", "mAP_official", "mINP", *sorted(ranks, key=lambda name: int(name[5:]))]
    kinds = {"plain": scores}
    kinds |= {"re-ranked": scores["reranked"]} if "reranked" in scores else {}
    rows = []
    for name in names:
        rows.append((name, *(f"{values[name]:.4f}" for values in kinds.values())))
    counted = f"{scores['queries']} queries, {scores['gallery']} gallery images."
    parts = [f"## Scores\n\n{counted}\n\n{_table(('score', *kinds), rows)}"]
    pairs = []
    for pair in scores["camera_pairs"]:
        if "mAP" in pair:
            figures = f"{pair['mAP']:.3f}", f"{pair['rank1']:.3f}"
            pairs.append((pair["query_camera"], pair["gallery_camera"], *figures))
    if pairs:
        parts.append(_table(("query camera", "gallery camera", "mAP", "rank@1"), pairs))
    return "\n\n".join(parts)


def _thresholds(scores: dict, claimed: Path) -> str:
    title = "## Same person or not"
    verified = scores["verification"]
    if verified is None:
        return f"{title}\n\nNot measured: there are no pairs to compare."
    rate = f"equal error rate {verified['eer']:.2%} at distance {verified['eer_threshold']:.4f}"
    lines = [f"Of {verified['different_pairs']} pairs of strangers: {rate}."]
    if claimed.is_file():
        values = json.loads(claimed.read_text(encoding="utf-8"))
        promised = f"{values['max_false_matches']:.3g} of strangers"
        lines.append(
            f"With confidence {values['confidence']:g}, at most {promised} are accepted up to these"
            f" distances: {_distances(values)}. The claim is for the same cameras and for people"
            " like those of this data set."
        )
    else:
        lines.append("No threshold with a guarantee was asked for (`--max_false_matches`).")
    return f"{title}\n\n" + "\n".join(lines)


def _distances(values: dict) -> str:
    named = {"pair": "two images", "open_set": "a gallery"}
    shown = []
    for question, words in named.items():
        distance = values[question]["distance"]
        shown.append(f"{words} {'none' if distance is None else f'{distance:.4f}'}")
    return ", ".join(shown)


def _limits(report: Report) -> str:
    query, gallery = report.embedded.query, report.embedded.gallery
    cameras = sorted({*query.cameras.tolist(), *gallery.cameras.tolist()})
    listed = ", ".join(map(str, cameras))
    lines = [
        f"- Scored on {len(set(query.persons.tolist()))} people under cameras {listed}. Other"
        " cameras, seasons and crowds give other scores.",
        "- People, clothes and skin colours of the data set were not examined for balance.",
    ]
    if report.embedded.skipped:
        lines.append(f"- {len(report.embedded.skipped)} unreadable images were left out.")
    return "## Limits\n\n" + "\n".join(lines)


def _table(head: tuple, rows: list[tuple]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
