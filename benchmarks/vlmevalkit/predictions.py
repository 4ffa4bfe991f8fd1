"""Generated predictions for the VLMEvalKit agreement benchmark: typical and adversarial responses.

Seeded: every run makes the same 2,000 rows per family. A row has a benchmark table's cells and a `prediction`.
"""

import random
from typing import Any

COUNT = 2000
FAMILIES = ("choice", "circular", "open", "yes_no", "ocr")
WORDS = [
    "cat",
    "dog",
    "red",
    "circle",
    "blue",
    "square",
    "seven",
    "7",
    "3.5",
    "north",
    "no",
    "yes",
    "none",
    "the",
    "left",
    "one",
    "a",
    "green",
    "hat",
    "Paris",
]
TEXTS = ("a red hat", "A dog", "no", "not at all", "None", "N/A", "blue square", "7", "the left one", "Paris", "3.5 cm")
REFUSALS = ("I can't process this file.", "Cannot determine the answer", "Failed to obtain answer via API. ")
THOUGHT = "<think>It could be A. Or B, yes. No, wait.</think>"


def predictions(family: str, count: int = COUNT) -> list[dict[str, Any]]:
    """Generate `count` rows of a family."""
    rng = random.Random(f"kit {family}")
    make = {"choice": _choice, "circular": _choice, "open": _open, "yes_no": yes_no_row, "ocr": _ocr}[family]
    rows = [make(rng, number) for number in range(count)]
    if family == "circular":  # groups of four rotations, most of them answered consistently
        for number, row in enumerate(rows):
            row["index"] = str(number // 4 + 1 + 10**6 * (number % 4))
            row |= {key: rows[number - number % 4][key] for key in ("question", "A", "B", "C", "D")}
            row["prediction"] = f"{row['answer']}." if rng.random() < 0.7 else row["prediction"]
    return rows


def _options(rng: random.Random) -> dict[str, str]:
    texts = [*rng.sample(TEXTS, 3), *(" ".join(rng.sample(WORDS, rng.randint(1, 4))) for _ in range(2))]
    rng.shuffle(texts)
    return dict(zip("ABCD", texts[:4], strict=True))


def _choice(rng: random.Random, number: int) -> dict[str, Any]:
    options = _options(rng)
    gold, other = rng.sample("ABCD", 2)
    said = gold if rng.random() < 0.6 else other
    text, filler = options[said], " ".join(rng.choices(WORDS, k=rng.randint(0, 9)))
    prediction = rng.choice(_choice_forms(rng, said, text, filler, (gold, other, options[other])))
    return {
        "index": str(number + 1),
        "question": f"which one is {filler or 'it'}",
        **options,
        "answer": gold,
        "prediction": prediction,
        "category": rng.choice("xyz"),
    }


def _choice_forms(rng: random.Random, said: str, text: str, filler: str, marks: tuple[str, str, str]) -> list[str]:
    gold, other, other_text = marks
    return [
        said,
        f"{said}.",
        f"({said})",
        f"{said}. {text}",
        f"{said}) {text}",
        f"The answer is {said}.",
        f"**{said}**",
        f"Answer: {said}",
        said.lower(),
        text,
        text.upper(),
        f"It is {text}, I think.",
        f"A {filler}",
        f"A {filler} is {text}",
        f"{filler} {said}",
        f"{said} {filler}",
        f"either {gold} or {other}",
        f"not {other} but {gold}",
        f"{THOUGHT}<answer>{said}</answer>",
        f"{THOUGHT}<answer> {said} </answer>",
        f"{THOUGHT} {said}",
        f"<answer>{text}</answer>",
        f"{filler} {text} {filler}",
        filler,
        "",
        "Z",
        "E",
        f"\\boxed{{{said}}}",
        f"option {said}!",
        f"{said}:{text}",
        "I cannot know.",
        " ".join(rng.choices(WORDS, k=80)) + f" {said}",
        rng.choice(REFUSALS),
        f"{rng.choice(REFUSALS)} {said}",
        f"Ａ {said}",
        f"{said}\n\n{filler}",
        f"{text} {other_text}",
        f'{{"answer": "{said}"}}',
        f'```json\n{{"answer": "{said.lower()}"}}\n```',
        f"({said.lower()})",
        f"{said}<|im_end|>",
        chr(ord(said) + 0xFEE0),  # full width
        f"答案：{said}",
        f"选{said}。",
        f"我看到{text}在这里",
        f"({said}) a.",
        f"It is not {other}. \\boxed{{{said}}}",
        f"{text} ({said})",
        f"{said}. {other_text}",
        f"{said} because {filler}",
        f"{said} is correct",
        f"I think {said}",
    ]


def _open(rng: random.Random, number: int) -> dict[str, Any]:
    """Generate an MMMU-like row: every second one is open, without options."""
    row = _choice(rng, number)
    if number % 2:
        return row
    gold = rng.choice(["12", "3.5", "Paris", "blue square", "1/2"])
    if rng.random() < 0.1:
        gold = repr([gold, "other"])
    said = rng.choice([gold, f"The answer is {gold}.", "A", "B", "Other Answers", "13", f"about {gold} or so", ""])
    return row | {"A": "", "B": "", "C": "", "D": "", "answer": gold, "prediction": said}


def mmmu_open_rows(count: int = COUNT) -> list[dict[str, Any]]:
    """Generate open questions of MMMU with free answers, by the key phrases that its evaluator knows.

    VLMEvalKit carries that evaluator for Video-MMMU with more phrases; none of those occurs.
    """
    rng = random.Random("kit mmmu open")
    golds = ["12", "3.5", "0.963", "-7", "1,250", "2e3", "Paris", "blue boat", "x", ["24/7", "3.429"], ["8", "eight"]]
    phrases = (
        "so ",
        "Thus ",
        "therefore ",
        "the answer ",
        "it is ",
        "Final ",
        "it could be ",
        "the result ",
        "y =",
        "",
    )
    rows = []
    for _ in range(count):
        gold = rng.choice(golds)
        text = rng.choice(gold) if isinstance(gold, list) else gold
        said = rng.choice(
            [text, text, text.upper(), f"{text}.", f"{text} Mbps", f"${text}", "0.956", "1250.004", "2000", "14"]
        )
        lines = [
            f"{rng.choice(phrases)}{said}{rng.choice(['', '.', ' or so', '. Not 5'])}" for _ in range(rng.randint(1, 3))
        ]
        rows.append({"answer": gold, "prediction": rng.choice(["\n", ". "]).join(lines)})
    return rows


def yes_no_row(rng: random.Random, number: int) -> dict[str, Any]:
    gold = rng.choice(["Yes", "No"])
    said = gold if rng.random() < 0.6 else rng.choice(["Yes", "No"])
    filler = " ".join(rng.choices(WORDS, k=rng.randint(0, 6)))
    prediction = rng.choice(
        [
            said,
            f"{said}.",
            f"{said}, it is.",
            f"{said}: {filler}",
            f"{said}/maybe",
            f"**{said}**",
            f"({said})",
            f'"{said}"',
            said.upper(),
            f"{filler} {said.lower()}",
            f"<answer>{said}</answer>",
            f"{THOUGHT}<answer>{said}</answer>",
            f"The answer is {said}; 1,000 of them.",
            f"{said}-ish",
            "it is so. " * 40 + f"{said}.",
            "Yes and no",
            "Nope",
            "",
            filler,
            f"{said}!?",
            f"{said}, 3,5",
            f"{said}_",
            f"[{said}]",
            f"{said}\n{filler}",
            rng.choice(REFUSALS),
            f"_{said}_",
            f"yes or no: {said}",
            "是的" if said == "Yes" else "不是，没有",
            f"答案：{'是' if said == 'Yes' else '否'}",
            f'{{"answer": "{said.lower()}"}}',
            f"There is no doubt: the answer is {said.lower()}",
            f"{said}<|im_end|>",
        ]
    )
    index = f"VD_figure_{number % 7}_{number // 7 % 9}_{number // 63 % 5}_{number}"
    return {"index": index, "question": "is it so", "answer": gold, "prediction": prediction, "category": "VD"}


def _ocr(rng: random.Random, number: int) -> dict[str, Any]:
    category = rng.choice(["Regular Text Recognition", "Doc-oriented VQA", HANDWRITTEN])
    golds = rng.sample(["OPEN", "12 May", "x ^ 2 + 1", "Total\n42", "café", "7", ""], rng.randint(1, 2))
    gold = rng.choice(golds)
    prediction = rng.choice(
        [
            gold,
            gold.lower(),
            gold.upper(),
            f"The text reads {gold}.",
            gold.replace(" ", ""),
            gold.replace("\n", " "),
            gold[:-1],
            f"{THOUGHT}<answer>{gold}</answer>",
            f"<think>{gold}</think><answer>something else</answer>",
            "nothing",
            "",
            "closed",
        ]
    )
    row = {"index": str(number + 1), "question": "what is written", "answer": repr(golds), "prediction": prediction}
    return row | {"category": category}


HANDWRITTEN = "Handwritten Mathematical Expression Recognition"
