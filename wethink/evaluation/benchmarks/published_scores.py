"""Published benchmark scores of other models; none was measured here.

Taken from the OpenCompass boards of 30 May 2025 as the authors print them (github.com/yangjie-cv/WeThink, README);
shares in [0, 1]. MMBench is the mean of the English and the Chinese test set, HallusionBench the mean of aAcc, fAcc and
qAcc, OCRBench the sum over 1,000, DynaMath the worst case, WeMath Score (Strict).
"""

SOURCE = "OpenCompass, 30 May 2025"

_ACADEMIC = ("MMBench", "MMStar", "MMMU", "MathVista", "HallusionBench", "AI2D", "OCRBench", "MMVet")
_REASONING = ("MathVista", "MathVision", "MathVerse", "DynaMath", "WeMath", "LogicVista")
_BOARDS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "Qwen2.5-VL-7B": ((82.2, 64.1, 58.0, 68.1, 51.9, 84.3, 88.8, 69.7), (68.1, 25.4, 41.1, 21.8, 36.2, 47.9)),
    "WeThink-Qwen2.5VL-7B": ((81.8, 64.2, 61.0, 71.6, 55.3, 84.0, 89.0, 73.2), (71.6, 26.0, 44.2, 24.8, 48.0, 51.2)),
    "InternVL3-8B": ((82.1, 68.7, 62.2, 70.5, 49.0, 85.1, 88.4, 82.8), (70.5, 30.0, 38.5, 25.7, 39.5, 44.5)),
    "VLAA-Thinker-7B": ((), (68.0, 26.4, 48.2, 22.4, 41.5, 48.5)),
}
AVERAGES = {"Qwen2.5-VL-7B": (70.9, 40.1), "WeThink-Qwen2.5VL-7B": (72.5, 44.3), "InternVL3-8B": (73.6, 41.4)}

PUBLISHED: dict[str, dict[str, float]] = {
    model: {
        name: value / 100
        for names, values in ((_ACADEMIC, academic), (_REASONING, reasoning))
        for name, value in zip(names, values, strict=False)
    }
    for model, (academic, reasoning) in _BOARDS.items()
}
