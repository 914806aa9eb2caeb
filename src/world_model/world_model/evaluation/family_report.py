"""A run of the family in words and tables, as its folder keeps it and a report of the repository shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from world_model.evaluation.decoded import HORIZONS

STATED = {"compact": "24 to 26", "base": "26.5 to 28.5"}
"""PSNR [dB] that others state for models of these sizes."""
_KINDS = {"all": "all", "revisit": "revisits", "first": "first visits"}
_JUDGED = ("ours", "ours, memory emptied", "without memory", "persistence", "running mean", "mean of 4 nearest")


def markdown_of(result: Mapping[str, Any]) -> str:
    """Return a report's text, all of it from the entries of ``report.json``."""
    lines = [f"# `{result['name']}`: {result['seconds']['all'] / 60:.1f} minutes from nothing to these figures", ""]
    lines += [f"{result['machine']}. Seed {result['config']['seed']}. Raw: [report.json](report.json).", ""]
    lines += ["![pictures 1 s ahead](strip.png)", ""]
    lines += [*_run(result), *_curve(result)]
    for group in ("worlds", "recordings"):
        if group in result:
            lines += _judged(str(result["name"]), group, result[group])
    return "\n".join(lines) + "\n"


def _run(result: Mapping[str, Any]) -> list[str]:
    learned, sights, held = (result["data"][name] for name in ("learned", "sights", "held_out"))
    parameters = result["parameters"]
    size = sum(parameters[part] for part in ("encoder", "decoder", "transition")) / 1e6
    side = result["data"]["image_size"]
    lines = [
        f"Learned from {learned['episodes']} films ({learned['frames']} frames) and {sights['frames']} further "
        f"pictures of {sights['episodes']} buildings; held out: {held['episodes']} films ({held['frames']} frames) "
        f"of places that none of them shows. Pictures {side}x{side}. {size:.1f} M weights.",
        "",
    ]
    rows = [[name, f"{seconds:.0f}", "", ""] for name, seconds in result["seconds"].items()]
    for name, stage in result["stages"].items():
        rate = f"{stage['pictures_per_s']:.0f}" if "pictures_per_s" in stage else ""
        rows.append([f"of training: {name}", f"{stage['seconds']:.0f}", str(stage["steps"]), rate])
    return lines + _table(["part", "s", "steps", "pictures/s"], rows)


def _curve(result: Mapping[str, Any]) -> list[str]:
    lines = ["PSNR of held-out pictures while encoder and decoder learn, mean over pictures:", ""]
    rows = [[f"{p['minutes']:.2f}", str(p["step"]), f"{p['psnr_db']:.2f}"] for p in result["curve"]]
    return lines + _table(["min", "step", "dB"], rows)


def _judged(name: str, group: str, judged: Mapping[str, Any]) -> list[str]:
    psnr, stated = judged["psnr_db"], STATED.get(name)
    whole = psnr["truth, decoded"]
    beside = f" Others state {stated} dB for this size." if stated else ""
    lines = [
        f"## {group.capitalize()}",
        "",
        f"Held-out pictures, encoded and decoded: **{_db(whole)} dB** (mean over {whole['n']} pictures; "
        f"{whole['pooled']} of their mean squared error).{beside}",
        "",
    ]
    for ahead, by_name in psnr["ahead"].items():
        rows = [[said, *(_db(cell[kind]) for kind in _KINDS)] for said, cell in by_name.items()]
        counts = next(iter(by_name.values()))
        head = [f"{word} ({counts[kind]['n']})" for kind, word in _KINDS.items()]
        lines += [f"PSNR [dB] {ahead} ahead, the actions that followed known:", ""]
        lines += _table(["", *head], rows)
    for future, words in (("recorded", "the actions that followed known"), ("held", "the last action held")):
        lines += [f"NMSE of the latent by steps ahead, revisits / first visits, {words}:", ""]
        by_name = judged["nmse"][future]
        rows = [[said, *(_both(by_name[said][str(step)]) for step in HORIZONS)] for said in _JUDGED if said in by_name]
        lines += _table(["", *map(str, HORIZONS)], rows)
    return lines


def _db(entry: Mapping[str, Any]) -> str:
    return "-" if entry["mean"] is None else f"{entry['mean']:.2f}"


def _both(kinds: Mapping[str, Any]) -> str:
    means = [kinds[kind]["mean"] for kind in ("revisit", "first")]
    return " / ".join("-" if mean is None else f"{mean:.3f}" for mean in means)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]
