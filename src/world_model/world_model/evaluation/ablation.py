"""What each part of the predictor earns: ours over ours with the part switched off, on the same frames."""

from __future__ import annotations

from typing import Any

from world_model.evaluation.runner import name_without

FUTURES = ("recorded", "held")
KINDS = (("revisit", "revisits"), ("first", "first visits"))


def ablation_table(result: dict[str, Any], space: str) -> str:
    """Return a Markdown table of ratios with their paired 95 % intervals, below 1 where the part helps.

    Args:
        result: Of ``world_model.evaluation.report.evaluate``.
        space: One of ``world_model.evaluation.scores.SPACES``.
    """
    about = result["about"]["options"]
    rows = [(part, step) for part in about["without"] for step in map(str, about["horizons"])]
    columns = [(future, kind, f"{future}, {shown}") for future in FUTURES for kind, shown in KINDS]
    lines = ["| part | steps | " + " | ".join(shown for *_, shown in columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for part, step in rows:
        found = [
            result["details"][future]["ratio_to"][space][name_without(part)][step][kind] for future, kind, _ in columns
        ]
        lines.append(f"| {part} | {step} | " + " | ".join(map(_cell, found)) + " |")
    return "\n".join(lines)


def _cell(ratio: dict[str, float]) -> str:
    """Return a ratio with its interval as one cell, a dash where nothing was judged."""
    return f"{ratio['ratio']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]" if ratio else "-"
