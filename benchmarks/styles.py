"""Paint every style of the default model for `docs/styles.md`.

    python benchmarks/styles.py

Six subjects, or six portraits, in each style, one seed and one try each, none left out.
"""

from __future__ import annotations

import json
from pathlib import Path

import danqing
from danqing.painting.vocabulary import Vocabulary
from danqing.pictures import sheet
from danqing.store.find import find

ROOT = Path(__file__).parents[1]
PAGE, PICTURES = ROOT / "docs" / "styles.md", ROOT / "docs" / "pictures" / "styles"
SUBJECTS = ("a fox", "an owl", "a house", "a mushroom", "a bicycle", "a strawberry")
PORTRAITS = (
    "a smiling woman",
    "a man with a beard",
    "a woman with long red hair",
    "a man with glasses",
    "a surprised man",
    "a woman with earrings",
)
SEED = 7
TOP = f"""# The styles of the default model

What `danqing-mini` has learned to paint in; `danqing words styles` lists them in the terminal. A style is chosen by
`--style`, or named in the prompt: `danqing paint "a fox" --style flat`, `danqing paint "a fox, flat style"`,
`danqing paint 狐狸，扁平风格`. A prompt that names none gets 3d; `--style none` adds none, and paints a mean of them.

Each row is painted with seed {SEED}, one try each, nothing left out: what fails here fails for you too.
"""


def main() -> None:
    model = find("danqing-mini")
    styles = Vocabulary.of(model).styles.words
    rows = json.loads(model.path(model.text["styles"]).read_text("utf-8"))
    portraits = {row["style"] for row in rows if row["kind"] == "portrait"}
    parts = [TOP]
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, words in styles.items():
        prompts = PORTRAITS if name in portraits else SUBJECTS
        painted = [danqing.paint(prompt, style=name, seed=SEED, finish="none").image for prompt in prompts]
        path = PICTURES / f"{name}.webp"
        sheet.contact(painted, columns=len(painted)).save(path, quality=80, method=6)
        parts.append(f"## {name}\n\n{' · '.join(words.en)} · {' · '.join(words.zh)}\n\n")
        parts.append(f"![{', '.join(prompts)}](pictures/styles/{path.name})\n\n{', '.join(prompts)}\n")
    PAGE.write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
