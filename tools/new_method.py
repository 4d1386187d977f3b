"""Write the files of a new method, ready to run: `python tools/new_method.py WING STEM --title "Toy mean | 玩具均值"`.

The files hold a toy that passes every check: a mean, its derivation in one step, its tests and one study. Replace what
is in them, not their headings and markers.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from string import Template

ROOT = Path(__file__).parent.parent
WINGS = ("classification", "diffusion", "gan", "graph", "losses", "nn", "text", "theory", "training", "vae")
TEMPLATES = Path(__file__).parent / "new_method"
FILES = {
    "module.py.txt": "src/gezhi/$wing/$stem.py",
    "experiment.py.txt": "src/gezhi/experiments/$stem.py",
    "test.py.txt": "tests/$wing/test_$stem.py",
    "page.md": "docs/methods/$stem.md",
    "page.zh.md": "docs/methods/$stem.zh.md",
}


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    values = values_of(asked)
    targets = {ROOT / Template(path).substitute(values): name for name, path in FILES.items()}
    taken = [str(path.relative_to(ROOT)) for path in targets if path.exists()]
    if taken:
        print(f"STEM must be free: {', '.join(taken)} exists. Choose another.", file=sys.stderr)
        return 2
    for path, name in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template((TEMPLATES / name).read_text("utf-8")).substitute(values), encoding="utf-8")
        print(path.relative_to(ROOT))
    for path, line in joined(values):
        print(f"{path.relative_to(ROOT)}  (+ {line.strip()})")
    print("\nNext: python docs/translations.py --stamp; gezhi run", values["stem"], "--budget quick; make test")
    return 0


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wing", choices=WINGS)
    parser.add_argument("stem", help="term of art in lower snake case, at most three words, unique in the house")
    parser.add_argument("--title", required=True, help="'English | 中文'")
    parser.add_argument("--article", default="none", help="title of the article")
    parser.add_argument("--also", default="", help="other names and the article's number, separated by commas")
    asked = parser.parse_args(arguments)
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+){0,2}", asked.stem):
        parser.error(f"STEM must be at most three words in lower snake case: got {asked.stem!r}")
    if " | " not in asked.title:
        parser.error(f"--title must be 'English | 中文': got {asked.title!r}")
    return asked


def values_of(asked: argparse.Namespace) -> dict[str, str]:
    """What the templates are filled with; `function` is a public name that is not the stem."""
    title, _, title_zh = asked.title.partition(" | ")
    also = f"\nAlso: {asked.also}" if asked.also else ""
    return {"wing": asked.wing, "stem": asked.stem, "title": title, "title_zh": title_zh, "article": asked.article,
            "also": also, "function": f"{asked.stem}_value", "underline": "$"}  # fmt: skip


def joined(values: dict[str, str]) -> list[tuple[Path, str]]:
    """The name in the wing's `__init__`, and the Chinese names of what the toy study shows."""
    init = ROOT / "src/gezhi" / values["wing"] / "__init__.py"
    line = Template("from gezhi.$wing.$stem import $function as $function\n").substitute(values)
    if not init.exists():
        init.parent.mkdir(parents=True, exist_ok=True)
        init.write_text(f'"""The wing {values["wing"]}."""\n\n', encoding="utf-8")
    init.write_text(init.read_text("utf-8") + line, encoding="utf-8")
    names = ROOT / "docs/names.zh.toml"
    table = Template((TEMPLATES / "names.toml").read_text("utf-8")).substitute(values)
    names.write_text(f"{names.read_text('utf-8').rstrip()}\n\n{table}", encoding="utf-8")
    return [(init, line), (names, f"[{values['stem']}]")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
